"""Parquet: row groups flow in, batches under the pipeline's names flow out, in the file's own types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.buffers import row_numbers
from millrace.data.delimited import match_columns, raw_name
from millrace.data.split import RawBatch, Split
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
    split: Split, pipeline: Pipeline, file: Any, wanted: Sequence[str], batch_rows: int, *, encoded: bool
) -> Iterator[RawBatch]:
    """The records of some row groups; see `millrace.data.raw.read_split`. `encoded`: texts come as they are stored."""
    reader = open_parquet(split.path, file)
    if encoded:
        reader = pq.ParquetFile(file, metadata=reader.metadata, read_dictionary=stored_as_dictionary(reader.metadata))
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


def stored_as_dictionary(footer: pq.FileMetaData) -> list[str]:
    """The columns of text whose values the first row group holds once each, and then refers to."""
    if not footer.num_row_groups:
        return []
    group = footer.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    return [
        column.path_in_schema
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and "RLE_DICTIONARY" in column.encodings
    ]


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
