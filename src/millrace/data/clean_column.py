"""The rules of one column, applied to batch after batch: `read` (text, type, limits), then `fill` (missing values).

All columns are read before any is filled, so that a value missing in one column can be filled by the group that
another column names, whatever their order.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import flags, null_scalar, scalar, text_array, without_dictionary
from millrace.data.clean_limits import Range, allowed_values, make_range, not_allowed, rule_range
from millrace.data.clean_plan import ColumnPlan, with_plan
from millrace.data.clean_rejects import Mask, Rejection
from millrace.data.clean_text import steps, trim
from millrace.data.convert import TYPES, convert_column, is_text
from millrace.data.hashing import canonical_text
from millrace.data.split import RawBatch
from millrace.errors import InputError, RequestError
from millrace.spec import Column, Pipeline


class Found:
    """What is known of a raw batch so far: its typed columns, the rows to reject, and the cells that rules changed."""

    def __init__(self, raw: RawBatch) -> None:
        self.raw = raw
        self.rows = raw.batch.num_rows
        self.rejections: list[Rejection] = []
        self.typed: dict[str, pa.Array] = {}
        self.groups: dict[str, pa.Array] = {}
        self._changed: list[tuple[str, str, Mask]] = []

    def reject(self, column: str | None, rule: str, expected: str, mask: pa.BooleanArray) -> None:
        """Rows of a mask break a rule."""
        broken = flags(mask)
        if broken.any():
            self.rejections.append(Rejection(column, rule, expected, broken))

    def change(self, column: str, rule: str, mask: pa.BooleanArray) -> None:
        """A rule changed the cells of a mask."""
        changed = flags(mask)
        if changed.any():
            self._changed.append((column, rule, changed))

    def count_changes(self, rows: Mask) -> dict[str, dict[str, int]]:
        """Changed cells among some rows, by column and rule."""
        counts: dict[str, dict[str, int]] = {}
        for column, rule, mask in self._changed:
            count = int((mask & rows).sum())
            if count:
                rules = counts.setdefault(column, {})
                rules[rule] = rules.get(rule, 0) + count
        return counts


def expected_text(column: Column) -> str:
    """What a cell of the column must look like, for people.

    >>> expected_text(Column(type="date", role="time", formats=["iso", "%d/%m/%Y"]))
    'date (iso or %d/%m/%Y)'
    """
    if column.type in ("timestamp", "date"):
        return f"{column.type} ({' or '.join(column.formats or ['iso'])})"
    return f"{column.type} (finite)" if column.type in ("float32", "float64") else column.type


class ColumnCleaner:
    """The rules of one column with what the plan learned for it.

    Raises RequestError where the rule's range, values or fill value isn't of the column's type.
    """

    def __init__(self, name: str, pipeline: Pipeline, plan: ColumnPlan) -> None:
        self.name, self.column, self.rule = name, pipeline.columns[name], with_plan(pipeline.rule(name), plan)
        self.kept = name in pipeline.kept()
        self.null_values = pipeline.source.null_values
        self.steps = steps(self.column, self.rule)
        self.allowed = allowed_values(self.column, self.rule, name)
        self.ranges: list[tuple[str, Range | None]] = [
            ("range", rule_range(self.column, self.rule, name)),
            ("outliers", make_range(self.column, plan.low, plan.high, name)),
        ]
        self.value = None if plan.fill is None else self._typed([plan.fill])[0]
        self.group_names = text_array(plan.groups)
        self.group_values = self._typed(list(plan.groups.values()))

    def read(self, found: Found) -> None:
        """The column of a batch after its text rules, in its type, within its limits."""
        if self.name not in found.raw.batch.schema.names:
            raise InputError(f"column {self.name!r} is missing", found=", ".join(found.raw.batch.schema.names))
        raw = found.raw.batch.column(self.name)
        values = self._text(raw, found) if is_text(raw.type) else raw
        values, invalid = convert_column(values, self.column, null_values=self.null_values)
        if not is_text(raw.type) and self.column.type == "string":
            values = self._text(values, found)
        if self.rule.on_type_error == "quarantine" and self.kept:
            found.reject(self.name, "type", expected_text(self.column), invalid)
        else:
            found.change(self.name, "type", invalid)
        found.groups[self.name] = values
        if self.kept:
            values = self._limit(values, found)
        found.typed[self.name] = values

    def fill(self, found: Found) -> None:
        """What happens to the missing values of the column that was read."""
        missing, values = self.rule.missing, found.typed[self.name]
        if missing.fill == "leave" or not values.null_count:
            return
        if missing.fill == "quarantine":
            found.reject(self.name, "missing", "a value", pc.is_null(values))
            return
        filled = values
        if missing.by is not None and len(self.group_names):
            place = pc.index_in(canonical_text(found.groups[missing.by]), value_set=self.group_names)
            filled = pc.coalesce(filled, self.group_values.take(place))
        if self.value is not None:
            filled = pc.coalesce(filled, self.value)
        found.change(self.name, "missing", pc.and_(pc.is_null(values), pc.is_valid(filled)))
        found.typed[self.name] = filled

    def _text(self, raw: pa.Array, found: Found) -> pa.Array:
        """Text after trimming and the text rules; changes are found on the distinct values."""
        values = raw
        if self.name not in found.raw.trimmed and (self.rule.trim or self.column.type != "string"):
            values = trim(raw, self.null_values)
            if values is not raw:
                found.change(self.name, "trim", _differ(_plain(raw), _plain(values)))
        for rule, step in self.steps:
            encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            before = encoded.dictionary.cast(pa.string())
            after = step(before)
            different = _differ(before, after)
            if pc.any(different).as_py():
                found.change(self.name, rule, pc.coalesce(different.take(encoded.indices), scalar(False)))
                values = after.take(encoded.indices)
        return values

    def _limit(self, values: pa.Array, found: Found) -> pa.Array:
        """Values that range, allowed values and outlier fences admit, in that order."""
        for rule, bounds in self.ranges:
            if bounds is not None:
                values = self._admit(values, found, rule, str(bounds), bounds.outside(values), bounds.clip)
            if rule == "range" and self.allowed is not None:
                outside = not_allowed(values, self.allowed)
                values = self._admit(values, found, "values", self._allowed_text(), outside, None)
        return values

    def _admit(
        self,
        values: pa.Array,
        found: Found,
        rule: str,
        expected: str,
        outside: pa.BooleanArray,
        clip: Callable[[pa.Array], pa.Array] | None,
    ) -> pa.Array:
        if not pc.any(outside).as_py():
            return values
        if self.rule.on_violation == "quarantine":
            found.reject(self.name, rule, expected, outside)
            return values
        found.change(self.name, rule, outside)
        if self.rule.on_violation == "clip" and clip is not None:
            return clip(values)
        return pc.if_else(outside, null_scalar(values.type), values)

    def _allowed_text(self) -> str:
        assert self.allowed is not None
        shown = ", ".join(str(value) for value in self.allowed[:10].to_pylist())
        return f"one of {shown}" + (f" and {len(self.allowed) - 10} more" if len(self.allowed) > 10 else "")

    def _typed(self, texts: list[str]) -> pa.Array:
        """Fill values in the column's type: they are numbers, words or ISO times whatever the column's formats are."""
        column = self.column.model_copy(update={"formats": None})
        values, invalid = convert_column(text_array(texts), column)
        if pc.any(invalid).as_py():
            wrong = text_array(texts).filter(invalid)[0].as_py()
            raise RequestError(f"clean.{self.name}.missing", expected=f"a {self.column.type}", found=repr(wrong))
        assert values.type == TYPES[self.column.type]
        return values


def _plain(values: pa.Array) -> pa.Array:
    return without_dictionary(values).cast(pa.string())


def _differ(before: pa.Array, after: pa.Array) -> pa.BooleanArray:
    changed = pc.coalesce(pc.not_equal(before, after), scalar(False))
    return pc.or_(changed, pc.xor(pc.is_null(before), pc.is_null(after)))
