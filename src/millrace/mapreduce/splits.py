"""Plans the splits of raw files: source files and a pipeline flow in, the manifest's `Split`s flow out.

Plain csv, tsv and JSON lines are cut at record boundaries, Parquet at row groups, compressed files not at all. A text
file of more than one split is scanned once, so that each split knows the number of its first record.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from millrace.data.delimited import dialect_of, match_header, split_header
from millrace.data.jsonlines import LINES
from millrace.data.parquet import open_parquet
from millrace.data.raw import OpenFile, Split
from millrace.data.records import record_blocks
from millrace.data.textfile import is_whole, text_chunks
from millrace.errors import InputError
from millrace.intervals import file_interval
from millrace.spec import Pipeline
from millrace.storage.files import open_input

SPLIT_SIZE = 64 << 20


class RawFile(Protocol):
    """A file to plan for: `millrace.storage.files.SourceFile`, or anything with these."""

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int: ...


def plan_splits(
    files: Iterable[RawFile],
    pipeline: Pipeline,
    split_size: int = SPLIT_SIZE,
    *,
    open_file: OpenFile = open_input,
) -> list[Split]:
    """The splits of all files, in the order of the files, of about `split_size` bytes each.

    Raises InputError naming a file without a date in its name (where `source.file_date` is set), with other columns, or
    in another format.
    """
    if split_size < 1:
        raise ValueError(f"split_size must be at least 1, not {split_size}")
    stored = pipeline.as_stored()
    return [split for file in files for split in _splits(file, stored, split_size, open_file)]


def interval_of(path: str, pipeline: Pipeline) -> str | None:
    """The interval that a file's name tells, None where rows tell it themselves. Raises InputError without a date."""
    pattern = pipeline.source.file_date
    if pattern is None or pipeline.source.interval == "none":
        return None
    found = file_interval(path, pattern, pipeline.source.interval)
    if found is None:
        hint = "rename the file, leave it out of `source.uri`, or change `source.file_date`"
        raise InputError(f"no date in the name of {path}", expected=f"a date like {pattern}", hint=hint)
    return found


def _splits(file: RawFile, pipeline: Pipeline, split_size: int, open_file: OpenFile) -> Iterator[Split]:
    interval = interval_of(file.path, pipeline)
    kind = pipeline.source.format
    if kind == "parquet":
        yield from row_group_splits(file, interval, split_size, open_file)
        return
    whole = Split(file.path, kind, 0, file.size, 1, None, interval, file.size)
    if file.size <= split_size:
        yield whole
        return
    handle = open_file(file.path)
    try:
        if is_whole(file.path, handle, pipeline.source.encoding):
            yield whole
            return
        start, row = 0, 1
        for end, following in _cuts(file, pipeline, handle, split_size):
            yield Split(file.path, kind, start, end - start, row, None, interval, end - start)
            start, row = end, following
        if start < file.size or start == 0:
            yield Split(file.path, kind, start, file.size - start, row, None, interval, file.size - start)
    finally:
        handle.close()


def _cuts(file: RawFile, pipeline: Pipeline, handle: Any, split_size: int) -> Iterator[tuple[int, int]]:
    """Where a plain text file is cut: the offset, and the number of the first record behind it."""
    dialect = LINES if pipeline.source.format == "jsonl" else dialect_of(pipeline)
    handle.seek(0)
    position = len(BOM_UTF8) if handle.read(3) == BOM_UTF8 else 0
    chunks = text_chunks(file.path, handle, pipeline.source.encoding, 0, file.size)
    if pipeline.source.format != "jsonl" and pipeline.source.header:
        header, behind, chunks = split_header(chunks, dialect)
        if header is not None:
            match_header(pipeline, file.path, header)
        position += behind
    row, start = 1, 0
    for block in record_blocks(chunks, dialect):
        if block.scanned is not None and position + block.size < start + split_size:
            row += block.scanned.records
            position += block.size
            continue
        _, ends = block.bounds()
        taken = 0
        while taken < len(ends):
            index = max(taken, int(np.searchsorted(ends, start + split_size - position)))
            if index >= len(ends) or block.length is not None:
                break
            taken = index + 1
            start = position + int(ends[index])
            yield start, row + taken
        row += len(ends)
        position += block.size


def row_group_splits(file: RawFile, interval: str | None, split_size: int, open_file: OpenFile) -> Iterator[Split]:
    """Neighbouring row groups together, up to the split size; sizes are those of the compressed columns."""
    handle = open_file(file.path)
    try:
        footer = open_parquet(file.path, handle).metadata
        group: list[int] = []
        size, rows, first = 0, 0, 1
        for index in range(footer.num_row_groups):
            meta = footer.row_group(index)
            bytes_of = sum(meta.column(column).total_compressed_size for column in range(meta.num_columns))
            if group and size + bytes_of > split_size:
                yield Split(file.path, "parquet", 0, 0, first, tuple(group), interval, size)
                group, size, rows, first = [], 0, 0, first + rows
            group.append(index)
            size, rows = size + bytes_of, rows + meta.num_rows
        yield Split(file.path, "parquet", 0, 0, first, tuple(group), interval, size)
    finally:
        handle.close()
