"""The data intervals of rows, by a column of times: times flow in, names of intervals or one batch per interval out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, scalar, stored_numbers
from millrace.intervals import ALL, FORMATS, UNKNOWN
from millrace.spec import Interval


def name_intervals(times: pa.Array, kind: Interval) -> pa.Array:
    """The interval name of every time; ``unknown`` where the time is null. Returns a string array of equal length."""
    if kind == "none":
        return pa.repeat(scalar(ALL), len(times))
    hours = np.floor_divide(stored_numbers(times.cast(pa.timestamp("s"), safe=False).cast(pa.int64())), 3600)
    encoded = array_of(hours).dictionary_encode()  # few, and each is formatted once
    moments = array_of(stored_numbers(encoded.dictionary) * 3600).cast(pa.timestamp("s"))
    names = pc.strftime(moments, format=FORMATS[kind]).take(encoded.indices)
    return pc.if_else(times.is_valid(), names, scalar(UNKNOWN)) if times.null_count else names


def by_interval(batch: pa.RecordBatch, names: pa.Array) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The batch cut into one batch per interval, in order of name; row order is kept inside each."""
    unique = sorted(pc.unique(names).to_pylist())
    for name in unique:
        yield name, batch if len(unique) == 1 else batch.filter(pc.equal(names, scalar(name)))
