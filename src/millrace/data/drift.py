"""Drift: have the recent intervals of a window other distributions than the ones before? From states alone.

Statistics of intervals flow in (`compare`), a verdict for each column and for the pipeline comes out as JSON.

For each column both halves become histograms over the same bins: numbers over the deciles of the reference, with bins
for missing and for NaN or infinite ones; categories over their frequent values, the rest and missing ones.

**Is it chance?** Rows of one day resemble each other, so thousands of rows are not thousands of independent facts, and
a test that believes so calls every night a drift. The difference is therefore measured against the variation *between
the intervals within each half*: with pooled bin shares p, halves of N and M rows and their shares' difference d,

    X² = Σ d² / p / (1/N + 1/M),     F = X² / tr(S),     p-value = P(F(ν, ν (intervals - 2)) ≥ F)

where S is the intervals' residual covariance in the same metric and ν = tr(S)² / tr(S²): Rao and Scott's second-order
correction (DOI 10.1214/aos/1176346391). tr(S) is never taken smaller than bins - 1, its value for independent rows, so
that with one interval on each side this is the chi-squared test, to which PSI N M / (N + M) tends too (Yurdakul and
Naranjo, Journal of Risk Model Validation, 2020). The p-values of all columns are corrected by Holm's method, so that a
run without drift has a drifted column with a chance of at most `false_alarms_per_year` / runs a year.

**Does it matter?** With enough rows every trifle is significant: a column drifts only where its PSI, less what chance
alone adds, also exceeds `Drift.psi`. For the label, whose rarest class may be a thousandth of the rows, the PSI is that
of a label with balanced classes whose odds change by the same factor: 0.1 is a factor of 1.9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from functools import reduce
from typing import Literal

import numpy as np
from pydantic import BaseModel

from millrace.data.drift_measures import (
    Matrix,
    balanced_psi,
    halves_test,
    holm,
    jensen_shannon,
    kolmogorov_smirnov,
    l_infinity,
    psi,
)
from millrace.data.sketches import Value
from millrace.data.states import ColumnState
from millrace.data.stats import Stats
from millrace.errors import RequestError
from millrace.spec import Drift, Interval, Pipeline

BINS = 10  # of numbers
MAX_CATEGORIES = 30
LEAST_IN_BIN = 10  # rows of both halves; smaller bins join the largest
LARGEST_CHANCE = 0.05  # per run, however few runs there are in a year
RUNS_PER_YEAR: dict[Interval, float] = {"hourly": 8766, "daily": 365.25, "monthly": 12, "none": 1}


class ColumnDrift(BaseModel):
    """One column's verdict. `drifted`: adjusted p-value below `chance` and effect above `least_effect`."""

    column: str
    role: Literal["covariate", "label"]
    bins: int
    psi: float  # population stability index, nats
    jensen_shannon: float  # divergence, bits: 0 (alike) to 1 (nothing in common)
    l_infinity: float  # largest difference of a bin's share
    ks: float | None  # largest difference of the distribution functions of numbers
    ks_p_value: float | None
    p_value: float
    adjusted_p_value: float  # for the number of columns (Holm)
    chance: float  # the adjusted p-value must be below
    effect: float  # PSI less what chance adds; of the label: with balanced classes
    least_effect: float  # the effect must be above
    drifted: bool
    reason: str


class DriftVerdict(BaseModel):
    """What `compare` found: each column, most drifted first."""

    columns: list[ColumnDrift]
    drifted: bool
    share: float  # of the columns that drifted
    words: Literal["alike", "shifted"]
    shift: Literal["none", "covariate", "label", "both"]
    reason: str
    reference_rows: int
    recent_rows: int
    reference_intervals: int
    recent_intervals: int


