"""Evaluation: labels, scores and weights of a holdout in; metrics with confidence intervals, curves, calibration and
slices out. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from millrace.errors import GateClosed
from millrace.model.metrics import LOWER_IS_BETTER, METRICS, Ranked, f1_threshold, poisson_counts
from millrace.spec import Metric, Promote

Array = np.ndarray[Any, Any]
CURVE_POINTS = 200
COMPARISON_REPLICATES = 500
CALIBRATION_BINS = 15
SLICE_VALUES = 20
SLICE_ROWS = 20_000  # slices larger than this have intervals narrow enough: fewer replicates


class Estimate(BaseModel):
    """A metric's value on the holdout with its bootstrap confidence interval; None where it isn't defined."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None


class Slice(BaseModel):
    """The rows with one value of a column: how many, their share of positives, and the metric."""

    model_config = ConfigDict(frozen=True)

    column: str
    value: str | None
    rows: int
    positives: int
    metric: Metric
    estimate: Estimate


class Bin(BaseModel):
    """One bin of the calibration: mean predicted probability, observed share, and its rows."""

    model_config = ConfigDict(frozen=True)

    predicted: float
    observed: float
    rows: int
    weight: float


class Evaluation(BaseModel):
    """What a model is worth on one holdout; JSON by `model_dump_json`."""

    model_config = ConfigDict(frozen=True)

    rows: int
    positives: int
    prior: float
    threshold: float
    confidence: float
    metrics: dict[Metric, Estimate]
    baseline: dict[Metric, float | None]
    roc: list[tuple[float, float]]
    precision_recall: list[tuple[float, float]]
    calibration: list[Bin]
    slices: list[Slice] = []

    def value(self, metric: Metric) -> float | None:
        """The metric's value alone."""
        return self.metrics[metric].value


