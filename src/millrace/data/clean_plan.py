"""The cleaning plan: every limit and fill value that is learned, decided once from statistics of the raw typed data.

Learned fences and fill values change rows, and the sketches they come from agree only within their error, so a plan is
made once, stored as JSON with the commit, and read again by every rerun.

- quantile fences: the quantiles `lower` and `upper` of the values that the rule's own range admits.
- MAD fences: median ± width · 1.4826 · MAD, where MAD = median of |x − median| (Rousseeuw & Croux 1993,
  https://doi.org/10.1080/01621459.1993.10476408). With F the sketch's distribution function, MAD is the least d with
  F(m + d) − F(m − d) ≥ 1/2, found by bisection. A KLL sketch with rank error ε (1.65 % at k = 200) is off by at most ε
  at each of m, m + d and m − d, so the share of rows within the d that is found lies within 1/2 ± 2ε.
- A MAD of zero (more than half of the values are equal) gives no fence: any other value would lie outside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from millrace.data.clean_groups import LEARNED, GroupFills
from millrace.data.clean_limits import rule_range
from millrace.data.clean_text import on_distinct, steps
from millrace.errors import RequestError
from millrace.spec import CleanRule, Outliers, Pipeline

CONSISTENT = 1.4826  # makes the MAD of normal data its standard deviation
BISECTIONS = 60
TOP = 64
NUMERIC = ("int8", "int16", "int32", "int64", "float32", "float64")


class LearnedColumn(Protocol):
    """What a plan reads from the statistics of one column."""

    mean: float | None

    def quantile(self, q: float, /) -> Any: ...
    def top(self, k: int, /) -> Sequence[Any]: ...


class Statistics(Protocol):
    """Statistics of the raw typed data: `data.stats.Stats`."""

    @property
    def columns(self) -> Mapping[str, Any]: ...


class ColumnPlan(BaseModel):
    """What was learned for one column. Values are text, read as the column's type; None is nothing learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float | None = None
    high: float | None = None
    fill: str | None = None
    groups: dict[str, str] = {}
    note: str | None = None


class CleanPlan(BaseModel):
    """What was learned for a pipeline: JSON by `model_dump_json`, back by `model_validate_json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[str, ColumnPlan] = {}

    def column(self, name: str) -> ColumnPlan:
        """What was learned for a column, which may be nothing."""
        return self.columns.get(name, ColumnPlan())


def needs_statistics(pipeline: Pipeline) -> bool:
    """Whether anything has to be learned before a pipeline's rows can be cleaned."""
    rules = [pipeline.rule(name) for name in pipeline.kept()]
    return any(rule.outliers is not None or rule.missing.fill in LEARNED for rule in rules)


def plan_clean(pipeline: Pipeline, stats: Statistics | None, fills: GroupFills | None = None) -> CleanPlan:
    """The cleaning plan of a pipeline from the statistics of its raw typed data.

    `fills` is the state of `GroupFills`; without it, fill values come from `stats`, whose values no range has limited,
    and fills by group can't be learned. Raises RequestError where something is to be learned from statistics that
    aren't given, or from a column that isn't numeric.

    >>> pipeline = Pipeline.model_validate({"name": "p", "source": {"uri": "x", "interval": "none"},
    ...     "columns": {"a": {"type": "float64", "role": "numeric"}},
    ...     "clean": {"a": {"missing": {"fill": "constant", "value": 0}}}})
    >>> plan_clean(pipeline, None).columns
    {'a': ColumnPlan(low=None, high=None, fill='0', groups={}, note=None)}
    """
    columns = {}
    for name in pipeline.kept():
        rule, notes = pipeline.rule(name), []
        _check_numeric(pipeline, name, rule)
        if stats is None and (rule.outliers or (rule.missing.fill in LEARNED and fills is None)):
            raise RequestError(f"clean.{name} has to be learned", expected="statistics of the raw data", found="none")
        column = stats.columns[name] if stats is not None and name in stats.columns else None
        low, high = (None, None)
        if rule.outliers:
            low, high = _fences(pipeline, name, rule.outliers, column)
            if low is None and high is None:
                notes.append("no fence: no values, or more than half of them are equal")
        fill, groups = _fill(pipeline, name, column, fills)
        if rule.missing.fill not in ("leave", "quarantine") and fill is None:
            notes.append("nothing to fill with: no values were seen")
        plan = ColumnPlan(low=low, high=high, fill=fill, groups=groups, note="; ".join(notes) or None)
        if plan != ColumnPlan():
            columns[name] = plan
    return CleanPlan(columns=columns)


