"""Fault points: places where a test may kill the process, to prove that a crash there harms nothing.

``MILLRACE_FAULT=point`` or ``point:n`` ends the process with SIGKILL the first, or n-th, time it reaches the point.
Without the variable a point is one look into the environment.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Literal, get_args

from millrace.errors import RequestError

Point = Literal["after_part_write", "before_commit", "after_commit"]
VARIABLE = "MILLRACE_FAULT"

_reached: Counter[str] = Counter()


def reach(point: Point) -> None:
    """Die here if the environment says so. Raises RequestError where it names a point that isn't there."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    name, _, count = wanted.partition(":")
    if name not in get_args(Point) or not (count.isdigit() or not count):
        raise RequestError(f"bad {VARIABLE}", expected=f"one of {', '.join(get_args(Point))}, with :n", found=wanted)
    if name != point:
        return
    _reached[point] += 1
    if _reached[point] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
