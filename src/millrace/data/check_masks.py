"""Row by row: which rows of a typed batch an expectation is about, and which of these it did not expect.

A typed batch flows in; out come two masks without nulls. Nothing is remembered between batches: these are the
expectations whose rows can be quarantined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import everywhere, null_scalar, scalar, without_dictionary
from millrace.data.check_condition import parse_condition
from millrace.data.check_text import matches, parses_as_json, parses_as_time
from millrace.data.expectations import columns_of, moment
from millrace.spec import Expectation


@dataclass(frozen=True)
class Judged:
    """Masks over the rows of a batch: `domain` (the row condition holds), `considered` (of these, not ignored because
    values are missing) and `unexpected` (of these, not as expected)."""

    domain: pa.BooleanArray
    considered: pa.BooleanArray
    unexpected: pa.BooleanArray


def judge(batch: pa.RecordBatch, expectation: Expectation) -> Judged:
    """The masks of a row-level expectation on a batch in the form of `prepare`.

    >>> batch = pa.record_batch({"a": [1, 5, None]})
    >>> between = Expectation(expect="column_values_to_be_between", column="a", max_value=3)
    >>> judge(batch, between).unexpected.to_pylist()
    [False, True, False]
    """
    arguments = expectation.arguments
    domain = domain_mask(batch, arguments.get("row_condition"))
    columns = [batch.column(name) for name in columns_of(expectation)]
    considered = pc.and_(domain, consider(columns, expectation))
    expected = pc.coalesce(MASKS[expectation.expect](columns, arguments), scalar(False))
    return Judged(domain, considered, pc.and_not(considered, expected))


def columns_read(expectation: Expectation) -> list[str]:
    """The columns that an expectation and its row condition read.

    >>> columns_read(Expectation(expect="column_values_to_not_be_null", column="a", row_condition='col("b") > 1',
    ...     condition_parser="great_expectations"))
    ['a', 'b']
    """
    text = expectation.arguments.get("row_condition")
    condition = None if text is None else parse_condition(text)
    return list(dict.fromkeys([*columns_of(expectation), *([condition.column] if condition else [])]))


def prepare(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in the few forms that expectations read: dates as timestamps, floats as float64 with NaN as null and
    -0.0 as 0.0, text and dictionaries as string."""
    return pa.RecordBatch.from_arrays([_plain(column) for column in batch.columns], names=batch.schema.names)


def _plain(column: pa.Array) -> pa.Array:
    column = without_dictionary(column)
    kind = column.type
    if pa.types.is_floating(kind):
        wide = column.cast(pa.float64())
        return pc.add(pc.if_else(pc.is_nan(wide), null_scalar(pa.float64()), wide), scalar(0.0))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us"))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    return column


def domain_mask(batch: pa.RecordBatch, row_condition: str | None) -> pa.BooleanArray:
    """Rows on which a row condition holds; all rows without one.

    A missing value meets only ``!=``, and there only in text, float and time columns: as in pandas, whose missing
    integers and booleans compare as unknown.
    """
    if row_condition is None:
        return everywhere(True, batch.num_rows)
    condition = parse_condition(row_condition)
    assert condition is not None, row_condition  # validated with the pipeline file
    column = batch.column(condition.column)
    if condition.operator == "notnull":
        return column.is_valid()
    kernel = {
        "==": pc.equal,
        "!=": pc.not_equal,
        "<": pc.less,
        "<=": pc.less_equal,
        ">": pc.greater,
        ">=": pc.greater_equal,
    }[condition.operator]
    null_meets = condition.operator == "!=" and not (
        pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
    )
    return pc.coalesce(kernel(*_alike(column, literal(condition.value, column.type))), scalar(null_meets))