class Settings(BaseModel):
    """How to evaluate: the bootstrap's replicates and seed, the interval's confidence, the slices' metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicates: int = 200
    seed: int = 0
    confidence: float = 0.95
    metric: Metric = "roc_auc"
    threshold: float | None = None


class Comparison(BaseModel):
    """Candidate minus champion on the same rows, turned so that positive is better."""

    model_config = ConfigDict(frozen=True)

    metric: Metric
    champion: float | None
    candidate: float | None
    difference: float
    low: float
    high: float
    margin: float
    confidence: float
    probability: float  # share of replicates in which the difference is beyond the margin

    @property
    def better(self) -> bool:
        """Is the candidate better by more than the margin, with the confidence asked for?"""
        return self.difference > self.margin and self.probability >= self.confidence


def evaluate(
    y: Array,
    score: Array,
    weight: Array | None = None,
    slices: Mapping[str, Sequence[str | None] | pa.Array | pa.ChunkedArray] | None = None,
    settings: Settings | None = None,
) -> Evaluation:
    """Evaluate probabilities against labels.

    `y` 0 or 1 and `score` in [0, 1], one a row; `weight` ≥ 0 (1 by default); `slices` gives the value of each row in
    columns to slice by (the most frequent values are kept). The f1 threshold is taken from the scores alone unless
    given. Intervals are bootstrap percentiles.

    Raises GateClosed where the holdout is empty or holds one class only.

    >>> result = evaluate(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> result.value("roc_auc"), round(result.value("brier"), 4)
    (0.75, 0.1875)
    """
    settings = settings or Settings()
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    y, score = np.asarray(y), np.asarray(score, np.float64)
    check_holdout(y, score, weight)
    threshold = f1_threshold(score, weight) if settings.threshold is None else settings.threshold
    ranked = Ranked.of(y, score, threshold)
    sorted_weight = weight[ranked.order]
    metrics = _estimates(ranked, sorted_weight, METRICS, settings)
    prior = float(np.average(y, weights=weight))
    trivial = Ranked.of(y, np.full(len(y), prior), min(prior, 0.5))
    baseline = {metric: _finite(trivial.values(metric, weight[None, :])[0]) for metric in METRICS}
    found = []
    for column, values in (slices or {}).items():
        found += _slices(column, values, (y, score, weight), settings.model_copy(update={"threshold": threshold}))
    return Evaluation(
        rows=len(y),
        positives=int(y.sum()),
        prior=prior,
        threshold=threshold,
        confidence=settings.confidence,
        metrics=metrics,
        baseline=baseline,
        roc=_roc(ranked, sorted_weight),
        precision_recall=_precision_recall(ranked, sorted_weight),
        calibration=_calibration(ranked, sorted_weight),
        slices=found,
    )


def compare(
    champion: Array, candidate: Array, y: Array, rule: Promote, weight: Array | None = None, seed: int = 0
) -> Comparison:
    """Compare two models' scores of the same rows by a paired bootstrap: both see the same replicate's counts.

    `rule` gives metric, margin and confidence. `low` and `high` hold the central `confidence` of the differences. For
    log_loss and brier the difference is champion minus candidate. The thresholds of f1 are each model's own.

    >>> y = np.array([0, 1] * 50)
    >>> compare(np.full(100, 0.5), np.where(y == 1, 0.9, 0.1), y, Promote()).difference
    0.5
    """
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, np.float64)
    metric, margin, confidence = rule.metric, rule.margin, rule.confidence
    models = []
    for score in (champion, candidate):
        check_holdout(y, score, weight)
        models.append(Ranked.of(y, np.asarray(score, np.float64), f1_threshold(score, weight)))
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    first, second = (float(model.values(metric, weight[model.order][None, :])[0]) for model in models)
    draws = []
    for counts in poisson_counts(len(y), COMPARISON_REPLICATES, seed):
        old, new = (model.values(metric, counts[:, model.order] * weight[model.order]) for model in models)
        draws.append(sign * (new - old))
    differences = np.concatenate(draws)
    differences = differences[np.isfinite(differences)]
    low, high = _interval(differences, confidence)
    return Comparison(
        metric=metric,
        champion=_finite(first),
        candidate=_finite(second),
        difference=sign * (second - first),
        low=low if low is not None else 0.0,
        high=high if high is not None else 0.0,
        margin=margin,
        confidence=confidence,
        probability=float((differences > margin).mean()) if len(differences) else 0.0,
    )


def check_holdout(y: Array, score: Array, weight: Array) -> None:
    """Raises GateClosed where a holdout can't tell models apart: no rows, one class, or scores that aren't numbers."""
    positive = float(weight[y == 1].sum())
    if not 0 < positive < float(weight.sum()):
        raise GateClosed(
            "the holdout can't tell models apart",
            expected="rows of both classes",
            found=f"{int(np.sum(y == 1))} positive of {len(y)} rows",
            hint="a longer evaluate.holdout may hold both",
        )
    if not np.isfinite(score).all():
        raise GateClosed("the model's scores aren't all numbers", found=f"{int((~np.isfinite(score)).sum())} of them")


def _estimates(ranked: Ranked, weight: Array, metrics: Sequence[Metric], settings: Settings) -> dict[Metric, Estimate]:
    point = {metric: float(values[0]) for metric, values in ranked.all_values(metrics, weight[None, :]).items()}
    draws: dict[Metric, list[Array]] = {metric: [] for metric in metrics}
    for counts in poisson_counts(len(weight), settings.replicates, settings.seed):
        found = ranked.all_values(metrics, counts * weight)
        for metric in metrics:
            draws[metric].append(found[metric])
    estimates = {}
    for metric in metrics:
        values = np.concatenate(draws[metric])
        low, high = _interval(values[np.isfinite(values)], settings.confidence)
        estimates[metric] = Estimate(value=_finite(point[metric]), low=low, high=high)
    return estimates


def _slices(column: str, values: Any, rows: tuple[Array, Array, Array], settings: Settings) -> list[Slice]:
    """The most frequent values of a column, each with the metric; a value with one class only has no interval."""
    y, score, weight = rows
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(list(values), pa.string())
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    encoded = array.cast(pa.string()).dictionary_encode(null_encoding="encode")
    codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False))
    names = encoded.dictionary.to_pylist()
    counted = np.bincount(codes, minlength=len(names))
    largest = sorted(range(len(names)), key=lambda at: (-counted[at], names[at] is None, names[at] or ""))
    found = []
    for at in largest[:SLICE_VALUES]:
        mask = codes == at
        if weight[mask].sum() <= 0:
            continue
        ranked = Ranked.of(y[mask], score[mask], settings.threshold or 0.5)
        fewer = min(settings.replicates, 200 if mask.sum() <= SLICE_ROWS else 100)
        estimate = _estimates(
            ranked, weight[mask][ranked.order], [settings.metric], settings.model_copy(update={"replicates": fewer})
        )[settings.metric]
        found.append(
            Slice(
                column=column,
                value=names[at],
                rows=int(mask.sum()),
                positives=int(y[mask].sum()),
                metric=settings.metric,
                estimate=estimate,
            )
        )
    return found


def _interval(values: Array, confidence: float) -> tuple[float | None, float | None]:
    if len(values) == 0:
        return None, None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _thin(x: Array, y: Array) -> list[tuple[float, float]]:
    """At most CURVE_POINTS points, evenly spaced along the curve, ends included."""
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    at = np.unique(np.searchsorted(length, np.linspace(0, length[-1], CURVE_POINTS)).clip(0, len(x) - 1))
    return [(round(float(a), 6), round(float(b), 6)) for a, b in zip(x[at], y[at], strict=True)]


def _roc(ranked: Ranked, weight: Array) -> list[tuple[float, float]]:
    hits = np.append(0.0, np.cumsum(weight * ranked.y)[ranked.ends])
    misses = np.append(0.0, np.cumsum(weight * (1 - ranked.y))[ranked.ends])
    return _thin(misses / misses[-1], hits / hits[-1])


def _precision_recall(ranked: Ranked, weight: Array) -> list[tuple[float, float]]:
    hits, seen = np.cumsum(weight * ranked.y)[ranked.ends], np.cumsum(weight)[ranked.ends]
    some = seen > 0
    return _thin(hits[some] / hits[-1], hits[some] / seen[some])


def _calibration(ranked: Ranked, weight: Array) -> list[Bin]:
    """Bins of equal weight, in ascending order of score; equal scores share a bin."""
    middle = (np.cumsum(weight) - weight / 2) / weight.sum()
    first_of_run = np.append(0, ranked.ends[:-1] + 1)
    run = np.repeat(np.arange(len(ranked.ends)), np.diff(np.append(first_of_run, len(weight))))
    bins = np.minimum((middle[first_of_run][run] * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    found = []
    for at in reversed(range(CALIBRATION_BINS)):
        mask = bins == at
        total = float(weight[mask].sum())
        if total > 0:
            predicted = float(np.average(ranked.score[mask], weights=weight[mask]))
            observed = float(np.average(ranked.y[mask], weights=weight[mask]))
            found.append(Bin(predicted=predicted, observed=observed, rows=int(mask.sum()), weight=total))
    return found
