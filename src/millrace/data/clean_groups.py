"""Statistics behind learned fill values: mean, median or most frequent value of a column, per group of another.

`Stats` describes the raw data as it is. A fill value has to come from what cleaning keeps, so this state takes a column
after its text rules, range and allowed values; with `missing.by`, once per value of that column. It merges like every
state; its median comes from KLL sketches (rank error 1.65 % at k = 200), its most frequent value from
frequent-items sketches (exact up to 192 distinct values per group).

A learned fill value is decided once per commit and recorded: see `clean_plan`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import datasketches as ds
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.check_moments import Moments
from millrace.data.clean_limits import allowed_values, not_allowed, rule_range
from millrace.data.clean_text import on_distinct, steps
from millrace.data.convert import Typed
from millrace.data.hashing import canonical_text
from millrace.errors import RequestError
from millrace.spec import Pipeline

if TYPE_CHECKING:
    import polars as pl

LEARNED = ("mean", "median", "most_frequent")
MAX_GROUPS = 10_000
KLL_K = 200
ITEMS_LG = 8  # 2^8 counters, of which three quarters are used


def needed(pipeline: Pipeline) -> bool:
    """Whether a pipeline's cleaning fills any column with a value that has to be learned by `GroupFills`."""
    return bool(learned_columns(pipeline))


def learned_columns(pipeline: Pipeline) -> list[str]:
    """The kept columns whose fill value is learned."""
    return [name for name in pipeline.kept() if pipeline.rule(name).missing.fill in LEARNED]


class _State(Protocol):
    def update(self, values: pl.Series) -> None: ...
    def merge(self, other: Any) -> None: ...
    def dump(self) -> Any: ...
    def result(self) -> str | None: ...


@dataclass
class _Mean:
    """Sums are exact, so that the mean doesn't depend on how the rows were split."""

    kind: ClassVar[str] = "mean"
    moments: Moments = field(default_factory=Moments)

    def update(self, values: pl.Series) -> None:
        import polars as pl

        self.moments = self.moments.merge(Moments.of(values.cast(pl.Float64).to_arrow()))

    def merge(self, other: _Mean) -> None:
        self.moments = self.moments.merge(other.moments)

    def dump(self) -> list[str]:
        return self.moments.to_json()

    @classmethod
    def load(cls, data: list[str]) -> _Mean:
        return cls(Moments.from_json(data))

    def result(self) -> str | None:
        mean = self.moments.mean()
        return None if mean is None else repr(mean)


class _Median:
    kind = "median"

    def __init__(self, sketch: Any = None) -> None:
        self.sketch = sketch or ds.kll_doubles_sketch(KLL_K)

    def update(self, values: pl.Series) -> None:
        import polars as pl

        self.sketch.update(np.array(values.cast(pl.Float64).to_numpy()))  # a copy: the sketch wants a writable array

    def merge(self, other: _Median) -> None:
        self.sketch.merge(other.sketch)

    def dump(self) -> str:
        return base64.b64encode(self.sketch.serialize()).decode()

    @classmethod
    def load(cls, data: str) -> _Median:
        return cls(ds.kll_doubles_sketch.deserialize(base64.b64decode(data)))

    def result(self) -> str | None:
        return None if self.sketch.is_empty() else repr(self.sketch.get_quantile(0.5, True))


class _MostFrequent:
    kind = "most_frequent"

    def __init__(self, sketch: Any = None) -> None:
        self.sketch = sketch or ds.frequent_strings_sketch(ITEMS_LG)

    def update(self, values: pl.Series) -> None:
        # Polars counts in any order, and the sketch tells orders apart
        counts = values.value_counts().sort(values.name)
        for value, count in zip(counts[values.name].to_list(), counts["count"].to_list(), strict=True):
            self.sketch.update(value, count)

    def merge(self, other: _MostFrequent) -> None:
        self.sketch.merge(other.sketch)

    def dump(self) -> str:
        return base64.b64encode(self._in_order().serialize()).decode()

    def _in_order(self) -> Any:
        """The same counts entered by value, while all are held: the bytes tell the order of merging apart, too."""
        held = self.sketch.get_frequent_items(ds.frequent_items_error_type.NO_FALSE_NEGATIVES, 0)
        if sum(item[1] for item in held) != self.sketch.total_weight:
            return self.sketch
        sketch = ds.frequent_strings_sketch(ITEMS_LG)
        for value, count in sorted(item[:2] for item in held):
            sketch.update(value, count)
        return sketch

    @classmethod
    def load(cls, data: str) -> _MostFrequent:
        return cls(ds.frequent_strings_sketch.deserialize(base64.b64decode(data)))

    def result(self) -> str | None:
        items = self.sketch.get_frequent_items(ds.frequent_items_error_type.NO_FALSE_NEGATIVES)
        return min(items, key=lambda item: (-item[1], item[0]))[0] if items else None


