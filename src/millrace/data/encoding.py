"""Columns as codes: an array of any encoding flows in, its distinct values and a place among them per row flow out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.buffers import array_of, flags, scalar, stored_numbers
from millrace.data import native
from millrace.data.states import Kind
from millrace.errors import InputError

Codes = npt.NDArray[np.signedinteger[Any]]


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


@dataclass(frozen=True)
class Encoded:
    """For every row its value's place among the distinct `values` (of the kind's own type, no nulls), -1 for null.

    `hashes` are those of the distinct values (`millrace.data.states.hash_keys`), where they came for nothing.
    """

    places: Codes
    values: pa.Array
    hashes: npt.NDArray[np.uint64] | None = None

    def only(self, seen: npt.NDArray[np.int64]) -> Encoded:
        """Some of the distinct values; the places are those among all."""
        if len(seen) == len(self.values):
            return self
        hashes = None if self.hashes is None else self.hashes[seen]
        return Encoded(self.places, self.values.take(array_of(seen)), hashes)


def encode(array: pa.Array, kind: Kind) -> Encoded:
    """The distinct values of an array, in order of first occurrence."""
    if pa.types.is_dictionary(array.type):
        inner = encode(array.dictionary, kind)  # entries may be null or equal
        return Encoded(np.append(inner.places, -1)[_codes(array.indices)], inner.values, inner.hashes)
    plain = _as_kind(array, kind)
    if native.available():
        places, first, hashes = native.encode(plain)
        return Encoded(places, plain.take(array_of(first)), hashes)
    if kind == "float":
        import pyarrow.compute as pc  # slow to import

        plain = pc.add(plain, scalar(0.0))  # -0.0 is 0.0
    encoded = plain.dictionary_encode()
    return Encoded(_codes(encoded.indices), encoded.dictionary)


def _codes(indices: pa.Array) -> Codes:
    codes = stored_numbers(indices).astype(np.int64)
    if indices.null_count:
        codes[flags(indices.is_null())] = -1
    return codes


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
