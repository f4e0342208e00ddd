"""Kernels in C, where Millrace was installed with a compiler at hand; each gives what the Python beside it gives.

`available` is false where there was none: then callers go their own way, more slowly, to the same results.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

try:
    kernels: Any = import_module("millrace.data._native")
except ImportError:
    kernels = None

NUL, WIDE, PADDED = 1, 2, 4
"""What a scan noticed: a NUL byte, a byte above 127, white space at an end of a cell."""


def available() -> bool:
    """Whether the kernels are there, and this machine's numbers are as they expect them."""
    return kernels is not None and sys.byteorder == "little"


@dataclass(frozen=True)
class Scanned:
    """What one pass over delimited text found: the bytes of its whole records, how many records, and `NUL`…"""

    used: int
    records: int
    longest: int
    flags: int

    def has(self, flag: int) -> bool:
        """Whether the pass noticed one of `NUL`, `WIDE`, `PADDED`."""
        return bool(self.flags & flag)


def scan(data: bytes, delimiter: int, quote: int | None, *, final: bool) -> Scanned | None:
    """The whole records at the beginning of `data`; None where a quote stands where none may, or without kernels.

    >>> scan(b'a,"b"\\n"c', 44, 34, final=False) if available() else Scanned(6, 1, 6, 0)
    Scanned(used=6, records=1, longest=6, flags=0)
    """
    if not available():
        return None
    found = kernels.scan(data, delimiter, -1 if quote is None else quote, final)
    return None if found is None else Scanned(*found)


def record_ends(data: bytes, delimiter: int, quote: int | None) -> npt.NDArray[np.int64]:
    """The offset behind every line end outside quotes, and the end, of text that `scan` found sound."""
    return np.frombuffer(kernels.ends(data, delimiter, -1 if quote is None else quote), np.int64)


def encode(array: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Places of 64-bit numbers or texts among the distinct values, in order of first occurrence, -1 for null.

    With them: the row of each distinct value's first occurrence, and its hash (of `hash_rows`; 0.0 and -0.0 are one).
    """
    text = pa.types.is_string(array.type)
    buffers = array.buffers()
    data = (buffers[2] if buffers[2] is not None else b"") if text else None
    valid = buffers[0] if array.null_count else None
    if buffers[1] is None:
        places: Any = np.full(len(array), -1, np.int32)
        return places, np.empty(0, np.int32), np.empty(0, np.uint64)
    floats = pa.types.is_floating(array.type)
    found = kernels.encode(buffers[1], data, valid, array.offset, len(array), floats)
    return np.frombuffer(found[0], np.int32), np.frombuffer(found[1], np.int32), np.frombuffer(found[2], np.uint64)


def hash_texts(text: pa.Array) -> npt.NDArray[np.uint64]:
    """xxh64 of every string's bytes, whatever stands where it is null."""
    _, offsets, data = text.buffers()
    used = offsets.slice(4 * text.offset, 4 * (len(text) + 1))
    return np.frombuffer(kernels.xxh64(used, data if data is not None else b""), np.uint64).copy()  # to be written to


def registers(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """HyperLogLog registers of hashes, see `millrace.data.sketches.Distinct`."""
    return np.frombuffer(kernels.registers(np.ascontiguousarray(hashes)), np.uint8)
