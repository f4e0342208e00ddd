"""Distributions for pictures: statistics' states (and a sample's batches) in; shares of rows per bar, by side, out.

All sides of a picture share their bars. Numbers get bins of equal width, between the 1 % and 99 % quantiles of all
sides together, and of equal ratio where they spread over orders of magnitude; the outermost bins take the rest.
Numbers with few values, texts and booleans get a bar per frequent value, and one bar for all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.hashing import canonical_text
from millrace.data.states import ColumnState

Floats = npt.NDArray[np.float64]

BINS = 30
FEW_NUMBERS = 12  # distinct values up to which numbers are shown value by value
FREQUENT = 12  # values that get a bar of their own
OTHERS, MISSING = "all others", "missing"


@dataclass(frozen=True)
class Bar:
    """One bin (`low` to `high`) or one value (`label` alone), and the share of each side's rows in it."""

    label: str
    shares: Mapping[str, float]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Distribution:
    """One column's distribution by side; `rows` of each side. `log`: the bins have equal ratios."""

    column: str
    numbers: bool
    bars: Sequence[Bar]
    rows: Mapping[str, float]
    missing: Mapping[str, float]
    log: bool = False

    @property
    def sides(self) -> list[str]:
        """The sides, in the order in which they were given."""
        return list(self.rows)

    @property
    def pictured(self) -> bool:
        """Whether there is a bar to draw besides that of all other values."""
        return any(bar.label != OTHERS for bar in self.bars)

    def distance(self, first: str, second: str) -> float:
        """Half the sum of the differences of all bars' shares (total variation), 0 to 1."""
        pairs = [(bar.shares.get(first, 0.0), bar.shares.get(second, 0.0)) for bar in self.bars]
        pairs.append((self.missing.get(first, 0.0), self.missing.get(second, 0.0)))
        return sum(abs(one - two) for one, two in pairs) / 2


@dataclass(frozen=True)
class Bars:
    """How a column is cut: `edges` of numbers (n + 1 of them), or the `values` with bars of their own."""

    edges: Floats | None = None
    values: Sequence[Any] = ()
    log: bool = False


def cut(state: ColumnState, *, codes: bool = False) -> Bars:
    """The bars for all sides together, from their merged state; `codes`: its numbers are names, not amounts."""
    few = not state.sketched and len(state.values.counts) <= FEW_NUMBERS
    if state.numeric and state.kind != "boolean" and not few and not codes:
        low, middle, high = (float(value or 0.0) for value in state.quantiles([0.01, 0.5, 0.99]))
        if high > low:
            log = low > 0 and high / low > 100 and high > 8 * middle
            edges = np.geomspace(low, high, BINS + 1) if log else np.linspace(low, high, BINS + 1)
            if not log and _whole(state):  # bins of equal numbers of whole numbers, or the picture is a comb
                width = max(1, math.ceil((high - low + 1) / BINS))
                edges = np.arange(math.floor(low), math.floor(high) + 1 + width, width, dtype=np.float64)
            return Bars(edges=edges, log=log)
    values = [value for value, least in state.values.top(FREQUENT) if least >= 4 * state.values.error]
    if state.numeric and few:
        values.sort()
    return Bars(values=values)


def _whole(state: ColumnState) -> bool:
    """Whether all numbers are known to be whole."""
    if state.kind in ("integer", "time"):
        return True
    return not state.sketched and all(float(value).is_integer() for value in state.values.counts)


def shares_of(state: ColumnState, bars: Bars) -> list[float]:
    """The share of a state's rows in each bar, all others (of values), and missing ones, in this order; their sum is 1.

    >>> state = ColumnState("string", count=4, nulls=1)
    >>> state.values.counts.update({"a": 2, "b": 1})
    >>> shares_of(state, Bars(values=["a"]))
    [0.5, 0.25, 0.25]
    """
    if not state.count:
        return [0.0] * ((len(bars.edges) - 1 if bars.edges is not None else len(bars.values) + 1) + 1)
    missing = state.nulls + state.nans + state.infinities
    present = state.count - missing
    if bars.edges is not None:
        inside = _below(state, bars.edges[1:-1]) if present else np.zeros(len(bars.edges) - 2)
        parts = np.diff(inside, prepend=0.0, append=1.0 if present else 0.0) * present
        return [*(parts / state.count).tolist(), missing / state.count]
    counts = [min(present, state.values.estimate(value)) for value in bars.values]
    others = max(0, present - sum(counts))
    return [*(count / state.count for count in counts), others / state.count, missing / state.count]


