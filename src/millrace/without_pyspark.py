"""Imports that look for PySpark, where it isn't wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_pyspark() -> Iterator[None]:
    """Let imports in the block find no PySpark, whether it is loaded or not.

    Great Expectations and MLflow import it wherever it is installed. That takes a second, and where the main module has
    no file (`python -c`, a worker of pytest) PySpark 4.3 takes the process for a doctest and ends it with status 0.
    """
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "pyspark"}
    for name in loaded:
        del sys.modules[name]
    sys.modules["pyspark"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pyspark"]
        sys.modules.update(loaded)
