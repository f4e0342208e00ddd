"""What a process frees goes back to the system: allocators keep it else, in ever more pieces, and a long task grows."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa


def release_unused() -> None:
    """Give back what the C library and Arrow keep of freed memory. That takes some 15 ms after 50 MB of work.

    >>> release_unused()
    """
    trim = _trim()
    if trim is not None:
        trim(0)
    pa.default_memory_pool().release_unused()


@functools.cache
def _trim() -> Callable[[int], Any] | None:
    """malloc_trim(3), where the C library has it: glibc does."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
