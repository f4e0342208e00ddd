"""Hyperparameter search: prepared rows and a space in, trials with their fold scores out, the best first.

Folds follow time where the pipeline has it (fit on the past, score the next stretch), else they are stratified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from millrace.errors import GateClosed, RequestError
from millrace.model.families import FAMILIES
from millrace.model.fitting import fit_rows
from millrace.model.metrics import LOWER_IS_BETTER, Ranked, f1_threshold
from millrace.model.prepare import Prepared
from millrace.spec import Metric, Pipeline, Tune

Array = np.ndarray[Any, Any]
Folds = list[tuple[Array, Array]]
GRID_POINTS = 5  # points that a grid takes from a {low, high} range
GRID_LIMIT = 1000


@dataclass(frozen=True)
class Trial:
    """One trial: its number from 0 on, parameters, the metric on each fold, and their mean."""

    number: int
    params: dict[str, Any]
    folds: tuple[float, ...]
    score: float


def search(
    prepared: Prepared, pipeline: Pipeline, seed: int, progress: Callable[[int, int], None] | None = None
) -> list[Trial]:
    """Search the space of `train.tune`, or the family's own, by `promote.metric`.

    `bayesian` is Optuna's TPE and `random` draws, both `trials` times; `grid` takes every combination (ranges as 5
    points). Trials run in order and are the same for the same seed. Returns all of them, the best first, ties by
    number.

    Raises RequestError for a grid that is too large, GateClosed where no fold has both classes.
    """
    tune = pipeline.train.tune
    assert tune is not None
    metric = pipeline.promote.metric
    folds = make_folds(prepared, tune.folds, seed)
    space = tune.space or FAMILIES[pipeline.train.model].space
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    trials: list[Trial] = []

    def run(params: dict[str, Any], total: int) -> float:
        merged = {**pipeline.train.params, **params}
        scores = []
        for fit_on, score_on in folds:
            fitted = fit_rows(prepared, pipeline.train, merged, seed, fit_on)
            scores.append(_score(prepared, fitted.probabilities(prepared.frame.iloc[score_on]), score_on, metric))
        mean = float(np.mean(scores))
        trials.append(Trial(len(trials), params, tuple(scores), mean))
        if progress is not None:
            progress(len(trials), total)
        return sign * mean

    if tune.search == "grid":
        combinations = list(_grid(space))
        for params in combinations:
            run(params, len(combinations))
    else:
        _optuna(space, tune, seed, lambda params: run(params, tune.trials))
    return sorted(trials, key=lambda trial: (-sign * trial.score, trial.number))


def make_folds(prepared: Prepared, count: int, seed: int) -> Folds:
    """Pairs (rows to fit, rows to score). Rows stand in time order: fold k scores the k-th of `count` later stretches
    and fits on all before it; rows of one moment are never divided. Without time, stratified folds.
    """
    folds: Folds = []
    if prepared.moment is not None and len(np.unique(prepared.moment)) > count:
        edges = np.linspace(0, len(prepared.y), count + 2).astype(int)
        starts = np.searchsorted(prepared.moment, prepared.moment[edges[1:-1]], side="left")
        ends = np.append(starts[1:], len(prepared.y))
        folds = [(np.arange(start), np.arange(start, end)) for start, end in zip(starts, ends, strict=True)]
    else:
        from sklearn.model_selection import StratifiedKFold

        rare = int(min(prepared.y.sum(), len(prepared.y) - prepared.y.sum()))
        splitter = StratifiedKFold(max(2, min(count, rare)), shuffle=True, random_state=seed % 2**32)
        folds = list(splitter.split(prepared.frame, prepared.y))
    usable = [fold for fold in folds if all(1 < prepared.y[part].sum() < len(part) - 1 for part in fold)]
    if not usable:
        raise GateClosed(
            "too few rows to tune",
            expected="both classes in a fold",
            found=f"{int(prepared.y.sum())} positive of {len(prepared.y)} rows",
            hint="leave train.tune out, or sample more rows",
        )
    return usable


def _score(prepared: Prepared, score: Array, rows: Array, metric: Metric) -> float:
    weight = prepared.weight[rows]
    ranked = Ranked.of(prepared.y[rows], score, f1_threshold(score, weight))
    return float(ranked.values(metric, weight[ranked.order][None, :])[0])


def _grid(space: dict[str, Any]) -> Iterator[dict[str, Any]]:
    choices = {name: _points(values) for name, values in space.items()}
    size = int(np.prod([len(values) for values in choices.values()]))
    if size > GRID_LIMIT:
        raise RequestError(
            "train.tune.space is too large for a grid",
            expected=f"at most {GRID_LIMIT} combinations",
            found=str(size),
            hint="search: random or bayesian takes `trials` of them",
        )
    for combination in product(*choices.values()):
        yield dict(zip(choices, combination, strict=True))


def _points(values: Any) -> list[Any]:
    if isinstance(values, list):
        return values
    spaced = np.geomspace if values.get("log") else np.linspace
    points = spaced(values["low"], values["high"], GRID_POINTS).tolist()
    if _whole(values):
        return sorted({round(point) for point in points})
    return points


def _whole(values: dict[str, Any]) -> bool:
    return isinstance(values["low"], int) and isinstance(values["high"], int)


def _optuna(space: dict[str, Any], tune: Tune, seed: int, run: Callable[[dict[str, Any]], float]) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed %= 2**32
    sampler: Any
    if tune.search == "random":
        sampler = optuna.samplers.RandomSampler(seed=seed)
    else:
        sampler = optuna.samplers.TPESampler(seed=seed)

    def objective(trial: Any) -> float:
        params: dict[str, Any] = {}
        for name, values in space.items():
            if isinstance(values, list):
                params[name] = values[trial.suggest_categorical(name, list(range(len(values))))]
            elif _whole(values):
                params[name] = trial.suggest_int(name, values["low"], values["high"], log=bool(values.get("log")))
            else:
                low, high = float(values["low"]), float(values["high"])
                params[name] = trial.suggest_float(name, low, high, log=bool(values.get("log")))
        return run(params)

    optuna.create_study(direction="maximize", sampler=sampler).optimize(objective, n_trials=tune.trials)
