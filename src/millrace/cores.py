"""The processors that there are."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> None:
    """Let BLAS start no threads when it is loaded: that takes 0.2 s of the processors.

    No sum of Millrace uses them, because its last digits depend on how many there are. A number that the environment
    tells stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
