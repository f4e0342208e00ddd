"""Text and typed numbers become numbers of a declared type; null where a value would not survive the change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, null_scalar, scalar


def parse(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Text as a number. Arrow casts the whole column at once; it stops at the first bad cell, where Polars goes on."""
    integer = pa.types.is_integer(target)
    try:
        if integer and pc.any(pc.match_substring(values, "x", ignore_case=True)).as_py():
            raise pa.ArrowInvalid("Arrow would read 0x1f as a number")
        result = values.cast(target)
    except pa.ArrowInvalid:
        result = readable(values, target)
        if integer and result.null_count > values.null_count:
            whole = pc.replace_substring_regex(values, r"^([+-]?\d+)\.0*$", r"\1")
            result = readable(whole, target)
    return result if integer else finite(result)


def readable(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Text as numbers of the type `target`, null where a cell is none."""
    import polars as pl

    kinds = {
        pa.int8(): pl.Int8,
        pa.int16(): pl.Int16,
        pa.int32(): pl.Int32,
        pa.int64(): pl.Int64,
        pa.float32(): pl.Float32,
        pa.float64(): pl.Float64,
    }
    return pl.Series(values).cast(kinds[target], strict=False).to_arrow()


def finite(values: pa.Array) -> pa.Array:
    """Numbers with inf and nan made null."""
    kept = pc.is_finite(values)
    return values if pc.all(kept).as_py() is not False else pc.if_else(kept, values, null_scalar(values.type))


def from_typed(values: pa.Array, target: pa.DataType) -> pa.Array:
    """A number or bool as another number or bool type, null where the value would change."""
    if pa.types.is_boolean(target):
        return pc.if_else(
            pc.equal(values, scalar(1)),
            scalar(True),
            pc.if_else(pc.equal(values, scalar(0)), scalar(False), null_scalar(target)),
        )
    if pa.types.is_floating(target):
        return finite(values.cast(target, safe=False))
    if pa.types.is_boolean(values.type):
        return values.cast(target)
    limits = np.iinfo(str(target))
    fits = pc.and_(
        pc.greater_equal(values, _bound(limits.min, values.type)),
        pc.less_equal(values, _bound(limits.max, values.type)),
    )
    if pa.types.is_floating(values.type):
        fits = pc.and_(fits, pc.and_(pc.is_finite(values), pc.equal(values, pc.floor(values))))
        fits = pc.and_(fits, pc.less(values, scalar(float(limits.max) + 1)))
    return pc.if_else(fits, values, null_scalar(values.type)).cast(target, safe=False)


def _bound(limit: int, kind: pa.DataType) -> pa.Scalar:
    """A limit as a scalar of the values' own type, or the type's own limit where that is narrower."""
    if pa.types.is_floating(kind):
        return scalar(float(limit)).cast(kind)
    own = np.iinfo(str(kind))
    return array_of(np.array([max(own.min, min(own.max, limit))], str(kind)))[0]