def _below(state: ColumnState, points: Floats) -> Floats:
    """The share of numbers below each point: a number at an edge belongs to the bin above it."""
    return state.cumulative(np.nextafter(points, -np.inf))


def distribution(column: str, sides: Mapping[str, ColumnState], *, codes: bool = False) -> Distribution:
    """A column's distribution by side, from the states of each; `codes`: its numbers are names, not amounts."""
    bars = cut(reduce(ColumnState.merge, sides.values()), codes=codes)
    shares = {side: shares_of(state, bars) for side, state in sides.items()}
    return _assemble(column, bars, shares, {side: float(state.count) for side, state in sides.items()})


def _assemble(
    column: str, bars: Bars, shares: Mapping[str, Sequence[float]], rows: Mapping[str, float]
) -> Distribution:
    found = []
    if bars.edges is not None:
        places = list(zip(bars.edges[:-1].tolist(), bars.edges[1:].tolist(), strict=True))
        for place, (low, high) in enumerate(places):
            label = f"{low:.6g} to {high:.6g}"
            if place == 0:
                label = f"below {high:.6g}"
            elif place == len(places) - 1:
                label = f"{low:.6g} and above"
            found.append(Bar(label, {side: values[place] for side, values in shares.items()}, low, high))
    else:
        for place, name in enumerate([*(shown(value) for value in bars.values), OTHERS]):
            found.append(Bar(name, {side: values[place] for side, values in shares.items()}))
        if all(value < 1e-12 for value in found[-1].shares.values()):
            found.pop()
    missing = {side: values[-1] for side, values in shares.items()}
    return Distribution(column, bars.edges is not None, found, dict(rows), missing, bars.log)


def shown(value: Any) -> str:
    """A value as text for a label; long texts are cut.

    >>> shown(3.0), shown(""), shown("x" * 60)[-3:]
    ('3', '(empty)', 'xx…')
    """
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if not text.strip():
        return "(empty)" if not text else "(blank)"
    return text if len(text) <= 40 else text[:39] + "…"


@dataclass
class SampleCounts:
    """Counts a sample's rows into the bars that its population's statistics give: batches in, a Distribution out."""

    column: str
    population: ColumnState
    codes: bool = False
    bars: Bars = field(init=False)
    drawn: Floats = field(init=False)
    weighted: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.bars = cut(self.population, codes=self.codes)
        size = len(self.bars.edges) if self.bars.edges is not None else len(self.bars.values) + 2
        self.drawn, self.weighted = np.zeros(size), np.zeros(size)

    def update(self, values: pa.Array, weights: Floats) -> None:
        """Add a batch's values with their weights."""
        places = self._places(values)
        self.drawn += np.bincount(places, minlength=len(self.drawn))
        self.weighted += np.bincount(places, weights, len(self.weighted))

    def _places(self, values: pa.Array) -> npt.NDArray[np.int64]:
        """The bar of each value; the last is for missing ones."""
        missing = len(self.drawn) - 1
        if self.bars.edges is not None:
            numbers = values.cast(pa.float64(), safe=False).fill_null(math.nan).to_numpy(zero_copy_only=False)
            places = np.searchsorted(self.bars.edges[1:-1], numbers, side="right")
            return np.where(np.isfinite(numbers), places, missing)
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.int8())
        if pa.types.is_floating(values.type):
            values = pc.add(pc.if_else(pc.is_finite(values), values, None), 0.0)  # -0.0 is 0.0
        texts = canonical_text(values)
        names = canonical_text(pa.array(list(self.bars.values))) if self.bars.values else pa.array([], pa.string())
        places = pc.index_in(texts, value_set=names).fill_null(missing - 1).to_numpy(zero_copy_only=False)
        return np.where(texts.is_null().to_numpy(zero_copy_only=False), missing, places).astype(np.int64)

    def result(self) -> Distribution:
        """The sides population, drawn and weighted."""
        shares = {
            "population": shares_of(self.population, self.bars),
            "drawn": _divided(self.drawn),
            "weighted": _divided(self.weighted),
        }
        rows = {
            "population": float(self.population.count),
            "drawn": float(self.drawn.sum()),
            "weighted": float(self.weighted.sum()),
        }
        return _assemble(self.column, self.bars, shares, rows)


def _divided(counts: Floats) -> list[float]:
    total = float(counts.sum())
    return (counts / total if total else counts).tolist()
