"""The names of the runners; light, so that a job's script can read its command line before it imports anything else."""

from __future__ import annotations

from typing import Literal, get_args

Runner = Literal["inline", "local", "hadoop", "emr", "spark"]
RUNNERS: tuple[str, ...] = get_args(Runner)
CLUSTERS = ("hadoop", "emr", "spark")
"""Runners whose tasks run on other machines: they reach only the store."""
