"""Feature statistics of the events by plain mrjob: a line comes in, a pair for each of its cells goes out.

python stats_mrjob.py -r local FILES…
"""

import csv
import math
from itertools import islice

from events import FRACTIONS, KINDS, NUMBERS, ORDERED, TOPS
from mrjob.job import MRJob
from mrjob.step import MRStep

NAMES = list(KINDS)


class Stats(MRJob):
    """Counts every value of every column, then measures each column from its counted values."""

    FILES = ["events.py"]

    def steps(self):
        return [
            MRStep(mapper=self.cells, combiner=self.add, reducer=self.by_column),
            MRStep(reducer=self.measure),
        ]

    def cells(self, _, line):
        """(column, cell), 1"""
        row = next(csv.reader([line]))
        if row[0] != NAMES[0]:
            for name, cell in zip(NAMES, row, strict=True):
                yield (name, cell), 1

    def add(self, key, counts):
        """(column, cell), count"""
        yield key, sum(counts)

    def by_column(self, key, counts):
        """column, (cell, count)"""
        name, cell = key
        yield name, (cell, sum(counts))

    def measure(self, name, pairs):
        """column, statistics"""
        number = float if KINDS[name].startswith("float") else int
        parse = number if name in NUMBERS else str
        counted, nulls = [], 0
        for cell, count in pairs:
            if cell:
                counted.append((parse(cell), count))
            else:
                nulls = count
        counted.sort()
        rows = sum(count for _, count in counted)
        found = {"rows": rows + nulls, "nulls": nulls, "distinct": len(counted)}
        found |= {"min": counted[0][0], "max": counted[-1][0]}
        if name in NUMBERS:
            mean = math.fsum(value * count for value, count in counted) / rows
            square = math.fsum((value - mean) ** 2 * count for value, count in counted)
            found |= {"mean": mean, "std": math.sqrt(square / (rows - 1))}
        if name in ORDERED:
            found["quantiles"] = quantiles(counted, rows)
        if name in TOPS:
            found["top"] = list(islice(sorted(counted, key=lambda pair: -pair[1]), 10))
        yield name, found


def quantiles(counted, rows):
    """The values at the fractions of sorted, counted values."""
    found, below, places = [], 0, [fraction * (rows - 1) for fraction in FRACTIONS]
    for value, count in counted:
        below += count
        while len(found) < len(places) and below > places[len(found)]:
            found.append(value)
    return found


if __name__ == "__main__":
    Stats.run()
