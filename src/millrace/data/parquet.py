"""Parquet: row groups flow in, batches under the pipeline's names flow out, in the file's own types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.data.delimited import match_columns, raw_name
from millrace.data.split import RawBatch, Split, row_numbers
from millrace.errors import InputError
from millrace.spec import Pipeline


def open_parquet(path: str, file: Any) -> pq.ParquetFile:
    """The file's footer, read. Raises InputError naming a file that isn't Parquet, or is damaged."""
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        hint = "it may be cut off, or in another format: see `source.format`"
        raise InputError(f"not a Parquet file: {path}", found=_first_line(error), hint=hint) from error


def read_parquet(
    split: Split, pipeline: Pipeline, file: Any, wanted: Sequence[str], batch_rows: int
) -> Iterator[RawBatch]:
    """The records of some row groups; see `millrace.data.raw.read_split`."""
    reader = open_parquet(split.path, file)
    expected = {raw_name(pipeline, name): name for name in pipeline.columns}
    found = list(reader.schema_arrow.names)
    names = dict(zip(match_columns(split.path, expected, found), found, strict=True))
    row = split.first_row
    groups = list(split.row_groups) if split.row_groups is not None else list(range(reader.num_row_groups))
    try:
        for batch in reader.iter_batches(batch_rows, groups, [names[name] for name in wanted], use_threads=False):
            renamed = pa.RecordBatch.from_arrays([batch.column(names[name]) for name in wanted], list(wanted))
            yield RawBatch(renamed, row_numbers(np.arange(row, row + batch.num_rows)))
            row += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        where = f"from row {row} on"
        raise InputError(f"damaged Parquet file: {split.path}, {where}", found=_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
