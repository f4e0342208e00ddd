"""Mistakes in cleaning rules and formats that show when a pipeline file is read: what is of a wrong type.

Plain Python, so that reading a pipeline file stays fast; `ColumnCleaner` refuses whatever slips through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from millrace.data.mistakes import Found
from millrace.spec import CleanRule, Column, ColumnType

WORDS = ("iso", "epoch", "epoch_ms", "epoch_us")
DIRECTIVES = "YmdHMSfyjbBhpPIzZaAeTDFRsuUWGVgkl%"
BOOLEANS = ("true", "t", "yes", "y", "1", "1.0", "false", "f", "no", "n", "0", "0.0")
INTEGERS = ("int8", "int16", "int32", "int64")
LEARNED = ("mean", "median", "most_frequent")
NUMBERS = (*INTEGERS, "float32", "float64")


def column_mistakes(column: Column) -> Iterator[Found]:
    """Mistakes in the declaration of a column, paths below ``columns.NAME``.

    >>> list(column_mistakes(Column(type="date", role="time", formats=["%Y-%Q"])))[0].expected
    'a strptime pattern, or one of iso, epoch, epoch_ms, epoch_us'
    """
    for place, pattern in enumerate(column.formats or []):
        directives = re.findall(r"%[-_0]?\.?[369]?(.?)", pattern)
        known = bool(directives) and all(letter and letter in DIRECTIVES for letter in directives)
        if pattern not in WORDS and not known:
            yield Found(["formats", place], f"a strptime pattern, or one of {', '.join(WORDS)}", repr(pattern))
    if column.formats and column.type not in ("timestamp", "date"):
        yield Found(["formats"], "formats for a timestamp or date only", f"type {column.type}")
    if column.role == "time" and column.type not in ("timestamp", "date"):
        yield Found(["type"], "timestamp or date, for role time", repr(column.type))
    if column.role == "numeric" and column.type == "string":
        yield Found(["type"], "a number, for role numeric", repr(column.type))
    if column.derive is not None:
        if column.type in ("timestamp", "date"):
            yield Found(["type"], "a type of 0 and 1: it is derived", repr(column.type))
        if column.source is not None:
            yield Found(["source"], "derive or source, not both", repr(column.source))


def rule_mistakes(column: Column, rule: CleanRule) -> Iterator[Found]:
    """Mistakes in the cleaning rule of a column, paths below ``clean.NAME``.

    >>> rule = CleanRule.model_validate({"range": ["a", 5], "missing": {"fill": "constant"}})
    >>> for found in rule_mistakes(Column(type="int8", role="numeric"), rule):
    ...     print(*found[:3])
    ['range', 0] a bound of type int8 'a'
    ['missing', 'value'] the constant to fill with nothing
    """
    yield from _text_mistakes(column, rule)
    yield from _limit_mistakes(column, rule)
    yield from _missing_mistakes(column, rule)


def _text_mistakes(column: Column, rule: CleanRule) -> Iterator[Found]:
    if rule.spelling and column.type != "string":
        yield Found(["spelling"], "a string column", f"type {column.type}")
    if rule.spelling and rule.spelling.values is not None:
        for name in sorted({"at_least", "times"} & rule.spelling.model_fields_set):
            yield Found(["spelling", name], "spellings that are learned", "spelling.values")
    if rule.unit and column.type not in NUMBERS:
        yield Found(["unit"], "a numeric column", f"type {column.type}")
    change = {"lower": str.lower, "upper": str.upper, "title": str.title}.get(rule.case or "")
    settled = set((rule.map or {}).values())
    for key in rule.map or {}:
        if change is not None and change(key) != key and key not in settled:
            yield Found(["map", key], f"{change(key)!r}: case {rule.case} comes before map", repr(key))


def _limit_mistakes(column: Column, rule: CleanRule) -> Iterator[Found]:
    fits = FITS[column.type]
    for place, bound in enumerate(rule.range or ()):
        if bound is not None and not (column.type in NUMBERS and _is_number(bound)) and not fits(bound):
            yield Found(["range", place], f"a bound of type {column.type}", repr(bound))
    if rule.range and column.type == "bool":
        yield Found(["range"], "no range: a bool has none", repr(list(rule.range)))
    elif rule.range == (None, None):
        yield Found(["range"], "a lower or an upper bound", "neither")
    elif rule.range and _is_empty(column, *rule.range):
        yield Found(["range"], "a lower bound up to the upper one", repr(list(rule.range)))
    for place, value in enumerate(rule.values or []):
        if not fits(value):
            yield Found(["values", place], f"a value of type {column.type}", repr(value))
    limited = rule.range is not None or rule.outliers is not None
    if "on_violation" in rule.model_fields_set and not limited and rule.values is None:
        yield Found(["on_violation"], "range, values or outliers, which can be violated", "none")
    elif rule.on_violation == "clip" and not limited:
        yield Found(["on_violation"], "range or outliers, which have ends to clip to", "values alone")
    if rule.outliers is None:
        return
    if column.type not in NUMBERS:
        yield Found(["outliers"], "a numeric column", f"type {column.type}")
    unread = {"width"} if rule.outliers.method == "quantile" else {"lower", "upper"}
    for name in sorted(unread & rule.outliers.model_fields_set):
        yield Found(["outliers", name], "a setting of the method", f"method {rule.outliers.method}")
    if rule.outliers.lower >= rule.outliers.upper:
        yield Found(["outliers", "lower"], f"less than upper, {rule.outliers.upper:g}", f"{rule.outliers.lower:g}")


def _missing_mistakes(column: Column, rule: CleanRule) -> Iterator[Found]:
    missing = rule.missing
    if missing.fill in ("mean", "median") and column.type not in NUMBERS:
        expected = "a numeric column, or constant or most_frequent"
        yield Found(["missing", "fill"], expected, f"type {column.type}")
    if missing.fill == "constant":
        if missing.value is None:
            yield Found(["missing", "value"], "the constant to fill with", "nothing")
        elif not FITS[column.type](missing.value):
            yield Found(["missing", "value"], f"a constant of type {column.type}", repr(missing.value))
    elif missing.value is not None:
        yield Found(["missing", "value"], "fill: constant, which has a value", f"fill: {missing.fill}")
    if missing.by is not None and missing.fill not in LEARNED:
        yield Found(["missing", "by"], f"fill: {', '.join(LEARNED)}, which groups have", f"fill: {missing.fill}")


def _is_empty(column: Column, low: float | str | None, high: float | str | None) -> bool:
    """Whether nothing lies between two bounds of the column's type."""
    if low is None or high is None:
        return False
    if column.type in NUMBERS:
        return _is_number(low) and _is_number(high) and float(low) > float(high)
    if column.type in ("timestamp", "date") and _is_moment(low) and _is_moment(high):
        first, last = (datetime.fromisoformat(str(each).strip()) for each in (low, high))
        return first.replace(tzinfo=first.tzinfo or UTC) > last.replace(tzinfo=last.tzinfo or UTC)
    return column.type == "string" and str(low).encode() > str(high).encode()


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) == float(value)
    except ValueError:
        return False


def _is_integer(bits: int) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        whole = isinstance(value, bool | int) or (_is_number(value) and float(value).is_integer())
        return whole and -(2 ** (bits - 1)) <= int(float(value)) < 2 ** (bits - 1)

    return fits


def _is_moment(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value.strip()) is not None
    except ValueError:
        return False


FITS: dict[ColumnType, Callable[[Any], bool]] = {
    "string": lambda _: True,
    "bool": lambda value: isinstance(value, bool) or str(value).lower() in BOOLEANS,
    "int8": _is_integer(8),
    "int16": _is_integer(16),
    "int32": _is_integer(32),
    "int64": _is_integer(64),
    "float32": _is_number,
    "float64": _is_number,
    "timestamp": _is_moment,
    "date": _is_moment,
}