def rank(column: LearnedColumn, value: float, *, below: bool = False) -> float:
    """The share of values ≤ `value` (< with `below`), in [0, 1], from quantiles alone by bisection.

    >>> class Uniform:
    ...     mean = 0.5
    ...     def quantile(self, q): return q
    ...     def top(self, k): return []
    >>> round(rank(Uniform(), 0.25), 6)
    0.25
    """
    low, high = 0.0, 1.0

    def inside(quantile: float) -> bool:
        return quantile < value if below else quantile <= value

    if inside(column.quantile(1.0)):
        return 1.0
    if not inside(column.quantile(0.0)):
        return 0.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(column.quantile(middle)) else (low, middle)
    return low


def median_absolute_deviation(column: LearnedColumn) -> float:
    """The least d such that at least half of the values lie within the median ± d, by bisection; see the module.

    Exact to 2^-60 of the values' span, apart from the sketch's own error.
    """
    median = column.quantile(0.5)
    low, high = 0.0, max(column.quantile(1.0) - median, median - column.quantile(0.0))
    if rank(column, median) - rank(column, median, below=True) >= 0.5:
        return 0.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = rank(column, median + middle) - rank(column, median - middle, below=True) >= 0.5
        low, high = (low, middle) if enough else (middle, high)
    return float(high)


def _fences(pipeline: Pipeline, name: str, rule: Outliers, column: Any) -> tuple[float | None, float | None]:
    if column is None or column.quantile(0.5) is None:
        return None, None
    if rule.method == "mad":
        spread = rule.width * CONSISTENT * median_absolute_deviation(column)
        median = float(column.quantile(0.5))
        return (median - spread, median + spread) if spread > 0 else (None, None)
    bounds = rule_range(pipeline.columns[name], pipeline.rule(name), name)
    first, last = 0.0, 1.0
    if bounds is not None and bounds.low is not None:
        first = rank(column, bounds.low.as_py(), below=True)
    if bounds is not None and bounds.high is not None:
        last = rank(column, bounds.high.as_py())
    if last <= first:
        return None, None
    low, high = (float(column.quantile(first + q * (last - first))) for q in (rule.lower, rule.upper))
    return low, high


def _fill(pipeline: Pipeline, name: str, column: Any, fills: GroupFills | None) -> tuple[str | None, dict[str, str]]:
    missing = pipeline.rule(name).missing
    if missing.fill == "constant":
        if missing.value is None:
            raise RequestError(f"clean.{name}.missing.value", expected="the constant to fill with", found="nothing")
        return (str(missing.value).lower() if isinstance(missing.value, bool) else str(missing.value)), {}
    if missing.fill not in LEARNED:
        return None, {}
    if fills is not None:
        overall, groups = fills.fill(name)
    elif missing.by:
        raise RequestError(f"clean.{name}.missing.by", expected="statistics per group", found="none")
    else:
        overall, groups = _fill_from_stats(pipeline, name, column), {}
    if pipeline.columns[name].type.startswith("int") and missing.fill != "most_frequent":
        overall = None if overall is None else str(round(float(overall)))
        groups = {group: str(round(float(value))) for group, value in groups.items()}
    return overall, groups


def _fill_from_stats(pipeline: Pipeline, name: str, column: Any) -> str | None:
    missing = pipeline.rule(name).missing
    if column is None:
        return None
    if missing.fill in ("mean", "median"):
        value = column.mean if missing.fill == "mean" else column.quantile(0.5)
        return None if value is None else repr(float(value))
    counts: dict[str, int] = {}
    top = [(str(item[0]), int(item[1])) for item in column.top(TOP) if item[0] is not None]
    texts = pa.array([value for value, _ in top], pa.string())
    if pipeline.columns[name].type == "string":
        texts = on_distinct(texts, [step for _, step in steps(pipeline.columns[name], pipeline.rule(name))])
    for text, (_, count) in zip(texts.to_pylist(), top, strict=True):
        if text is not None:
            counts[text] = counts.get(text, 0) + count
    return min(counts, key=lambda text: (-counts[text], text)) if counts else None


def _check_numeric(pipeline: Pipeline, name: str, rule: CleanRule) -> None:
    kind = pipeline.columns[name].type
    learned = "outliers" if rule.outliers else f"missing.fill {rule.missing.fill}"
    if kind not in NUMERIC and (rule.outliers or rule.missing.fill in ("mean", "median")):
        raise RequestError(f"clean.{name}: {learned}", expected="a numeric column", found=kind)
