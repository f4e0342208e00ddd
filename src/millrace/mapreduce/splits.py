"""Plans the splits of raw files: source files and a pipeline flow in, the manifest's `Split`s flow out.

Plain csv, tsv and JSON lines are cut at record boundaries, Parquet at row groups, compressed files not at all. A text
file of more than one split is scanned once, so that each split knows the number of its first record; unless a job has
read all of it and counted, as `check` does, or nobody needs the numbers. What reads files is imported where one is
read: a small text file is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

from millrace.data import native
from millrace.data.split import COMPRESSED_WEIGHT, OpenFile, Split
from millrace.errors import InputError
from millrace.intervals import file_interval
from millrace.spec import Pipeline
from millrace.storage.files import open_input

SPLIT_SIZE = 64 << 20

Cuts = Mapping[str, Sequence[Sequence[int]]]
"""File → start and length, in bytes, and records of each split that a job read of it."""


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
    numbered: bool = True,
    cuts: Cuts | None = None,
    open_file: OpenFile = open_input,
) -> list[Split]:
    """The splits of all files, in the order of the files, of about `split_size` bytes each.

    Where the records needn't be `numbered`, large files aren't read for it: the splits are guesses, and a job that
    reads them raises UncertainCut where one may be wrong. Nor is a file read whose `cuts` are known.

    Raises InputError naming a file without a date in its name (where `source.file_date` is set), with other columns, or
    in another format.
    """
    if split_size < 1:
        raise ValueError(f"split_size must be at least 1, not {split_size}")
    stored = pipeline.as_stored()
    planned = _splits if numbered or not native.available() else _guessed_splits
    found: list[Split] = []
    for file in files:
        found += _counted_splits(file, stored, (cuts or {}).get(file.path, ())) or planned(
            file, stored, split_size, open_file
        )
    return found


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
    if file.size <= split_size or _is_whole(file, pipeline, open_file):
        yield whole
        return
    from millrace.mapreduce.cuts import find_cuts

    start, row = 0, 1
    for end, following in find_cuts(file.path, file.size, pipeline, _even(file.size, split_size), open_file):
        yield Split(file.path, kind, start, end - start, row, None, interval, end - start)
        start, row = end, following
    if start < file.size or start == 0:
        yield Split(file.path, kind, start, file.size - start, row, None, interval, file.size - start)


def _guessed_splits(file: RawFile, pipeline: Pipeline, split_size: int, open_file: OpenFile) -> Iterator[Split]:
    kind, interval = pipeline.source.format, interval_of(file.path, pipeline)
    cuts: list[int] | None = []
    if kind != "parquet" and file.size > split_size and not _is_whole(file, pipeline, open_file):
        from millrace.mapreduce.cuts import guess_cuts

        cuts = guess_cuts(file.path, file.size, pipeline, _even(file.size, split_size), open_file)
    if not cuts:
        yield from _splits(file, pipeline, split_size, open_file)
        return
    for start, end in pairwise([0, *cuts, file.size]):
        yield Split(file.path, kind, start, end - start, 1, None, interval, end - start, guessed=True)


def _even(size: int, split_size: int) -> int:
    """The size of splits that are as few and as large as each other: a small last one would leave its task idle.

    >>> _even(100, 40), _even(80, 40), _even(30, 40)
    (34, 40, 30)
    """
    return -(-size // max(1, -(-size // split_size)))


def _counted_splits(file: RawFile, pipeline: Pipeline, pieces: Sequence[Sequence[int]]) -> list[Split]:
    """The splits that a job read, numbered by its counts; none where they aren't all of the file."""
    kind, interval = pipeline.source.format, interval_of(file.path, pipeline)
    found: list[Split] = []
    behind, row = 0, 1
    for start, length, records in sorted(map(tuple, pieces)):
        if start != behind:
            return []
        found.append(Split(file.path, kind, start, length, row, None, interval, length))
        behind, row = start + length, row + records
    return found if behind == file.size else []


def _is_whole(file: RawFile, pipeline: Pipeline, open_file: OpenFile) -> bool:
    from millrace.data.textfile import is_whole

    handle = open_file(file.path)
    try:
        return is_whole(file.path, handle, pipeline.source.encoding)
    finally:
        handle.close()


def row_group_splits(file: RawFile, interval: str | None, split_size: int, open_file: OpenFile) -> Iterator[Split]:
    """Neighbouring row groups together, up to the split size as text; sizes are those of the compressed columns."""
    from millrace.data.parquet import open_parquet

    handle = open_file(file.path)
    try:
        footer = open_parquet(file.path, handle).metadata
        group: list[int] = []
        size, rows, first = 0, 0, 1
        for index in range(footer.num_row_groups):
            meta = footer.row_group(index)
            bytes_of = sum(meta.column(column).total_compressed_size for column in range(meta.num_columns))
            if group and COMPRESSED_WEIGHT * (size + bytes_of) > split_size:
                yield Split(file.path, "parquet", 0, 0, first, tuple(group), interval, size)
                group, size, rows, first = [], 0, 0, first + rows
            group.append(index)
            size, rows = size + bytes_of, rows + meta.num_rows
        yield Split(file.path, "parquet", 0, 0, first, tuple(group), interval, size)
    finally:
        handle.close()
