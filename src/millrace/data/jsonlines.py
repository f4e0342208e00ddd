"""JSON lines: blocks of lines flow in, string columns under the pipeline's names flow out.

Each value becomes text: a string itself, a number or truth value its JSON text (1.50 as 1.5), an object or list its
JSON text. A key that the pipeline doesn't know is left out, a missing key is null. A line that isn't one JSON object
is a bad row (``not_json``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.buffers import row_numbers
from millrace.data.delimited import raw_name
from millrace.data.records import Block, Dialect, record_blocks
from millrace.data.split import BadRow, RawBatch, Split
from millrace.data.textfile import encoding_name, excerpt, sound_records, text_chunks
from millrace.spec import Pipeline

if TYPE_CHECKING:
    import polars as pl

LINES = Dialect(quote=None)


def read_jsonl(split: Split, pipeline: Pipeline, file: Any, wanted: Sequence[str]) -> Iterator[RawBatch]:
    """The records of one split of a JSON lines file; see `millrace.data.raw.read_split`."""
    encoding = encoding_name(pipeline.source.encoding)
    chunks = text_chunks(split.path, file, encoding, split.start, split.length)
    row = split.first_row
    names = {name: raw_name(pipeline, name) for name in wanted}
    nulls = pa.array(pipeline.source.null_values, pa.string())
    for block in record_blocks(chunks, LINES):
        sound = sound_records(block, row, encoding)
        frame, numbers, bad, count = _parse(sound.text, sound.numbers, row, list(names.values()))
        bad = sorted([*sound.bad, *bad], key=lambda one: one.row)
        row += sound.count if sound.count is not None else count
        if len(numbers) or bad:
            yield RawBatch(_batch(frame, names, nulls), row_numbers(numbers), bad)


def _parse(
    text: bytes, numbers: NDArray[np.int64] | None, first_row: int, fields: Sequence[str]
) -> tuple[pl.DataFrame, NDArray[np.int64], list[BadRow], int]:
    """The lines that are JSON objects, their numbers, the others, and the number of all lines."""
    import polars as pl

    schema = dict.fromkeys(fields, pl.String) or {"": pl.String}
    starts, ends = Block(text).bounds()
    if numbers is None:
        numbers = np.arange(first_row, first_row + len(starts))
    pieces: list[pl.DataFrame] = []
    good: list[NDArray[np.int64]] = []
    bad: list[BadRow] = []
    todo = [(0, len(starts))]
    while todo:
        first, behind = todo.pop()
        if first == behind:
            continue
        lines = text[int(starts[first]) : int(ends[behind - 1])]
        frame = _objects(lines, schema, behind - first)
        if frame is not None:
            pieces.append(frame)
            good.append(numbers[first:behind])
        elif behind - first == 1:
            bad.append(BadRow(int(numbers[first]), "not_json", excerpt(lines, "utf-8")))
        else:  # halve, until the bad lines are alone
            middle = (first + behind) // 2
            todo += [(middle, behind), (first, middle)]
    frame = pl.concat(pieces) if pieces else pl.DataFrame(schema=schema)
    return frame, np.concatenate([np.empty(0, np.int64), *good]), bad, len(starts)


def _objects(lines: bytes, schema: dict[str, Any], count: int) -> pl.DataFrame | None:
    """The lines as columns of text, None where one of them isn't an object."""
    import polars as pl

    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        frame = pl.read_ndjson(lines, schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    return frame if frame.height == count else None


def _batch(frame: pl.DataFrame, names: dict[str, str], nulls: pa.Array) -> pa.RecordBatch:
    table = frame.to_arrow()
    columns = []
    for raw in names.values():
        cells = table.column(raw).cast(pa.string()).combine_chunks()
        cells = pa.concat_arrays(cells.chunks) if isinstance(cells, pa.ChunkedArray) else cells
        columns.append(pc.if_else(pc.is_in(cells, value_set=nulls), None, cells) if len(nulls) else cells)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema([(name, pa.string()) for name in names]))