def compare(
    reference: Stats | Sequence[Stats],
    recent: Stats | Sequence[Stats],
    settings: Drift,
    *,
    columns: Sequence[str] | None = None,
    runs_per_year: float = RUNS_PER_YEAR["daily"],
) -> DriftVerdict:
    """Compare the recent intervals' statistics with the reference's.

    Give each half as the list of its intervals' statistics wherever there are several: the variation between them is
    what tells drift from an ordinary day. Whole windows (one `Stats` each) are compared as if rows were independent.

    `columns`: those to compare (`settings.columns` goes first); by default all but times. Raises RequestError where
    one isn't in the statistics. A half without rows, or a column without two bins, is never called drifted.
    """
    halves = [[part] if isinstance(part, Stats) else list(part) for part in (reference, recent)]
    halves = [[part for part in half if part.rows] for half in halves]
    sizes = [sum(part.rows for part in half) for half in halves]
    first = next((part for half in halves for part in half), None)
    if first is None or not all(halves):
        return _verdict([], "too little to compare: a half has no rows", halves)
    names = _names(first, settings.columns or columns)
    chance = min(LARGEST_CHANCE, settings.false_alarms_per_year / runs_per_year)
    found = [_column(name, halves, name == first.label) for name in names]
    adjusted = holm([column.p_value for column in found])
    results = []
    for column, p_value in zip(found, adjusted, strict=True):
        drifted = p_value < chance and column.effect > settings.psi
        update = {
            "adjusted_p_value": p_value,
            "chance": chance,
            "least_effect": settings.psi,
            "drifted": drifted,
            "reason": _reason(column, p_value, chance, settings.psi),
        }
        results.append(column.model_copy(update=update))
    results.sort(key=lambda column: (not column.drifted, -column.effect, column.column))
    moved = [column.column for column in results if column.drifted]
    if not moved:
        return _verdict(results, f"none of {len(results)} columns drifted over {sizes[0]} and {sizes[1]} rows", halves)
    return _verdict(results, f"{len(moved)} of {len(results)} columns drifted: {', '.join(moved)}", halves)


def drift_columns(pipeline: Pipeline) -> list[str]:
    """The columns of a pipeline that drift is looked for in: numbers, categories and the label, as far as kept."""
    kept = set(pipeline.kept())
    return [name for name in pipeline.by_role("numeric", "categorical", "label") if name in kept]


def split_window(names: Sequence[str], kind: Interval, settings: Drift) -> tuple[list[str], list[str]]:
    """The reference and the recent intervals among a window's `names` (oldest first); halves where no length is set.

    >>> split_window(["2018-04-01", "2018-04-02", "2018-04-03"], "daily", Drift(recent="1d"))
    (['2018-04-01', '2018-04-02'], ['2018-04-03'])
    """
    step = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "monthly": timedelta(days=30)}.get(kind)
    if step is None:
        return list(names), []
    recent = len(names) // 2 if settings.recent is None else max(1, round(settings.recent / step))
    recent = min(recent, len(names))
    reference = len(names) if settings.reference is None else max(1, round(settings.reference / step))
    before = list(names[: len(names) - recent])
    return before[-reference:], list(names[len(names) - recent :])


def _column(name: str, halves: Sequence[Sequence[Stats]], is_label: bool) -> ColumnDrift:
    states = [[_state(part, name) for part in half] for half in halves]
    totals = [reduce(ColumnState.merge, half) for half in states]
    numeric = totals[0].numeric and not _is_category(totals) and not is_label
    bins = _numeric_bins(totals) if numeric else _categories(totals)
    tables = [np.array([_histogram(state, bins) for state in half]) for half in states]
    joined = _join_small(tables)
    tables = [table @ joined for table in tables]
    sums = [table.sum(axis=0) for table in tables]
    blank = ColumnDrift(
        column=name,
        role="label" if is_label else "covariate",
        bins=len(sums[0]),
        psi=0.0,
        jensen_shannon=0.0,
        l_infinity=0.0,
        ks=None,
        ks_p_value=None,
        p_value=1.0,
        adjusted_p_value=1.0,
        chance=0.0,
        effect=0.0,
        least_effect=0.0,
        drifted=False,
        reason="",
    )
    if len(sums[0]) < 2:
        return blank
    errors = [state.ranks.rank_error if state.ranks else 0.0 for state in totals]
    found = halves_test(tables[0], tables[1], max(errors) / 2.576 if numeric else 0.0)
    index = psi(sums[0], sums[1])
    effect = balanced_psi(sums[0], sums[1]) if is_label else index - found.scale / found.effective_rows
    update: dict[str, float | None] = {
        "psi": index,
        "jensen_shannon": jensen_shannon(sums[0], sums[1]),
        "l_infinity": l_infinity(sums[0], sums[1]),
        "p_value": found.p_value,
        "effect": max(0.0, effect),
    }
    if numeric and all(total.moments.count for total in totals):
        from scipy.special import kolmogorov

        update["ks"] = distance = kolmogorov_smirnov(totals[0], totals[1])
        independent = found.effective_rows * (len(sums[0]) - 1) / found.scale
        update["ks_p_value"] = float(kolmogorov(max(0.0, distance - sum(errors)) * math.sqrt(independent)))
    return blank.model_copy(update=update)


