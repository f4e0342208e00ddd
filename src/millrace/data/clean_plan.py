"""The cleaning plan: every limit and fill value that is learned, decided once from statistics of the raw typed data.

Learned fences and fill values change rows, and the sketches they come from agree only within their error, so a plan is
made once, stored as JSON with the commit, and read again by every rerun.

- quantile fences: the quantiles `lower` and `upper` of the values that the rule's own range admits.
- MAD fences: median ± width · 1.4826 · MAD, where MAD = median of |x − median| (Rousseeuw & Croux 1993,
  https://doi.org/10.1080/01621459.1993.10476408). With F the sketch's distribution function, MAD is the least d with
  F(m + d) − F(m − d) ≥ 1/2, found by bisection. A sketch whose ranks are off by at most ε (0.9 %; 0 up to 2,048
  distinct values) is so at each of m, m + d and m − d: the share of rows within the d that is found is 1/2 ± 2ε.
- spellings: the values, after case and map, that are frequent and not within the allowed distance of one much more
  frequent: an error that is made often is still an error beside its right spelling. Counts are lower bounds where a
  column has many values, so that no rare value is taken for a right one.
- A MAD of zero (more than half of the values are equal) gives no fence: any other value would lie outside it.
"""

from __future__ import annotations

import math

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from millrace.data.clean_groups import LEARNED, GroupFills
from millrace.data.clean_limits import rule_range
from millrace.data.clean_text import frequent_spellings, on_distinct, steps
from millrace.data.stats import ColumnStats, Stats
from millrace.errors import RequestError
from millrace.spec import CleanRule, Pipeline

CONSISTENT = 1.4826  # makes the MAD of normal data its standard deviation
BISECTIONS = 60
VOCABULARY = 1024
NUMERIC = ("int8", "int16", "int32", "int64", "float32", "float64")