def consider(columns: Sequence[pa.Array], expectation: Expectation) -> pa.BooleanArray:
    """Rows that count: those with a value (one column), or as `ignore_row_if` says (several)."""
    if expectation.expect in ("column_values_to_not_be_null", "column_values_to_be_null"):
        return everywhere(True, len(columns[0]))
    valid = [column.is_valid() for column in columns]
    ignore = expectation.arguments.get("ignore_row_if") or _IGNORE.get(
        len(columns) if "pair" in expectation.expect else 0
    )
    if ignore in ("neither", "never") and len(columns) > 1:
        return everywhere(True, len(columns[0]))
    if ignore in ("both_values_are_missing", "all_values_are_missing") and len(columns) > 1:
        return reduce(pc.or_, valid)
    return reduce(pc.and_, valid)


_IGNORE = {2: "both_values_are_missing", 0: "all_values_are_missing"}


def literal(value: object, kind: pa.DataType) -> pa.Scalar:
    """A number, text or time of the pipeline file as a scalar that compares exactly with a column of type `kind`."""
    if pa.types.is_timestamp(kind):
        return pa.scalar(moment(value), pa.timestamp("us"))
    if isinstance(value, bool | str):
        return pa.scalar(value)
    if isinstance(value, int) and pa.types.is_floating(kind):
        return pa.scalar(float(value))
    return pa.scalar(value)


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Integers beside floats as floats, rounded where they are beyond 2^53: as numpy compares them."""
    if pa.types.is_integer(one.type) and pa.types.is_floating(other.type):
        return one.cast(pa.float64(), safe=False), other
    if pa.types.is_floating(one.type) and pa.types.is_integer(other.type):
        return one, other.cast(pa.float64(), safe=False)
    return one, other


def members(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """The values that a column of type `kind` can hold, as that type: 2.5 is in no column of integers."""
    if pa.types.is_timestamp(kind):
        return pa.array([moment(value) for value in values if moment(value) is not None], kind)
    if pa.types.is_integer(kind):
        width = 8 * kind.byte_width - 1
        numbers = [value for value in values if isinstance(value, int | float) and value == value // 1]
        return pa.array([int(value) for value in numbers if -(2**width) <= value < 2**width], kind)
    if pa.types.is_floating(kind):
        return pa.array([float(value) + 0.0 for value in values if isinstance(value, int | float)], kind)
    if pa.types.is_boolean(kind):
        return pa.array([bool(value) for value in values if value in (0, 1)], kind)
    return pa.array([value for value in values if isinstance(value, str)], kind)


def within(values: pa.Array, arguments: Mapping[str, Any]) -> pa.BooleanArray:
    """Values inside the limits min_value and max_value, either of which may be open or absent."""
    inside: list[pa.BooleanArray] = []
    if arguments.get("min_value") is not None:
        kernel = pc.greater if arguments.get("strict_min") else pc.greater_equal
        inside.append(kernel(*_alike(values, literal(arguments["min_value"], values.type))))
    if arguments.get("max_value") is not None:
        kernel = pc.less if arguments.get("strict_max") else pc.less_equal
        inside.append(kernel(*_alike(values, literal(arguments["max_value"], values.type))))
    return reduce(pc.and_, inside)


def _text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_string(column.type) else column.cast(pa.string())


def _matches_list(columns: Sequence[pa.Array], arguments: Mapping[str, Any]) -> pa.BooleanArray:
    text = _text(columns[0])
    combine = pc.and_ if arguments.get("match_on") == "all" else pc.or_
    return reduce(combine, [matches(text, pattern) for pattern in arguments["regex_list"]])


def _pair_in_set(columns: Sequence[pa.Array], arguments: Mapping[str, Any]) -> pa.BooleanArray:
    """One comparison of both columns per pair of the set; a missing value matches a null of the pair."""
    found = everywhere(False, len(columns[0]))
    for pair in arguments["value_pairs_set"]:
        found = pc.or_(found, reduce(pc.and_, map(_is_value, columns, pair)))
    return found


def _is_value(column: pa.Array, value: object) -> pa.BooleanArray:
    if value is None:
        return column.is_null()
    wanted = members([value], column.type)
    return pc.is_in(column, wanted) if len(wanted) else everywhere(False, len(column))


def _all_equal(columns: Sequence[pa.Array]) -> pa.BooleanArray:
    first = columns[0]
    same = [pc.coalesce(pc.equal(*_alike(first, other)), scalar(False)) for other in columns[1:]]
    both = [pc.and_(first.is_null(), other.is_null()) for other in columns[1:]]
    return reduce(pc.and_, [pc.or_(*each) for each in zip(same, both, strict=True)], everywhere(True, len(first)))


def _all_differ(columns: Sequence[pa.Array]) -> pa.BooleanArray:
    """No two columns of a row are equal; two missing values are equal."""
    differ = everywhere(True, len(columns[0]))
    for place, one in enumerate(columns):
        for other in columns[place + 1 :]:
            differ = pc.and_not(differ, _all_equal([one, other]))
    return differ


def _sum_equal(columns: Sequence[pa.Array], arguments: Mapping[str, Any]) -> pa.BooleanArray:
    wide = pa.int64() if all(pa.types.is_integer(column.type) for column in columns) else pa.float64()
    total = reduce(pc.add, [column.cast(wide, safe=False) for column in columns])
    return pc.equal(total, literal(arguments["sum_total"], wide))


def _is_text(columns: Sequence[pa.Array], names: Sequence[str]) -> pa.BooleanArray:
    """Of text columns: Great Expectations looks at each value's Python type there."""
    return everywhere("str" in names, len(columns[0]))


