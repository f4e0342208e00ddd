"""Columnar MapReduce on mrjob: jobs, splits, the shuffle by reference, and the runners."""