Bins = Sequence[Value] | Matrix


def _is_category(totals: Sequence[ColumnState]) -> bool:
    """Numbers that take so few values that each is its own bin."""
    return not any(total.sketched for total in totals) and (
        len({value for total in totals for value in total.values.counts}) <= MAX_CATEGORIES
    )


def _numeric_bins(totals: Sequence[ColumnState]) -> Matrix:
    """The inner deciles of the reference (of the recent half where it has no numbers), each once."""
    base = totals[0] if totals[0].moments.count else totals[1]
    fractions = (np.arange(1, BINS) / BINS).tolist()
    return np.unique(np.array(base.quantiles(fractions), np.float64))


def _categories(totals: Sequence[ColumnState]) -> list[Value]:
    """The most frequent values of both halves; where counts are estimates, only those well above their error."""
    pooled = totals[0].values.merge(totals[1].values)
    return [value for value, least in pooled.top(MAX_CATEGORIES) if least >= max(LEAST_IN_BIN, 4 * pooled.error)]


def _histogram(state: ColumnState, bins: Bins) -> list[float]:
    """Rows per bin; the last three: the rest, NaN or infinite, missing."""
    odd = [float(state.nans + state.infinities), float(state.nulls)]
    present = state.count - state.nulls - state.nans - state.infinities
    if isinstance(bins, np.ndarray):
        below = state.cumulative(bins) if present else np.zeros(len(bins))
        return [*(np.diff(below, prepend=0.0, append=1.0 if present else 0.0) * present).tolist(), *odd]
    counts = [float(min(present, state.values.estimate(value))) for value in bins]
    return [*counts, max(0.0, present - sum(counts)), *odd]


def _join_small(tables: Sequence[Matrix]) -> Matrix:
    """A matrix that adds the bins with too few rows to the largest bin."""
    totals = sum(table.sum(axis=0) for table in tables)
    largest = int(np.argmax(totals))
    large = np.flatnonzero(np.asarray(totals) >= LEAST_IN_BIN).tolist() or [largest]
    joined = np.zeros((len(np.atleast_1d(totals)), len(large)))
    for place in range(len(joined)):
        joined[place, large.index(place) if place in large else large.index(largest)] = 1.0
    return joined


def _state(stats: Stats, name: str) -> ColumnState:
    return stats.columns[name].state


def _names(stats: Stats, wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return [name for name, kind in stats.kinds.items() if kind != "time"]
    unknown = [name for name in wanted if name not in stats.kinds]
    if unknown:
        raise RequestError(
            "drift can't be looked for in columns without statistics",
            expected=f"some of {', '.join(stats.kinds)}",
            found=", ".join(unknown),
        )
    return list(wanted)


def _reason(column: ColumnDrift, p_value: float, chance: float, least: float) -> str:
    if column.bins < 2:
        return "nothing to compare: no value is frequent enough, or there is only one"
    measure = "the label's odds moved by a balanced PSI of" if column.role == "label" else "PSI"
    if p_value >= chance:
        return f"{measure} {column.effect:.3g}: ordinary variation between intervals (p = {p_value:.2g})"
    if column.effect <= least:
        return f"{measure} {column.effect:.3g} is real (p = {p_value:.2g}) but not above {least:g}"
    return f"{measure} {column.effect:.3g} is above {least:g}, and chance hardly explains it (p = {p_value:.2g})"


def _verdict(columns: list[ColumnDrift], reason: str, halves: Sequence[Sequence[Stats]]) -> DriftVerdict:
    roles = {column.role for column in columns if column.drifted}
    shift: Literal["none", "covariate", "label", "both"] = "none"
    if roles:
        shift = "both" if len(roles) == 2 else "label" if "label" in roles else "covariate"
    return DriftVerdict(
        columns=columns,
        drifted=bool(roles),
        share=sum(column.drifted for column in columns) / len(columns) if columns else 0.0,
        words="shifted" if roles else "alike",
        shift=shift,
        reason=reason,
        reference_rows=sum(part.rows for part in halves[0]),
        recent_rows=sum(part.rows for part in halves[1]),
        reference_intervals=len(halves[0]),
        recent_intervals=len(halves[1]),
    )