class ColumnPlan(BaseModel):
    """What was learned for one column. Values are text, read as the column's type; None is nothing learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float | None = None
    high: float | None = None
    fill: str | None = None
    groups: dict[str, str] = {}
    spellings: list[str] = []
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
    return any(rule.outliers is not None or rule.missing.fill in LEARNED or _learns_spelling(rule) for rule in rules)


def with_plan(rule: CleanRule, plan: ColumnPlan) -> CleanRule:
    """A rule with the spellings that its plan learned."""
    if not _learns_spelling(rule):
        return rule
    return rule.model_copy(update={"spelling": rule.spelling.model_copy(update={"values": plan.spellings})})  # type: ignore[union-attr]


def plan_clean(pipeline: Pipeline, stats: Stats | None, fills: GroupFills | None = None) -> CleanPlan:
    """The cleaning plan of a pipeline.

    Fences and spellings are learned from `stats`, the statistics of the raw typed data; fill values from `fills`, the
    state of `GroupFills` on the same data. Both may be None where nothing is learned from them. Raises RequestError
    where they are needed and absent, or where a column that has to be numeric isn't.

    >>> pipeline = Pipeline.model_validate({"name": "p", "source": {"uri": "x", "interval": "none"},
    ...     "columns": {"a": {"type": "float64", "role": "numeric"}},
    ...     "clean": {"a": {"missing": {"fill": "constant", "value": 0}}}})
    >>> plan_clean(pipeline, None).columns["a"].fill
    '0'
    """
    columns = {}
    for name in pipeline.kept():
        plan = _plan_column(pipeline, name, stats, fills)
        if plan != ColumnPlan():
            columns[name] = plan
    return CleanPlan(columns=columns)


def median_absolute_deviation(column: ColumnStats) -> float:
    """The least d such that at least half of the numbers lie within the median ± d, by bisection; see the module.

    Exact to 2^-60 of the numbers' span, apart from the sketch's own error; 0 where half of them are equal.

    >>> batch = pa.record_batch({"a": [1.0, 1, 2, 2, 4, 6, 9]})
    >>> round(median_absolute_deviation(Stats.empty(batch.schema).update(batch).columns["a"]), 9)
    1.0
    """
    median, first, last = (float(value or 0) for value in column.quantiles([0.5, 0.0, 1.0]))
    if _share(column, median, median) >= 0.5:
        return 0.0
    low, high = 0.0, max(last - median, median - first)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if _share(column, median - middle, median + middle) >= 0.5 else (middle, high)
    return high


def _share(column: ColumnStats, low: float, high: float) -> float:
    """The share of numbers from `low` to `high`, both included."""
    below, upto = column.cumulative([math.nextafter(low, -math.inf), high])
    return float(upto - below)


def _plan_column(pipeline: Pipeline, name: str, stats: Stats | None, fills: GroupFills | None) -> ColumnPlan:
    rule, kind = pipeline.rule(name), pipeline.columns[name].type
    learned = "outliers" if rule.outliers else f"missing.fill {rule.missing.fill}"
    if kind not in NUMERIC and (rule.outliers or rule.missing.fill in ("mean", "median")):
        raise RequestError(f"clean.{name}: {learned}", expected="a numeric column", found=kind)
    if (stats is None and (rule.outliers or _learns_spelling(rule))) or (
        fills is None and rule.missing.fill in LEARNED
    ):
        raise RequestError(f"clean.{name} has to be learned", expected="statistics of the raw data", found="none")
    column = stats.columns.get(name) if stats is not None else None
    notes = []
    low, high = _fences(pipeline, name, column)
    if rule.outliers and low is None:
        notes.append("no fence: no values, or more than half of them are equal")
    fill, groups = _fill(pipeline, name, fills)
    if rule.missing.fill in LEARNED and fill is None:
        notes.append("nothing to fill with: no values were seen")
    return ColumnPlan(
        low=low,
        high=high,
        fill=fill,
        groups=groups,
        spellings=_spellings(pipeline, name, column),
        note="; ".join(notes) or None,
    )


def _fences(pipeline: Pipeline, name: str, column: ColumnStats | None) -> tuple[float | None, float | None]:
    rule = pipeline.rule(name).outliers
    median = column.quantile(0.5) if column is not None else None
    if rule is None or column is None or median is None:
        return None, None
    if rule.method == "mad":
        spread = rule.width * CONSISTENT * median_absolute_deviation(column)
        return (median - spread, median + spread) if spread > 0 else (None, None)
    bounds = rule_range(pipeline.columns[name], pipeline.rule(name), name)
    first, last = 0.0, 1.0
    if bounds is not None and bounds.low is not None:
        first = float(column.cumulative([math.nextafter(bounds.low.as_py(), -math.inf)])[0])
    if bounds is not None and bounds.high is not None:
        last = float(column.cumulative([bounds.high.as_py()])[0])
    if last <= first:
        return None, None
    low, high = column.quantiles([first + share * (last - first) for share in (rule.lower, rule.upper)])
    return low, high


def _fill(pipeline: Pipeline, name: str, fills: GroupFills | None) -> tuple[str | None, dict[str, str]]:
    missing = pipeline.rule(name).missing
    if missing.fill == "constant":
        if missing.value is None:
            raise RequestError(f"clean.{name}.missing.value", expected="the constant to fill with", found="nothing")
        return (str(missing.value).lower() if isinstance(missing.value, bool) else str(missing.value)), {}
    if missing.fill not in LEARNED or fills is None:
        return None, {}
    overall, groups = fills.fill(name)
    if pipeline.columns[name].type.startswith("int") and missing.fill != "most_frequent":
        overall = None if overall is None else str(round(float(overall)))
        groups = {group: str(round(float(value))) for group, value in groups.items()}
    return overall, groups


def _learns_spelling(rule: CleanRule) -> bool:
    return rule.spelling is not None and rule.spelling.values is None


def _spellings(pipeline: Pipeline, name: str, column: ColumnStats | None) -> list[str]:
    """The values, after the text rules that are given, that occur often enough to be right."""
    rule = pipeline.rule(name)
    if column is None or rule.spelling is None or rule.spelling.values is not None:
        return []
    top = column.top(VOCABULARY)
    texts = on_distinct(
        pa.array([str(found.value) for found in top], pa.string()),
        [step for _, step in steps(pipeline.columns[name], rule)],
    )
    counts: dict[str, int] = {}
    for text, found in zip(texts.to_pylist(), top, strict=True):
        if text is not None:
            counts[text] = counts.get(text, 0) + found.at_least
    return frequent_spellings(counts, rule.spelling)
