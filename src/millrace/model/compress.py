"""Compression: the champion and a holdout in, a smaller or faster scorer with its measured loss out, or the refusal.

=======================================  ============================================================================
logistic_regression, sgd, naive_bayes    additive form: a table or a slope per feature; the same probabilities
random_forest                            the first n trees; the fewest whose loss stays within the tolerance
hist_gradient_boosting                   the first n boosting iterations, likewise
decision_tree                            kept: nothing smaller is worth a loss
=======================================  ============================================================================

n is chosen on every other row of the holdout, within half the tolerance; size, speed and loss are measured on the
rest. An additive form is refused where a probability differs by more than 1e-9, whatever the tolerance: a loss function
whose probabilities aren't those of its log-odds has none.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from millrace.errors import GateClosed
from millrace.model.additive import AdditiveModel, make_additive
from millrace.model.evaluate import check_holdout
from millrace.model.features import labels
from millrace.model.metrics import LOWER_IS_BETTER, Ranked, f1_threshold
from millrace.model.model_file import FILES, LoadedModel, write_model
from millrace.model.score import Scorer, score_batch
from millrace.spec import Metric

Array = np.ndarray[Any, Any]
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
SPEED_RUNS = 3
SAME = 1e-9  # between probabilities of a model and of its additive form


class CompressionReport(BaseModel):
    """What compression did. Sizes in bytes, seconds for scoring the measured rows; `loss` of the metric, positive is
    worse; `largest_difference` between any two probabilities of a row."""

    model_config = ConfigDict(frozen=True)

    method: str
    accepted: bool
    reason: str
    metric: Metric
    tolerance: float
    loss: float
    largest_difference: float
    rows: int
    size_before: int
    size_after: int
    seconds_before: float
    seconds_after: float

    @property
    def speed_ratio(self) -> float:
        """How many times faster the compressed scorer is."""
        return self.seconds_before / self.seconds_after if self.seconds_after > 0 else 1.0


@dataclass(frozen=True)
class Half:
    """Every other labelled row of the holdout, with labels and weights."""

    rows: pa.Table
    y: Array
    weight: Array


@dataclass(frozen=True)
class Compressed:
    """The model to score with (the original where compression was refused) and the report."""

    model: LoadedModel
    report: CompressionReport


def compress(model: LoadedModel, holdout: pa.Table, metric: Metric = "roc_auc", tolerance: float = 0.001) -> Compressed:
    """Make the champion smaller or faster, within `tolerance` of `metric` on the holdout.

    Raises GateClosed where the holdout has one class only.
    """
    y, known = labels(holdout, model.plan)
    rows, y, weight = holdout.filter(pa.array(known)).combine_chunks(), y[known], _weight(holdout)[known]
    halves = []
    for first in (0, 1):
        at = np.arange(first, len(y), 2)
        check_holdout(y[at], np.zeros(len(at)), weight[at])
        halves.append(Half(rows.take(pa.array(at)), y[at], weight[at]))
    choose, measure = halves
    before = score_batch(choose.rows, model)
    method, smaller = "kept as it is", model
    for name, attempt in _attempts(model):
        method, smaller = name, attempt
        after = score_batch(choose.rows, attempt)
        close = not isinstance(attempt.estimator, AdditiveModel) or np.abs(before - after).max() <= SAME
        # half the tolerance, so that the other rows seldom refuse what these chose
        if close and _loss(before, after, choose, metric) <= tolerance / 2:
            break
    else:
        method, smaller = "kept as it is", model
    return _measured(model, smaller, method, measure, (metric, tolerance))


def _attempts(model: LoadedModel) -> Iterator[tuple[str, LoadedModel]]:
    """Smaller forms, the smallest first."""
    family, steps = model.info.family, getattr(model.estimator, "named_steps", None)
    if steps is None:  # compressed already
        return
    if family in ("logistic_regression", "sgd", "naive_bayes"):
        yield "additive tables", LoadedModel(make_additive(model.estimator, model.plan), model.info)
        return
    attribute = {"random_forest": "estimators_", "hist_gradient_boosting": "_predictors"}.get(family)
    if attribute is None:
        return
    classifier = steps["classify"]
    members = getattr(classifier, attribute)
    for share in SHARES:
        count = max(1, round(len(members) * share))
        fewer = copy.copy(classifier)
        setattr(fewer, attribute, members[:count])
        if family == "random_forest":
            fewer.n_estimators = count
        estimator = copy.copy(model.estimator)
        estimator.steps = [*model.estimator.steps[:-1], ("classify", fewer)]
        what = "trees" if family == "random_forest" else "iterations"
        yield f"first {count} of {len(members)} {what}", LoadedModel(estimator, model.info)


def _measured(
    model: LoadedModel, smaller: LoadedModel, method: str, half: Half, rule: tuple[Metric, float]
) -> Compressed:
    metric, tolerance = rule
    before, seconds_before = _timed(model, half.rows)
    after, seconds_after = (before, seconds_before) if smaller is model else _timed(smaller, half.rows)
    loss = _loss(before, after, half, metric)
    size_before, size_after = _size(model), _size(smaller)
    gains = size_after < size_before or seconds_after < seconds_before
    accepted = smaller is not model and loss <= tolerance and gains
    if smaller is model:
        reason = f"no smaller form of {model.info.family} within {tolerance:g} of {metric}"
    elif accepted:
        reason = f"{method}: loses {max(loss, 0.0):.2g} of {metric}, allowed is {tolerance:g}"
    else:
        reason = f"{method}: refused, loses {loss:.2g} of {metric}, allowed is {tolerance:g}"
    report = CompressionReport(
        method=method, accepted=accepted, reason=reason, metric=metric, tolerance=tolerance, loss=loss,
        largest_difference=float(np.abs(before - after).max()), rows=len(half.y),
        size_before=size_before, size_after=size_after, seconds_before=seconds_before, seconds_after=seconds_after,
    )  # fmt: skip
    return Compressed(smaller if accepted else model, report)


def _loss(before: Array, after: Array, half: Half, metric: Metric) -> float:
    values = []
    for score in (before, after):
        ranked = Ranked.of(half.y, score, f1_threshold(score, half.weight))
        values.append(float(ranked.values(metric, half.weight[ranked.order][None, :])[0]))
    loss = values[1] - values[0] if metric in LOWER_IS_BETTER else values[0] - values[1]
    if not np.isfinite(loss):
        raise GateClosed(f"{metric} isn't defined on the holdout")
    return loss


def _timed(model: LoadedModel, rows: pa.Table) -> tuple[Array, float]:
    scorer, best = Scorer(model), np.inf
    for _ in range(SPEED_RUNS):
        start = time.perf_counter()
        score = scorer.score(rows)
        best = min(best, time.perf_counter() - start)
    return score, float(best)


def _size(model: LoadedModel) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        info = write_model(Path(scratch), model.estimator, model.info)
        return (Path(scratch) / FILES[info.format]).stat().st_size


def _weight(table: pa.Table) -> Array:
    if "weight" not in table.column_names:
        return np.ones(table.num_rows)
    return np.asarray(table.column("weight").combine_chunks().cast(pa.float64()).fill_null(0.0).to_numpy())