Mask = Callable[[Sequence[pa.Array], Mapping[str, Any]], pa.BooleanArray]
MASKS: dict[str, Mask] = {
    "column_values_to_not_be_null": lambda columns, _: columns[0].is_valid(),
    "column_values_to_be_null": lambda columns, _: columns[0].is_null(),
    "column_values_to_be_in_set": lambda columns, a: pc.is_in(columns[0], members(a["value_set"], columns[0].type)),
    "column_values_to_not_be_in_set": lambda columns, a: pc.invert(
        pc.is_in(columns[0], members(a["value_set"], columns[0].type))
    ),
    "column_values_to_be_between": lambda columns, a: within(columns[0], a),
    "column_value_lengths_to_be_between": lambda columns, a: within(pc.utf8_length(_text(columns[0])), a),
    "column_value_lengths_to_equal": lambda columns, a: pc.equal(pc.utf8_length(_text(columns[0])), a["value"]),
    "column_values_to_match_regex": lambda columns, a: matches(_text(columns[0]), a["regex"]),
    "column_values_to_not_match_regex": lambda columns, a: pc.invert(matches(_text(columns[0]), a["regex"])),
    "column_values_to_match_regex_list": _matches_list,
    "column_values_to_not_match_regex_list": lambda columns, a: pc.invert(
        _matches_list(columns, {"regex_list": a["regex_list"]})
    ),
    "column_values_to_match_strftime_format": lambda columns, a: parses_as_time(columns[0], a["strftime_format"]),
    "column_values_to_be_json_parseable": lambda columns, _: parses_as_json(columns[0]),
    "column_pair_values_to_be_equal": lambda columns, _: pc.equal(*_alike(*columns)),
    "column_pair_values_a_to_be_greater_than_b": lambda columns, a: (
        pc.greater_equal if a.get("or_equal") else pc.greater
    )(*_alike(*columns)),
    "column_pair_values_to_be_in_set": _pair_in_set,
    "multicolumn_sum_to_equal": _sum_equal,
    "multicolumn_values_to_be_equal": lambda columns, _: _all_equal(columns),
    "select_column_values_to_be_unique_within_record": lambda columns, _: _all_differ(columns),
    "column_values_to_be_of_type": lambda columns, a: _is_text(columns, [a["type_"]]),
    "column_values_to_be_in_type_list": lambda columns, a: _is_text(columns, a["type_list"]),
}
