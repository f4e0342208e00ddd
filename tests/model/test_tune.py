from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from millrace.model.prepare import prepare
from millrace.model.train import fit
from millrace.model.tune import make_folds, search
from millrace.spec import Pipeline, Promote, Train, Tune

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]


def test_a_grid_takes_every_combination_and_the_best_comes_first(shop_pipeline: Make, shop: Rows) -> None:
    tune = Tune(search="grid", space={"C": [1e-6, 1.0], "fit_intercept": [True, False]})
    trials = search(prepare(shop(1000), shop_pipeline()), shop_pipeline(train=Train(tune=tune)), 1)
    assert sorted(trial.number for trial in trials) == [0, 1, 2, 3]
    assert [trial.score for trial in trials] == sorted((trial.score for trial in trials), reverse=True)
    assert len(trials[0].folds) == 3
    assert trials[0].score == pytest.approx(np.mean(trials[0].folds))


def test_a_range_is_five_points_of_a_grid(shop_pipeline: Make, shop: Rows) -> None:
    tune = Tune(search="grid", space={"C": {"low": 0.01, "high": 100, "log": True}}, folds=2)
    trials = search(prepare(shop(500), shop_pipeline()), shop_pipeline(train=Train(tune=tune)), 1)
    assert sorted(trial.params["C"] for trial in trials) == pytest.approx([0.01, 0.1, 1, 10, 100])


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_search_is_the_same_for_the_same_seed(kind: str, shop_pipeline: Make, shop: Rows) -> None:
    space = {"max_depth": {"low": 1, "high": 8}, "criterion": ["gini", "entropy"]}
    pipeline = shop_pipeline(train=Train(model="decision_tree", tune=Tune(search=kind, trials=6, space=space)))  # type: ignore[arg-type]
    prepared = prepare(shop(800), pipeline)
    steps: list[tuple[int, int]] = []
    first = search(prepared, pipeline, 1, lambda done, total: steps.append((done, total)))
    assert steps == [(done, 6) for done in range(1, 7)]
    assert search(prepared, pipeline, 1) == first
    assert search(prepared, pipeline, 2) != first
    assert all(isinstance(trial.params["max_depth"], int) for trial in first)


def test_the_best_parameters_are_the_candidates(shop_pipeline: Make, shop: Rows) -> None:
    tune = Tune(search="grid", space={"C": [1e-6, 1.0]})
    pipeline = shop_pipeline(train=Train(params={"max_iter": 200}, tune=tune), promote=Promote(metric="log_loss"))
    steps: list[tuple[int, int]] = []
    candidate = fit(shop(1000), pipeline, 1, lambda done, total: steps.append((done, total)))
    assert candidate.params == {"max_iter": 200, "C": 1.0}
    assert candidate.trials[0].score < candidate.trials[1].score
    assert steps[-1] == (4, 4)


def test_time_ordered_folds_fit_on_the_past(shop_pipeline: Make, shop: Rows) -> None:
    prepared = prepare(shop(1000), shop_pipeline())
    assert prepared.moment is not None
    for fit_on, score_on in make_folds(prepared, 3, 1):
        assert prepared.moment[fit_on].max() < prepared.moment[score_on].min()
    assert sum(len(score_on) for _, score_on in make_folds(prepared, 3, 1)) == 750


def test_without_time_folds_are_stratified(shop_pipeline: Make, shop: Rows) -> None:
    prepared = prepare(shop(1000).drop_columns(["at"]), shop_pipeline())
    shares = [prepared.y[score_on].mean() for _, score_on in make_folds(prepared, 4, 1)]
    assert max(shares) - min(shares) < 0.01
