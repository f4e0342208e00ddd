"""The import of mrjob, without that of setuptools."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stdlib_distutils() -> Iterator[None]:
    """Let imports in the block find the standard library's distutils, and forget it behind the block.

    mrjob takes two functions from it. setuptools puts its own in front, with all of setuptools behind it: 0.1 s at the
    start of every job. From Python 3.12 on there is no other.
    """
    hidden = [finder for finder in sys.meta_path if type(finder).__name__ == "DistutilsMetaFinder"]
    if sys.version_info >= (3, 12) or "distutils" in sys.modules:
        hidden = []
    for finder in hidden:
        sys.meta_path.remove(finder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The distutils package is deprecated", DeprecationWarning)
            yield
    finally:
        sys.meta_path[:0] = hidden
        for name in [name for name in sys.modules if hidden and name.partition(".")[0] == "distutils"]:
            del sys.modules[name]  # setuptools warns where it finds another's
