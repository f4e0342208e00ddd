"""Raw columns become typed columns: text (or a Parquet file's own types) flows in, the declared types flow out.

A cell that can't be read as its declared type is null in the result and true in the column's invalid mask. What a
cell means never depends on its neighbours: a column cut into pieces converts to the same values as the whole.

- int8 … int64: ``42``, ``+42``, ``42.0`` (as pandas writes them); not ``1e3``, ``0x1f``, ``1,000``; overflow is invalid
- float32, float64: ``1.5``, ``1e3``; ``inf``, ``nan`` and what overflows (``1e400``) are invalid
- bool: ``true false t f yes no y n 1 0 1.0 0.0``, in any case
- timestamp: `Column.formats` in order; without them ISO 8601 with or without time, fraction and zone (turned into UTC)
- date: as timestamp; the time of day is dropped
- string: any text

`Column.formats` holds strptime patterns and the words ``iso``, ``epoch``, ``epoch_ms``, ``epoch_us`` (since 1970).
Dates that don't exist (2018-02-30) and years outside 1 to 9999 are invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import everywhere, null_scalar, scalar, text_array
from millrace.data import clean_text, numeric, times
from millrace.errors import InputError
from millrace.spec import Column, ColumnType, Pipeline

TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}
TRUE_WORDS = ("true", "t", "yes", "y", "1", "1.0")
FALSE_WORDS = ("false", "f", "no", "n", "0", "0.0")


@dataclass(frozen=True)
class Typed:
    """A batch in the declared types, and for each of its columns a mask of the cells that couldn't be read so."""

    batch: pa.RecordBatch
    invalid: dict[str, pa.BooleanArray]


def typed_schema(pipeline: Pipeline, names: Sequence[str] | None = None) -> pa.Schema:
    """The Arrow schema of a pipeline's columns in their declared types (of `names` only, where given)."""
    return pa.schema([(name, TYPES[pipeline.columns[name].type]) for name in names or pipeline.columns])


def convert(
    batch: pa.RecordBatch, pipeline: Pipeline, *, trimmed: Collection[str] = (), encoded: bool = False
) -> Typed:
    """A raw batch in the declared types of its pipeline.

    Columns of the batch that the pipeline doesn't declare are left out. Text is trimmed first (a string column only
    where its cleaning rule says so, which is the default) and then compared with the source's null words once more.
    Value maps and units of a column that is not text are part of reading it, so they apply here too. `trimmed`:
    columns of which it is known that no cell has white space at an end. `encoded`: columns of text may stay
    dictionary-encoded.

    Raises InputError where a column's stored type can't hold the declared type at all (a list for a number).

    >>> from millrace.spec import Pipeline
    >>> pipeline = Pipeline.model_validate({"name": "p", "source": {"uri": "x", "interval": "none"},
    ...     "columns": {"a": {"type": "int8", "role": "numeric"}}})
    >>> typed = convert(pa.record_batch({"a": [" 7", "3.0", "x", "300", None]}), pipeline)
    >>> typed.batch["a"].to_pylist()
    [7, 3, None, None, None]
    >>> typed.invalid["a"].to_pylist()
    [False, False, True, True, False]
    """
    names = [name for name in pipeline.columns if name in batch.schema.names]
    arrays, invalid = [], {}
    for name in names:
        values, column, rule = batch.column(name), pipeline.columns[name], pipeline.rule(name)
        null_values = None if name in trimmed else pipeline.source.null_values
        if encoded and _stays_encoded(values, column):
            words = clean_text.prepare(values.dictionary, column, rule, null_values)
            arrays.append(pa.DictionaryArray.from_arrays(values.indices, words.cast(pa.string())))
            invalid[name] = everywhere(False, len(values))
            continue
        if is_text(values.type):
            values = clean_text.prepare(values, column, rule, null_values)
        try:
            array, invalid[name] = convert_column(values, column, null_values=pipeline.source.null_values)
        except pa.ArrowException as error:
            raise InputError(
                f"column {name!r} can't be read", expected=column.type, found=str(values.type), hint=str(error)[:200]
            ) from None
        arrays.append(array)
    return Typed(pa.RecordBatch.from_arrays(arrays, names), invalid)


