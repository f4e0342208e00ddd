"""Mistakes in cleaning rules and formats that show when a pipeline file is read: what is of a wrong type.

Plain Python, so that reading a pipeline file stays fast; `ColumnCleaner` refuses whatever slips through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from millrace.spec import CleanRule, Column, ColumnType

WORDS = ("iso", "epoch", "epoch_ms", "epoch_us")
DIRECTIVES = "YmdHMSfyjbBhpPIzZaAeTDFRsuUWGVgkl%"
BOOLEANS = ("true", "t", "yes", "y", "1", "1.0", "false", "f", "no", "n", "0", "0.0")
INTEGERS = ("int8", "int16", "int32", "int64")
NUMBERS = (*INTEGERS, "float32", "float64")

Mistake = tuple[list[str | int], str, str]
"""Path below the column, what was expected, what was found."""


def column_mistakes(column: Column) -> Iterator[Mistake]:
    """Mistakes in the formats of a column, paths below ``columns.NAME``.

    >>> list(column_mistakes(Column(type="date", role="time", formats=["%Y-%Q"])))
    [(['formats', 0], 'a strptime pattern, or one of iso, epoch, epoch_ms, epoch_us', "'%Y-%Q'")]
    """
    for place, pattern in enumerate(column.formats or []):
        directives = re.findall(r"%[-_0]?\.?[369]?(.?)", pattern)
        known = bool(directives) and all(letter and letter in DIRECTIVES for letter in directives)
        if pattern not in WORDS and not known:
            yield ["formats", place], f"a strptime pattern, or one of {', '.join(WORDS)}", repr(pattern)
    if column.formats and column.type not in ("timestamp", "date"):
        yield ["formats"], "formats for a timestamp or date only", f"type {column.type}"


def rule_mistakes(column: Column, rule: CleanRule) -> Iterator[Mistake]:
    """Mistakes in the cleaning rule of a column, paths below ``clean.NAME``.

    >>> rule = CleanRule.model_validate({"range": ["a", 5], "missing": {"fill": "constant"}})
    >>> for mistake in rule_mistakes(Column(type="int8", role="numeric"), rule):
    ...     print(*mistake)
    ['range', 0] a bound of type int8 'a'
    ['missing', 'value'] the constant to fill with nothing
    """
    fits = FITS[column.type]
    for place, bound in enumerate(rule.range or ()):
        if bound is not None and not (column.type in NUMBERS and _is_number(bound)) and not fits(bound):
            yield ["range", place], f"a bound of type {column.type}", repr(bound)
    if rule.range and column.type == "bool":
        yield ["range"], "no range: a bool has none", repr(list(rule.range))
    for place, value in enumerate(rule.values or []):
        if not fits(value):
            yield ["values", place], f"a value of type {column.type}", repr(value)
    if column.type not in NUMBERS:
        if rule.outliers:
            yield ["outliers"], "a numeric column", f"type {column.type}"
        if rule.missing.fill in ("mean", "median"):
            yield ["missing", "fill"], "a numeric column, or constant or most_frequent", f"type {column.type}"
    if rule.missing.fill == "constant":
        if rule.missing.value is None:
            yield ["missing", "value"], "the constant to fill with", "nothing"
        elif not fits(rule.missing.value):
            yield ["missing", "value"], f"a constant of type {column.type}", repr(rule.missing.value)
    if rule.spelling and column.type != "string":
        yield ["spelling"], "a string column", f"type {column.type}"


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
