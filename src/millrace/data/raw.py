"""Reading raw files: a `Split` flows in, `RawBatch`es of its records flow out, unreadable records named beside them.

What is decided here, for all formats: an empty file has zero records and is no error; a file whose columns are not the
pipeline's (one missing, or one too many) is an InputError, as is a binary file; everything that concerns single
records is a `BadRow`, so that rows are conserved. Null values are the source's `null_values`, quoted or not: a quoted
empty string is null too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.convert import TYPES
from millrace.data.split import BATCH_ROWS, TEXT_LIMIT, BadRow, OpenFile, RawBatch, Split
from millrace.spec import Pipeline

__all__ = ["BATCH_ROWS", "TEXT_LIMIT", "BadRow", "OpenFile", "RawBatch", "Split", "read_split"]


def read_split(
    split: Split,
    pipeline: Pipeline,
    open_file: OpenFile,
    *,
    columns: Sequence[str] | None = None,
    batch_rows: int = BATCH_ROWS,
    typed: bool = False,
) -> Iterator[RawBatch]:
    """The records of a split, in file order, in batches of at most `batch_rows`.

    `columns` limits the columns of the batches (names of the pipeline, in its order); which records are bad doesn't
    depend on it. Batches of csv, tsv and JSON lines hold strings; those of Parquet the file's own types. With `typed`,
    columns of csv and tsv come in their declared types where all cells of a batch can be read so as they stand: what
    `millrace.data.convert` makes of the batch is the same. Text of Parquet comes dictionary-encoded where it is so
    stored.

    Raises InputError where the file as a whole can't be this pipeline's: other columns, binary, not Parquet.
    """
    wanted = [name for name in pipeline.columns if columns is None or name in columns]
    stored = pipeline.as_stored()
    sources = {derive.column for name in wanted if (derive := pipeline.columns[name].derive)}
    names = [name for name in stored.columns if name in {*wanted, *sources}]
    file = open_file(split.path)
    try:
        for found in _read(split, stored, file, names, batch_rows, plain_types(stored, sources) if typed else None):
            derived = _derived(found, pipeline, wanted)
            size = derived.batch.num_rows
            for start in range(0, max(size, 1), batch_rows):
                yield derived if size <= batch_rows else derived.slice(start, batch_rows)
    finally:
        file.close()


def _read(
    split: Split, stored: Pipeline, file: Any, names: list[str], batch_rows: int, types: dict[str, pa.DataType] | None
) -> Iterator[RawBatch]:
    if split.format == "parquet":
        from millrace.data.parquet import read_parquet

        return read_parquet(split, stored, file, names, batch_rows, encoded=types is not None)
    if split.format == "jsonl":
        from millrace.data.jsonlines import read_jsonl

        return read_jsonl(split, stored, file, names)
    from millrace.data.delimited import read_delimited

    return read_delimited(split, stored, file, names, types or {})


def plain_types(pipeline: Pipeline, text: Collection[str]) -> dict[str, pa.DataType]:
    """The columns that a reader may turn into their types at once, as nothing but that is asked of their text.

    Not those whose `text` is needed, nor those with values to map, units, or formats of their own.
    """
    rules = {name: pipeline.rule(name) for name in pipeline.columns}
    return {
        name: TYPES[column.type]
        for name, column in pipeline.columns.items()
        if column.type in ("int8", "int16", "int32", "int64", "float64", "timestamp")
        and name not in text
        and (column.formats or ["iso"]) == ["iso"]
        and not (rules[name].map or rules[name].case or rules[name].spelling or rules[name].unit)
    }


def _derived(found: RawBatch, pipeline: Pipeline, wanted: Sequence[str]) -> RawBatch:
    """The wanted columns, with those that are derived from the text of others: "1" where it matches, "0" where not."""
    if found.batch.schema.names == list(wanted):
        return found

    def derived(batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for name in wanted:
            derive = pipeline.columns[name].derive
            if derive is None:
                arrays.append(batch.column(name))
                continue
            text = batch.column(derive.column).cast(pa.string())
            matches = pc.match_substring_regex(text, derive.matches)
            arrays.append(pc.if_else(matches, "1", "0"))
        return pa.RecordBatch.from_arrays(arrays, names=list(wanted))

    written = found.written
    return replace(
        found, batch=derived(found.batch), written=None if written is None else lambda rows: derived(written(rows))
    )