def _stays_encoded(values: pa.Array, column: Column) -> bool:
    return column.type == "string" and pa.types.is_dictionary(values.type) and is_text(values.type)


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def convert_column(
    values: pa.Array, column: Column, *, null_values: Sequence[str] = ("NaN", "nan")
) -> tuple[pa.Array, pa.BooleanArray]:
    """One column, trimmed already, in its declared type, and the mask of the cells that can't be read so.

    A typed NaN is a missing value where ``nan`` is among the null words, as it is in text; else it is invalid.
    """
    if pa.types.is_dictionary(values.type):
        if len(values.dictionary) <= len(values):
            array, invalid = convert_column(values.dictionary, column, null_values=null_values)
            return array.take(values.indices), pc.coalesce(invalid.take(values.indices), scalar(False))
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type) and any(word.lower() == "nan" for word in null_values) and _has_nan(values):
        values = pc.if_else(pc.is_nan(values), null_scalar(values.type), values)
    array = _from_text(values, column) if is_text(values.type) else _from_typed(values, column)
    invalid = pc.and_(pc.is_null(array), pc.is_valid(values)) if array.null_count else everywhere(False, len(array))
    return array, invalid


def _has_nan(values: pa.Array) -> bool:
    return bool(pc.any(pc.is_nan(values)).as_py())


def _from_text(values: pa.Array, column: Column) -> pa.Array:
    """Text as the declared type, null where it can't be read so."""
    values = values.cast(pa.string())
    target = TYPES[column.type]
    if pa.types.is_string(target):
        return values
    if pa.types.is_boolean(target):
        return _on_distinct(values, _parse_bool)
    if pa.types.is_temporal(target):
        return times.parse(values, column.formats or ["iso"]).cast(target, safe=False)
    return numeric.parse(values, target)


def _on_distinct(values: pa.Array, parse: Callable[[pa.Array], pa.Array]) -> pa.Array:
    encoded = values.dictionary_encode()
    return parse(encoded.dictionary).take(encoded.indices)


def _parse_bool(words: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(words)
    true = pc.is_in(lower, value_set=text_array(TRUE_WORDS))
    false = pc.is_in(lower, value_set=text_array(FALSE_WORDS))
    return pc.if_else(true, scalar(True), pc.if_else(false, scalar(False), null_scalar(pa.bool_())))


def _from_typed(values: pa.Array, column: Column) -> pa.Array:
    """A column with a type of its own (from Parquet) as the declared type, null where a value doesn't fit."""
    target = TYPES[column.type]
    if pa.types.is_nested(values.type):
        raise pa.ArrowInvalid("nested values aren't cells")
    if values.type == target:
        return numeric.finite(values) if pa.types.is_floating(target) else values
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return _from_text(_on_distinct(values, _decode), column)
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), target)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_temporal(target):
        return _typed_time(values, column).cast(target, safe=False)
    if pa.types.is_string(target):
        return values.cast(target)
    if pa.types.is_temporal(values.type):
        return pa.nulls(len(values), target)
    return numeric.from_typed(values, target)


def _decode(values: pa.Array) -> pa.Array:
    """Bytes as UTF-8 text, null where they aren't."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        text = (value.decode("utf-8", errors="replace") if value is not None else None for value in values.to_pylist())
        return pa.array([None if value is None or "\ufffd" in value else value for value in text], pa.string())


def _typed_time(values: pa.Array, column: Column) -> pa.Array:
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        if pa.types.is_timestamp(values.type) and values.type.tz is not None:
            values = values.cast(pa.timestamp(values.type.unit))  # the instant in UTC
        return times.within_years(values.cast(pa.timestamp("us"), safe=False))
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return times.parse_numbers(values, column.formats or [])
    return pa.nulls(len(values), pa.timestamp("us"))
