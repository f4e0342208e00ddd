"""Imports that look for PySpark, where it isn't wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_pyspark() -> Iterator[None]:
    """Let imports in the block find no PySpark, if it isn't loaded yet.

    Great Expectations imports it wherever it is installed. That takes a second, and where the main module has no file
    (`python -c`, a worker of pytest) PySpark 4.3 takes the process for a doctest and ends it with status 0.
    """
    if "pyspark" in sys.modules:
        yield
        return
    sys.modules["pyspark"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop("pyspark", None)
