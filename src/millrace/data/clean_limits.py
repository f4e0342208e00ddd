"""Limits of a typed column: which cells lie outside a range or the allowed values, and what clipping makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, everywhere, scalar, text_array
from millrace.data.convert import TYPES, convert_column
from millrace.errors import RequestError
from millrace.spec import CleanRule, Column

LAST_MOMENT = 86_400_000_000 - 1  # microseconds from midnight to the end of the day


@dataclass(frozen=True)
class Range:
    """Inclusive bounds, as scalars of the column's own type; None is no bound."""

    low: pa.Scalar | None
    high: pa.Scalar | None

    def outside(self, values: pa.Array) -> pa.BooleanArray:
        """True where a value lies below `low` or above `high`; false for null."""
        mask = everywhere(False, len(values))
        if self.low is not None:
            mask = pc.less(values, self.low)
        if self.high is not None:
            mask = pc.or_(mask, pc.greater(values, self.high))
        return pc.coalesce(mask, scalar(False))

    def clip(self, values: pa.Array) -> pa.Array:
        """Values below `low` as `low`, above `high` as `high`."""
        if self.low is not None:
            values = pc.if_else(pc.less(values, self.low), self.low, values)
        if self.high is not None:
            values = pc.if_else(pc.greater(values, self.high), self.high, values)
        return values

    def __str__(self) -> str:
        """The bounds as people write them.

        >>> print(Range(pa.scalar(0), None), "|", Range(pa.scalar(0), pa.scalar(9)))
        at least 0 | from 0 to 9
        """
        low, high = (None if bound is None else _shown(bound.as_py()) for bound in (self.low, self.high))
        if high is None:
            return f"at least {low}"
        return f"at most {high}" if low is None else f"from {low} to {high}"


def make_range(column: Column, low: float | str | None, high: float | str | None, name: str = "column") -> Range | None:
    """Bounds in a column's type; None where nothing lies outside them.

    An integer column takes the integers inside fractional bounds; a time's upper bound given as a date includes that
    whole day. Raises RequestError where a bound is no value of the column's type.

    >>> print(make_range(Column(type="int8", role="numeric"), 0.5, 500))
    at least 1
    """
    bounds = Range(_bound(column, low, name, upper=False), _bound(column, high, name, upper=True))
    return None if bounds.low is None and bounds.high is None else bounds


def rule_range(column: Column, rule: CleanRule, name: str) -> Range | None:
    """The range that a cleaning rule gives."""
    return make_range(column, *rule.range, name) if rule.range else None


def allowed_values(column: Column, rule: CleanRule, name: str) -> pa.Array | None:
    """The values that a cleaning rule allows, in the column's type."""
    if rule.values is None:
        return None
    texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in rule.values]
    values, invalid = convert_column(text_array(texts), column)
    if pc.any(invalid).as_py():
        wrong = text_array(texts).filter(invalid).to_pylist()
        raise RequestError(f"clean.{name}.values", expected=f"values of type {column.type}", found=", ".join(wrong))
    return values


def not_allowed(values: pa.Array, allowed: pa.Array) -> pa.BooleanArray:
    """True where a value isn't one of `allowed`; false for null."""
    return pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=allowed)))


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _bound(column: Column, bound: float | str | None, name: str, *, upper: bool) -> pa.Scalar | None:
    if bound is None:
        return None
    kind = TYPES[column.type]
    if pa.types.is_string(kind):
        return scalar(str(bound))
    if pa.types.is_temporal(kind) and isinstance(bound, str):
        iso = column.model_copy(update={"formats": ["iso"]})
        moment = convert_column(text_array([bound]), iso)[0][0]
        if moment.is_valid:
            whole_day = upper and pa.types.is_timestamp(kind) and len(bound.strip()) == 10
            return scalar(moment.value + LAST_MOMENT).cast(kind) if whole_day else moment
    elif (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and not isinstance(bound, bool):
        try:
            return _number(float(bound) if isinstance(bound, str) else bound, kind, upper=upper)
        except ValueError:
            pass
    raise RequestError(f"clean.{name}.range", expected=f"bounds of type {column.type}", found=repr(bound))


def _number(bound: float, kind: pa.DataType, *, upper: bool) -> pa.Scalar | None:
    """A numeric bound in the column's type; None where the type itself is narrower."""
    if math.isnan(bound):
        raise ValueError("a bound can't be nan")
    if pa.types.is_floating(kind):
        return None if math.isinf(bound) and (bound > 0) == upper else scalar(float(bound)).cast(kind)
    limits = np.iinfo(str(kind))
    if (bound >= limits.max) if upper else (bound <= limits.min):
        return None
    whole = math.floor(bound) if upper else math.ceil(bound)
    return array_of(np.array([max(limits.min, min(limits.max, whole))], str(kind)))[0]
