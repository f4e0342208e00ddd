"""Reading raw files: a `Split` flows in, `RawBatch`es of its records flow out, unreadable records named beside them.

What is decided here, for all formats: an empty file has zero records and is no error; a file whose columns are not the
pipeline's (one missing, or one too many) is an InputError, as is a binary file; everything that concerns single
records is a `BadRow`, so that rows are conserved. Null values are the source's `null_values`, quoted or not: a quoted
empty string is null too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.split import TEXT_LIMIT, BadRow, OpenFile, RawBatch, Split
from millrace.spec import Pipeline

__all__ = ["TEXT_LIMIT", "BadRow", "OpenFile", "RawBatch", "Split", "read_split"]


def read_split(
    split: Split,
    pipeline: Pipeline,
    open_file: OpenFile,
    *,
    columns: Sequence[str] | None = None,
    batch_rows: int = 131_072,
) -> Iterator[RawBatch]:
    """The records of a split, in file order, in batches of at most `batch_rows`.

    `columns` limits the columns of the batches (names of the pipeline, in its order); which records are bad doesn't
    depend on it. Batches of csv, tsv and JSON lines hold strings; those of Parquet the file's own types.

    Raises InputError where the file as a whole can't be this pipeline's: other columns, binary, not Parquet.
    """
    wanted = [name for name in pipeline.columns if columns is None or name in columns]
    stored = pipeline.as_stored()
    needed = {*wanted, *(derive.column for name in wanted if (derive := pipeline.columns[name].derive))}
    names = [name for name in stored.columns if name in needed]
    if split.format == "parquet":
        from millrace.data.parquet import read_parquet as read
    elif split.format == "jsonl":
        from millrace.data.jsonlines import read_jsonl as read
    else:
        from millrace.data.delimited import read_delimited as read
    file = open_file(split.path)
    try:
        for found in read(split, stored, file, names, batch_rows):
            yield from _cut(_derived(found, pipeline, wanted), batch_rows)
    finally:
        file.close()


def _derived(found: RawBatch, pipeline: Pipeline, wanted: Sequence[str]) -> RawBatch:
    """The wanted columns, with those that are derived from the text of others: "1" where it matches, "0" where not."""
    if found.batch.schema.names == list(wanted):
        return found
    arrays = []
    for name in wanted:
        derive = pipeline.columns[name].derive
        if derive is None:
            arrays.append(found.batch.column(name))
            continue
        text = found.batch.column(derive.column).cast(pa.string())
        matches = pc.match_substring_regex(text, derive.matches)
        arrays.append(pc.if_else(matches, "1", "0"))
    return RawBatch(pa.RecordBatch.from_arrays(arrays, names=list(wanted)), found.rows, found.bad)


def _cut(found: RawBatch, batch_rows: int) -> Iterator[RawBatch]:
    """A batch in pieces of at most `batch_rows`; the bad rows go with the first."""
    size = found.batch.num_rows
    if size <= batch_rows:
        yield found
        return
    for start in range(0, size, batch_rows):
        rows = found.rows.slice(start, batch_rows)
        yield RawBatch(found.batch.slice(start, batch_rows), rows, found.bad if start == 0 else [])
