"""Columns as codes: an array of any encoding flows in, its distinct values and a place among them per row flow out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data.states import Kind, stored_numbers
from millrace.errors import InputError

Codes = npt.NDArray[np.int64]


def kind_of(kind: pa.DataType, name: str) -> Kind:
    """The kind of statistics that a type has; InputError where it has none."""
    types: Any = pa.types
    if types.is_dictionary(kind):
        return kind_of(kind.value_type, name)
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "float"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return "string"
    raise InputError(
        f"column {name!r} has a type without statistics", expected="number, text, boolean or time", found=str(kind)
    )


def encode(array: pa.Array, kind: Kind) -> tuple[Codes, pa.Array]:
    """The distinct values (as the kind's own type, no nulls), and for every row its value's place, -1 for null."""
    if pa.types.is_dictionary(array.type):
        inner, values = encode(array.dictionary, kind)  # entries may be null or equal
        codes = _codes(array.indices)
        return np.append(inner, -1)[codes], values
    encoded = _as_kind(array, kind).dictionary_encode()
    return _codes(encoded.indices), encoded.dictionary


def _codes(indices: pa.Array) -> Codes:
    codes = stored_numbers(indices).astype(np.int64)
    if indices.null_count:
        codes[stored_numbers(indices.is_null().cast(pa.uint8())).astype(np.bool_)] = -1
    return codes


def as_places(places: Codes) -> pa.Array:
    """Places as an Arrow array; `pa.array` would import pandas for it, which takes longer than a small job."""
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(np.ascontiguousarray(places))])


def _as_kind(array: pa.Array, kind: Kind) -> pa.Array:
    if kind_of(array.type, "") != kind and not pa.types.is_null(array.type):
        raise InputError("a column's type isn't the schema's", expected=kind, found=str(array.type))
    if kind == "string":
        return array.cast(pa.string())
    if kind == "float":
        return array.cast(pa.float64())
    if kind == "time":
        zone = getattr(array.type, "tz", None)
        return array.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    if kind == "boolean":
        return array.cast(pa.int8()).cast(pa.int64())
    return array if pa.types.is_uint64(array.type) else array.cast(pa.int64())
