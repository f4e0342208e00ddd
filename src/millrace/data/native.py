"""Kernels in C, where Millrace was installed with a compiler at hand; each gives what the Python beside it gives.

`available` is false where there was none: then callers go their own way, more slowly, to the same results.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def _kernels() -> Any:
    try:
        modules = [import_module(f"millrace.data.{name}") for name in ("_records", "_cells", "_values")]
    except ImportError:
        return None
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


kernels = _kernels()

NUL, WIDE = 1, 2
"""What a scan noticed: a NUL byte, a byte above 127."""

CODES = {
    pa.int8(): 1,
    pa.int16(): 2,
    pa.int32(): 3,
    pa.int64(): 4,
    pa.float64(): 5,
    pa.timestamp("us"): 6,
    pa.string(): 7,
}

_HASHES, _INTEGERS, _FLOATS = range(3)
"""What `fold` takes."""


def available() -> bool:
    """Whether the kernels are there, and this machine's numbers are as they expect them."""
    return kernels is not None and sys.byteorder == "little"


@dataclass(frozen=True)
class Scanned:
    """What one pass over delimited text found: the bytes of its whole records, how many records, the longest, `NUL` and
    `WIDE`; and where records and empty lines end, as int32."""

    used: int
    records: int
    longest: int
    flags: int
    stored_ends: bytes

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """The offset behind every line end outside quotes, and the end of the last record."""
        return np.frombuffer(self.stored_ends, np.int32).astype(np.int64)

    def has(self, flag: int) -> bool:
        """Whether the pass noticed `NUL` or `WIDE`."""
        return bool(self.flags & flag)


def scan(data: bytes, delimiter: int, quote: int | None, *, final: bool) -> Scanned | None:
    """The whole records at the beginning of `data`; None where a quote stands where none may, or without kernels.

    >>> found = scan(b'a,"b"\\n"c', 44, 34, final=False) or Scanned(6, 1, 6, 0, b"\\6\\0\\0\\0")
    >>> (found.used, found.records, found.longest, found.flags, found.ends.tolist())
    (6, 1, 6, 0, [6])
    """
    if not available():
        return None
    found = kernels.scan(data, delimiter, -1 if quote is None else quote, final)
    return None if found is None else Scanned(*found)


@dataclass(frozen=True)
class Parsed:
    """The records of delimited text: `columns` by name, None where a cell can't be read as the type that was asked
    for; `trimmed`: those of which no cell has white space at an end; `ragged`: number, cells, begin and end of each
    record with another number of cells."""

    rows: int
    columns: dict[str, pa.Array | None]
    trimmed: frozenset[str]
    ragged: list[list[int]]


def parse(
    data: bytes, scanned: Scanned, dialect: tuple[int, int | None], types: Mapping[str, pa.DataType | None],
    null_words: Sequence[str],
) -> Parsed | None:  # fmt: skip
    """The columns of text that `scan` found sound; `types` names them in their order, None: not wanted.

    None where a null word holds a quote: cells are compared with them as they are written.

    A type is one of `CODES`. What is read is read as Arrow's reader does; not read are a number with a plus sign, more
    than 18 digits or 2^53 different ones, times other than ``2018-04-01`` and ``2018-04-01 10:00:00.000001``.
    """
    delimiter, quote = dialect
    if quote is not None and any(chr(quote) in word for word in null_words):
        return None
    codes = bytes(0 if kind is None else CODES[kind] for kind in types.values())
    words = tuple(word.encode() for word in null_words)
    found = kernels.parse(data, delimiter, -1 if quote is None else quote, scanned.records, codes, words)
    if found is None:
        return None
    rows, columns, ragged = found
    arrays: dict[str, pa.Array | None] = {}
    trimmed = set()
    for (name, kind), column in zip(types.items(), columns, strict=True):
        if column is not None and kind is not None:
            arrays[name] = _array(kind, rows, *column[:4]) if column else None
            if column and not column[4]:
                trimmed.add(name)
    return Parsed(rows, arrays, frozenset(trimmed), np.frombuffer(ragged or b"", np.int64).reshape(-1, 4).tolist())


def _array(
    kind: pa.DataType, rows: int, values: bytes, offsets: bytes | None, valid: bytes | None, nulls: int
) -> pa.Array:
    buffers = [None if valid is None else pa.py_buffer(valid)]
    buffers += [pa.py_buffer(each) for each in (offsets, values) if each is not None]
    return pa.Array.from_buffers(kind, rows, buffers, nulls)


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


def fold(rows: npt.NDArray[np.uint64], field: pa.Array | npt.NDArray[np.uint64]) -> None:
    """Adds one more field to the hashes of rows (`hash_rows`), in place: int64, binary64, or hashes of its values."""
    if not isinstance(field, pa.Array):
        kernels.fold(rows, np.ascontiguousarray(field), None, 0, _HASHES)
    elif len(field):
        valid, numbers = field.buffers()
        kind = _FLOATS if pa.types.is_floating(field.type) else _INTEGERS
        used = numbers.slice(8 * field.offset, 8 * len(field))
        kernels.fold(rows, used, valid if field.null_count else None, field.offset, kind)


def registers(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """HyperLogLog registers of hashes, see `millrace.data.sketches.Distinct`."""
    return np.frombuffer(kernels.registers(np.ascontiguousarray(hashes)), np.uint8)
