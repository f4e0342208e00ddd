"""Trials of what can go wrong, each followed by a rerun: `python -m tests.faults`, or `make faults`."""
