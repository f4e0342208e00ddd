"""Rows of a table that Millrace didn't make: batches of any types flow in, columns in the pipeline's types flow out.

Types are converted as cleaning converts them (`millrace.data.convert`); rules of the pipeline's `clean` section that
change values (ranges, spellings, fills) are not applied: the rows count as clean.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.clean import ROW_ID
from millrace.data.convert import TYPES, convert, is_text
from millrace.data.hashing import hash_rows
from millrace.errors import InputError
from millrace.spec import Pipeline


def check_columns(schema: pa.Schema, needed: Sequence[str], where: str) -> None:
    """Raise InputError, with the nearest names, unless a table has all columns that the model needs."""
    missing = [name for name in needed if name not in schema.names]
    if not missing:
        return
    near = {name: difflib.get_close_matches(name, schema.names, n=1) for name in missing}
    named = [f"{found[0]!r} for {name!r}" for name, found in near.items() if found]
    raise InputError(
        "the table lacks columns that the model needs",
        expected=", ".join(missing),
        found=f"{', '.join(schema.names)} in {where}",
        hint=f"did you mean {', '.join(named)}? Rename them there" if named else "add them, empty if unknown",
    )


def check_types(schema: pa.Schema, pipeline: Pipeline, names: Sequence[str], where: str) -> None:
    """Raise InputError where no value of a column could be read as the pipeline's type, or as a row's id."""
    for field in schema:
        column, kind = pipeline.columns.get(field.name), field.type
        if field.name == ROW_ID:
            fits, expected = pa.types.is_integer(kind), "an integer"
        elif field.name not in names or column is None:
            continue
        else:
            target, expected = TYPES[column.type], column.type
            time_for_number = pa.types.is_temporal(kind) and not (pa.types.is_temporal(target) or is_text(target))
            fits = not (pa.types.is_nested(kind) or time_for_number)
        if not fits:
            hint = "give it that type there, or another name"
            raise InputError(
                f"column {field.name!r} of {where} can't be read", expected=expected, found=str(kind), hint=hint
            )


def conform(
    batch: pa.RecordBatch, pipeline: Pipeline, values: Mapping[str, str | None]
) -> tuple[pa.RecordBatch, dict[str, int]]:
    """A batch with the pipeline's columns in their types, and by column the cells that can't be read so: now null.

    `values` are those of the partition columns, as text: they take the place of columns that the batch lacks.

    >>> pipeline = Pipeline.model_validate({"name": "p", "source": {"uri": "x", "interval": "none"},
    ...     "columns": {"a": {"type": "int8", "role": "numeric"}}})
    >>> batch, unreadable = conform(pa.record_batch({"a": ["7", "x"], "b": [1, 2]}), pipeline, {"b": "3"})
    >>> batch.to_pydict(), unreadable
    ({'a': [7, None], 'b': ['3', '3']}, {'a': 1})
    """
    for name, value in values.items():
        if name in batch.schema.names:
            column = pa.repeat(pa.scalar(value, pa.string()), batch.num_rows)
            batch = batch.set_column(batch.schema.get_field_index(name), name, column)
    typed = convert(batch, pipeline)
    unreadable = {name: pc.sum(mask).as_py() or 0 for name, mask in typed.invalid.items()}
    columns = {name: batch.column(name) for name in batch.schema.names}
    columns |= {name: typed.batch.column(name) for name in typed.batch.schema.names}
    return pa.record_batch(columns), {name: count for name, count in unreadable.items() if count}


def content_ids(batch: pa.RecordBatch, pipeline: Pipeline) -> pa.Int64Array:
    """The id that cleaning would give each row: the hash of its content, over the columns that cleaning keeps."""
    return pa.array(hash_rows(batch, pipeline.kept()).view(np.int64))
