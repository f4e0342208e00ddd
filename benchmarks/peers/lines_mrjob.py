"""The smallest job of mrjob: it counts lines.

python lines_mrjob.py -r local FILES…
"""

from mrjob.job import MRJob


class Lines(MRJob):
    """Counts lines."""

    def mapper(self, _, line):
        """ "lines", 1"""
        yield "lines", 1

    def combiner(self, key, counts):
        """ "lines", count"""
        yield key, sum(counts)

    def reducer(self, key, counts):
        """ "lines", count of all"""
        yield key, sum(counts)


if __name__ == "__main__":
    Lines.run()
