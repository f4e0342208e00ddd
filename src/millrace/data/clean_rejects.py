"""Rows that cleaning rejects: masks with their reasons flow in, one quarantine row per rejected raw row flows out.

A raw row may break several rules; the first of them, in the order in which they were applied, is its reason, so that
the rows of the quarantine can be counted against the rows of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, repeated, scalar, text_array, without_dictionary
from millrace.data.hashing import canonical_text
from millrace.data.split import RawBatch

VALUE_LIMIT = 500
RECORD_LIMIT = 4096
QUARANTINE = pa.schema(
    [
        ("row", pa.int64()),
        ("source_file", pa.string()),
        ("column", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("value", pa.string()),
        ("record", pa.string()),
        ("data_interval", pa.string()),
    ]
)
"""The quarantine table: which record of which file, the column (null for the whole row), the rule it broke, what was
expected and found, the cell as it was, and the record: as text where it couldn't be read, else a JSON object of its raw
values; `data_interval` is the partition."""

BAD_ROWS = {
    "ragged": "expected as many fields as there are columns",
    "encoding": "expected text in the source's encoding",
    "unbalanced_quotes": "expected a closing quote",
    "nul_byte": "expected text without NUL bytes",
    "too_long": "expected a shorter record",
    "truncated": "expected the file to go on",
    "corrupt": "expected bytes that can be decompressed",
    "not_json": "expected one JSON object on a line",
}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rejection:
    """Rows that break a rule: a mask over the batch, what was expected, and in which column (None: the whole row)."""

    column: str | None
    rule: str
    expected: str
    mask: Mask

    @property
    def name(self) -> str:
        """Under which these rows are counted: ``fare:range``, ``no_interval``."""
        return self.rule if self.column is None else f"{self.column}:{self.rule}"


def first_reasons(rejections: Sequence[Rejection], rows: int) -> npt.NDArray[np.int32]:
    """For each row, the place of the first rejection that holds for it; -1 for rows that stay."""
    first = np.full(rows, -1, np.int32)
    for place, rejection in enumerate(rejections):
        first[(first < 0) & rejection.mask] = place
    return first


def quarantine(
    raw: RawBatch,
    path: str,
    rejections: Sequence[Rejection],
    first: npt.NDArray[np.int32],
    intervals: pa.Array,
    bad_interval: str,
) -> pa.Table:
    """The quarantine rows of a raw batch, in order of row; its unreadable rows among them, in `bad_interval`."""
    rejected = np.flatnonzero(first >= 0)
    pieces = [_bad_rows(raw, path, bad_interval)] if raw.bad else []
    if len(rejected):
        taken = raw.cells(rejected)
        records = _records(taken)
        for place in np.unique(first[rejected]).tolist():
            inside = np.flatnonzero(first[rejected] == place)
            rows, chosen = array_of(rejected[inside]), array_of(inside)
            rejection = rejections[place]
            value = _value(taken, rejection.column, chosen)
            pieces.append(
                _table(
                    row=raw.rows.take(rows),
                    source_file=repeated(path, len(inside)),
                    column=repeated(rejection.column, len(inside)),
                    rule=repeated(rejection.rule, len(inside)),
                    reason=_reason(rejection, value),
                    value=value,
                    record=records.take(chosen),
                    data_interval=intervals.take(rows),
                )
            )
    return pa.concat_tables(pieces).sort_by("row") if pieces else pa.Table.from_batches([], QUARANTINE)


def _bad_rows(raw: RawBatch, path: str, interval: str) -> pa.Table:
    count = len(raw.bad)
    return _table(
        row=array_of(np.array([bad.row for bad in raw.bad], np.int64)),
        source_file=repeated(path, count),
        column=pa.nulls(count, pa.string()),
        rule=text_array(bad.reason for bad in raw.bad),
        reason=text_array(BAD_ROWS.get(bad.reason, bad.reason) for bad in raw.bad),
        value=pa.nulls(count, pa.string()),
        record=text_array(bad.text[:RECORD_LIMIT] for bad in raw.bad),
        data_interval=repeated(interval, count),
    )


def _table(**columns: pa.Array) -> pa.Table:
    return pa.Table.from_arrays([columns[name] for name in QUARANTINE.names], schema=QUARANTINE)


def _text(values: pa.Array) -> pa.Array:
    values = without_dictionary(values)
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        import polars as pl

        return pc.binary_join_element_wise("0x", pl.Series(values).bin.encode("hex").to_arrow().cast(pa.string()), "")
    return canonical_text(values)


def _records(batch: pa.RecordBatch) -> pa.Array:
    """Each row as a JSON object of its raw values."""
    import polars as pl

    frame = pl.DataFrame({name: pl.Series(_text(batch.column(name)), dtype=pl.String) for name in batch.schema.names})
    encoded = frame.select(record=pl.struct(pl.all()).struct.json_encode())["record"].to_arrow().cast(pa.string())
    return pc.utf8_slice_codeunits(encoded, 0, RECORD_LIMIT)


def _value(batch: pa.RecordBatch, column: str | None, rows: pa.Array) -> pa.Array:
    if column is None or column not in batch.schema.names:
        return pa.nulls(len(rows), pa.string())
    return pc.utf8_slice_codeunits(_text(batch.column(column).take(rows)), 0, VALUE_LIMIT)


def _reason(rejection: Rejection, value: pa.Array) -> pa.Array:
    if rejection.column is None:
        return repeated(f"expected {rejection.expected}", len(value))
    quote, nothing = scalar("'"), scalar("")  # what is joined, and what lies between
    found = pc.coalesce(pc.binary_join_element_wise(quote, value, quote, nothing), scalar("nothing"))
    return pc.binary_join_element_wise(scalar(f"expected {rejection.expected}, found "), found, nothing)
