"""Which sample suits: the method that a pipeline file names, or for `auto` the one that the drift verdict asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from millrace.data.allocation import sample_rows
from millrace.spec import Pipeline

Method = Literal["all", "random", "stratified", "cluster", "recent"]
FEW_VALUES = 200  # a categorical column with at most so many values can be stratified by


@dataclass(frozen=True)
class Choice:
    """A method, its column (strata or cluster key), the rows to draw, and the reasons in words."""

    method: Method
    by: str | None
    rows: int
    half_life: timedelta = timedelta(days=15)
    why: list[str] = field(default_factory=list)


def time_column(pipeline: Pipeline) -> str | None:
    """The kept column that says when a row happened, if there is one."""
    names = [pipeline.source.time, *pipeline.by_role("time")]
    return next((name for name in names if name is not None and name in pipeline.kept()), None)


def cluster_key(pipeline: Pipeline) -> str | None:
    """The kept column whose values are drawn together: the shard key, else the first key."""
    names = [pipeline.shard.by if pipeline.shard else None, *pipeline.by_role("key")]
    return next((name for name in names if name is not None and name in pipeline.kept()), None)


def choose_method(
    pipeline: Pipeline,
    rows: int,
    drifted: Sequence[str] | None = None,
    distinct: Mapping[str, float] | None = None,
    label_rate: float | None = None,
) -> Choice:
    """The sample of a pipeline whose window holds `rows` rows.

    A method named in the pipeline file is taken. `auto` goes by `drifted`, the columns whose last half of the window
    differs from the first (None: not compared): none → random; the label → stratified by it, so that a rarer class is
    whole; one categorical column alone, of at most 200 values by `distinct` → stratified by it; anything else that
    strata can't hold → cluster by the key, whole histories, where there is a key, else stratified by the label. A
    window not larger than the sample is taken whole. `label_rate` is the share of the rarer label, for the size.

    >>> pipeline = Pipeline(name="p", source={"uri": "x", "time": "t"}, columns={
    ...     "t": {"type": "timestamp", "role": "time"}, "bid": {"type": "float64", "role": "numeric"},
    ...     "clicked": {"type": "int8", "role": "label"}})
    >>> choose_method(pipeline, 10**6, drifted=["clicked"]).why
    ["the label 'clicked' changed: stratified by it keeps the rarer class whole",
     '240,092 of 1,000,000 rows: log loss is known within 0.002 at confidence 0.95']
    """
    size = sample_rows(pipeline.sample, rows, label_rate)
    half_life = pipeline.sample.half_life or pipeline.window / 4
    method, by, why = _method(pipeline, drifted, distinct or {})
    if method == "all" or (pipeline.sample.method == "auto" and size >= rows):
        small = [f"all {rows:,} rows: the window is not larger than the sample of {size:,} that would do"]
        return Choice("all", None, rows, half_life, ["asked for: all rows"] if method == "all" else small)
    return Choice(method, by, size, half_life, [why, _size_words(pipeline, size, rows)])  # type: ignore[arg-type]


def _method(
    pipeline: Pipeline, drifted: Sequence[str] | None, distinct: Mapping[str, float]
) -> tuple[str, str | None, str]:
    sample = pipeline.sample
    if sample.method != "auto":
        defaults = {"stratified": pipeline.label, "cluster": cluster_key(pipeline)}
        by = (sample.by or defaults[sample.method]) if sample.method in defaults else None
        return sample.method, by, f"asked for: {sample.method}{f' by {by}' if by else ''}"
    kept = [name for name in drifted or [] if name in pipeline.kept()]
    if drifted is None:
        return "random", None, "nothing to compare with yet: random"
    if not kept:
        return "random", None, "the window is alike from first to last: random"
    if pipeline.label in kept:
        return (
            "stratified",
            pipeline.label,
            (f"the label {pipeline.label!r} changed: stratified by it keeps the rarer class whole"),
        )
    words = ", ".join(kept)
    key = cluster_key(pipeline)
    few = [name for name in kept if distinct.get(name, FEW_VALUES + 1) <= FEW_VALUES]
    if kept == few and len(few) == 1:
        return "stratified", few[0], f"only the mix of {few[0]!r} changed: stratified by it holds its shares exactly"
    if key is not None:
        return "cluster", key, f"{words} changed: whole histories by {key!r} show how"
    if pipeline.label is not None:
        return "stratified", pipeline.label, f"{words} changed: stratified by the label keeps the rarer class whole"
    return "random", None, f"{words} changed, but there is neither a key nor a label to go by: random"


def _size_words(pipeline: Pipeline, size: int, rows: int) -> str:
    sample = pipeline.sample
    if sample.rows is not None or sample.fraction is not None:
        return f"{size:,} of {rows:,} rows, as asked for"
    return f"{size:,} of {rows:,} rows: log loss is known within {sample.loss} at confidence {sample.confidence}"