STATES: dict[str, Any] = {state.kind: state for state in (_Mean, _Median, _MostFrequent)}


class GroupFills:
    """What the fill values of a pipeline are learned from; a state: update, merge, to_bytes.

    >>> columns = {"city": {"type": "string", "role": "categorical"}, "fare": {"type": "float64", "role": "numeric"}}
    >>> pipeline = Pipeline.model_validate({
    ...     "name": "p", "source": {"uri": "x", "interval": "none"}, "columns": columns,
    ...     "clean": {"fare": {"missing": {"fill": "mean", "by": "city"}, "range": [0, 100]}}})
    >>> fills = GroupFills(pipeline)
    >>> from millrace.data.convert import convert
    >>> fills.update(convert(pa.record_batch({"city": ["a", "a", "b"], "fare": ["1", "2", "999"]}), pipeline))
    >>> fills.fill("fare")
    ('1.5', {'a': '1.5'})
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.states: dict[str, dict[str | None, _State]] = {name: {} for name in learned_columns(pipeline)}

    def update(self, typed: Typed) -> None:
        """Add a typed raw batch, as `convert` gives it.

        Raises RequestError where a column has more than 10,000 groups.
        """
        for name, states in self.states.items():
            rule = self.pipeline.rule(name).missing
            values = within_limits(typed, self.pipeline, name)
            if rule.fill == "most_frequent":
                values = canonical_text(values)
            groups = group_text(typed, self.pipeline, rule.by) if rule.by else pa.nulls(len(values), pa.string())
            kept = pc.is_valid(values)
            for group, members in _grouped(groups.filter(kept), values.filter(kept)):
                if group not in states:
                    states[group] = STATES[rule.fill]()
                states[group].update(members)
            self._check(name, states)

    def merge(self, other: GroupFills) -> None:
        """Add what another state has seen."""
        for name, states in self.states.items():
            for group, state in other.states[name].items():
                if group not in states:
                    states[group] = STATES[self.pipeline.rule(name).missing.fill]()
                states[group].merge(state)
            self._check(name, states)

    def fill(self, name: str) -> tuple[str | None, dict[str, str]]:
        """The fill value of a column over all rows, and those of its groups, as text; None where nothing was seen."""
        states = self.states[name]
        overall = STATES[self.pipeline.rule(name).missing.fill]()
        for state in states.values():
            overall.merge(state)
        groups = {group: state.result() for group, state in states.items() if group is not None}
        return overall.result(), {group: value for group, value in sorted(groups.items()) if value is not None}

    def to_bytes(self) -> bytes:
        """The state as UTF-8 JSON."""
        return json.dumps(
            {name: [[group, state.dump()] for group, state in states.items()] for name, states in self.states.items()}
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes, pipeline: Pipeline) -> GroupFills:
        """The state that `to_bytes` wrote for the same pipeline."""
        fills = cls(pipeline)
        for name, states in json.loads(data).items():
            load: Callable[[Any], _State] = STATES[pipeline.rule(name).missing.fill].load
            fills.states[name] = {group: load(dump) for group, dump in states}
        return fills

    def _check(self, name: str, states: dict[str | None, _State]) -> None:
        if len(states) > MAX_GROUPS:
            raise RequestError(
                f"clean.{name}.missing.by",
                expected=f"a column with at most {MAX_GROUPS:,} values",
                found=f"{len(states):,} values of {self.pipeline.rule(name).missing.by}",
            )


def settled(typed: Typed, pipeline: Pipeline, name: str) -> pa.Array:
    """A typed raw column after its text rules."""
    column, values = pipeline.columns[name], typed.batch.column(name)
    if column.type != "string":
        return values  # its text rules were part of reading it
    return on_distinct(values, [step for _, step in steps(column, pipeline.rule(name))])


def within_limits(typed: Typed, pipeline: Pipeline, name: str) -> pa.Array:
    """A typed raw column after its text rules, null where a range or a set of allowed values doesn't admit it."""
    column, rule, values = pipeline.columns[name], pipeline.rule(name), settled(typed, pipeline, name)
    bounds, allowed = rule_range(column, rule, name), allowed_values(column, rule, name)
    if bounds is not None:
        values = (
            bounds.clip(values) if rule.on_violation == "clip" else pc.if_else(bounds.outside(values), None, values)
        )
    return values if allowed is None else pc.if_else(not_allowed(values, allowed), None, values)


def group_text(typed: Typed, pipeline: Pipeline, by: str) -> pa.Array:
    """The group of each row: the canonical text of the column `by` after its text rules."""
    return canonical_text(settled(typed, pipeline, by))


def _grouped(groups: pa.Array, values: pa.Array) -> Iterator[tuple[str | None, pl.Series]]:
    import polars as pl

    frame = pl.DataFrame({"group": pl.Series(groups, dtype=pl.String), "value": pl.Series(values)})
    for key, part in frame.partition_by("group", as_dict=True, include_key=False).items():
        yield key[0], part["value"]
