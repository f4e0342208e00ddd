"""Training: the sample table in, a candidate model out. Same sample, pipeline and seed: same candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from millrace.model.features import FeaturePlan
from millrace.model.fitting import fit_rows
from millrace.model.metrics import METRICS, Ranked, f1_threshold
from millrace.model.model_file import LoadedModel, ModelInfo
from millrace.model.prepare import prepare
from millrace.model.tune import Trial, search
from millrace.spec import Pipeline

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Candidate:
    """A fitted model that isn't in the registry yet.

    `metrics` are those of the training rows themselves (`train_…`, optimistic by nature) and the counts of rows;
    `ranking` holds the features' mutual information with the label where a selection was asked for.
    """

    estimator: Any
    plan: FeaturePlan
    family: str
    params: dict[str, Any]
    odds: float
    metrics: dict[str, float]
    notes: list[str]
    trials: list[Trial] = field(default_factory=list)
    ranking: list[tuple[str, float]] = field(default_factory=list)

    def model(self, pipeline: Pipeline, interval: str, versions: dict[str, int] | None = None) -> LoadedModel:
        """The candidate as a model that can score and be written."""
        info = ModelInfo(
            pipeline=pipeline.name,
            family=pipeline.train.model,
            interval=interval,
            plan=self.plan,
            params=self.params,
            odds=self.odds,
            versions=versions or {},
            metrics=dict(self.metrics),
            notes=self.notes,
        )
        return LoadedModel(self.estimator, info)


def fit(sample: pa.Table, pipeline: Pipeline, seed: int, progress: Progress | None = None) -> Candidate:
    """Fit the pipeline's model on a sample.

    Rows count by `weight` (1 / inclusion probability) where the sample has it, times class weights where asked for.
    With `train.tune`, hyperparameters are searched first. `progress` is called with steps done and in all.

    Raises GateClosed where the sample is empty, the label has one class or no feature is usable; RequestError for
    parameters that the model doesn't have.
    """
    train = pipeline.train
    steps = 2 + (train.tune.trials if train.tune else 0)
    report = progress or (lambda done, total: None)
    report(0, steps)
    prepared = prepare(sample, pipeline)
    params, trials = dict(train.params), []
    if train.tune is not None:
        trials = search(prepared, pipeline, seed, lambda done, total: report(done, total + 2))
        params = {**params, **trials[0].params}
        steps = 2 + len(trials)
    report(steps - 1, steps)
    fitted = fit_rows(prepared, train, params, seed)
    score = fitted.probabilities(prepared.frame)
    ranked = Ranked.of(prepared.y, score, f1_threshold(score, prepared.weight))
    weight = prepared.weight[ranked.order][None, :]
    metrics = {f"train_{metric}": float(ranked.values(metric, weight)[0]) for metric in METRICS}
    metrics.update({name: float(value) for name, value in prepared.counts.items()}, prior=prepared.prior)
    report(steps, steps)
    return Candidate(
        estimator=fitted.estimator,
        plan=prepared.plan,
        family=train.model,
        params=params,
        odds=fitted.odds,
        metrics=metrics,
        notes=[*prepared.plan.notes, *fitted.notes],
        trials=trials,
        ranking=prepared.ranking,
    )
