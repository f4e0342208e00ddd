"""Splits of a table's parts: committed files flow in as splits, and out as batches with their data interval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.buffers import repeated
from millrace.data.parquet import stored_as_dictionary
from millrace.data.split import COMPRESSED_WEIGHT, Split
from millrace.errors import CorruptData
from millrace.mapreduce.splits import SPLIT_SIZE, row_group_splits
from millrace.storage.files import SourceFile, table_filesystem
from millrace.storage.parts import Part
from millrace.storage.seal import check_seal

INTERVAL = "data_interval"


def split_parts(uri: str, parts: Iterable[Part], split_size: int = SPLIT_SIZE) -> Iterator[Split]:
    """A split for each part of the table at `uri`; one of more than `split_size` bytes as text is cut
    between row groups.

    `first_row` counts the rows of the interval before it, so that what is made of the splits can keep their order,
    whatever the parts are called. Only the footers of the large parts are read.
    """
    before: dict[str | None, int] = {}
    for part in parts:
        path = f"{uri}/{part.path}"
        rows = before.get(part.interval, 0)
        before[part.interval] = rows + part.rows
        if COMPRESSED_WEIGHT * part.size <= split_size:
            yield Split(path, "parquet", 0, 0, rows + 1, None, part.interval, part.size)
            continue
        file = SourceFile(path, part.size, "")
        for split in row_group_splits(file, part.interval, split_size, open_part):
            yield replace(split, first_row=rows + split.first_row)


def open_part(path: str) -> pa.NativeFile:
    """Open a part, named by its table's URI and its path. Raises CorruptData where its footer is damaged."""
    folder, _, name = path.rpartition("/")
    system, prefix = table_filesystem(folder)
    file = system.open_input_file(prefix + name)
    check_seal(file, path)
    return file


def read_part(
    split: Split,
    columns: Sequence[str] | None = None,
    batch_rows: int = 131_072,
    schema: pa.Schema | None = None,
    *,
    encoded: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of one part of a table, in the file's order; `split.path` is the table's URI and the part's path.

    `columns` are read (all by default); the column `data_interval`, which the file doesn't hold, is added from the
    split. With `schema`, its columns are read, and those that came to the table after the file was written are null.
    `encoded`: texts that are stored as dictionaries come so; each row group has its own.
    Raises CorruptData where the file is gone or damaged.
    """
    columns = columns if schema is None else schema.names
    try:
        opened = open_part(split.path)
        footer = pq.ParquetFile(opened).metadata
        kept = stored_as_dictionary(footer) if encoded else []
        with pq.ParquetFile(opened, metadata=footer, read_dictionary=kept, page_checksum_verification=True) as file:
            wanted = None if columns is None else [column for column in columns if column != INTERVAL]
            groups = list(split.row_groups) if split.row_groups is not None else list(range(file.num_row_groups))
            missing = sum(file.metadata.row_group(group).num_rows for group in groups)
            for batch in file.iter_batches(batch_rows, groups, wanted, use_threads=False):
                if columns is None or INTERVAL in columns:
                    batch = batch.append_column(INTERVAL, repeated(split.interval, batch.num_rows))
                for field in schema or ():
                    if field.name not in batch.schema.names:
                        batch = batch.append_column(field, pa.nulls(batch.num_rows, field.type))
                missing -= batch.num_rows
                yield batch if columns is None else batch.select(list(columns))
            if missing:  # a damaged page header may pass for the end of a column
                raise ValueError(f"{missing:,} rows are missing")
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0][:200]
        raise CorruptData("a file of a table can't be read", found=f"{split.path}: {reason}") from error
