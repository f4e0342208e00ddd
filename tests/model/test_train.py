from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest

from millrace.errors import GateClosed, RequestError
from millrace.model.features import labels, to_frame
from millrace.model.prepare import prepare
from millrace.model.resample import class_weights, correct, odds_factor
from millrace.model.score import score_batch
from millrace.model.train import Candidate, fit
from millrace.spec import Features, ModelName, Pipeline, Train

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]
MODELS = get_args(ModelName)
SMALL = {"random_forest": {"n_estimators": 20}, "hist_gradient_boosting": {"max_iter": 30}}


def auc(candidate: Candidate, pipeline: Pipeline, table: pa.Table) -> float:
    from sklearn.metrics import roc_auc_score

    y, _ = labels(table, candidate.plan)
    return float(roc_auc_score(y, score_batch(table, candidate.model(pipeline, "all"))))


@pytest.mark.parametrize("model", MODELS)
def test_each_model_learns_and_scores_what_it_never_saw(model: ModelName, shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model=model, params=SMALL.get(model, {})))
    candidate = fit(shop(), pipeline, 1)
    assert auc(candidate, pipeline, shop(seed=1)) > 0.68  # the true probabilities reach 0.81
    odd = pa.table({"city": ["Atlantis", None], "shop": ["no number", "7"], "new": [1, 2]})
    scores = score_batch(odd, candidate.model(pipeline, "all"))
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_same_sample_in_any_order_gives_the_same_scores(model: ModelName, shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model=model, params=SMALL.get(model, {})))
    table = shop(1500)
    shuffled = table.take(np.random.default_rng(5).permutation(1500))
    first, second = (score_batch(table, fit(t, pipeline, 1).model(pipeline, "all")) for t in (table, shuffled))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("model", MODELS)
def test_a_row_of_weight_3_counts_as_three_rows(model: ModelName, shop_pipeline: Make, shop: Rows) -> None:
    """Rows of shop 7 positive and weighted up: the model's mean there moves as their weight says."""
    pipeline = shop_pipeline(train=Train(model=model, params=SMALL.get(model, {})))
    table = shop(3000)
    y = table["bought"].to_numpy()
    weighted = table.append_column("weight", pa.array(np.where(y == 1, 3.0, 1.0)))
    plain, heavy = (score_batch(table, fit(t, pipeline, 1).model(pipeline, "all")) for t in (table, weighted))
    share = 3 * y.sum() / (3 * y.sum() + (1 - y).sum())
    assert heavy.mean() > plain.mean() + 0.1
    assert np.average(heavy, weights=np.where(y == 1, 3.0, 1.0)) == pytest.approx(share, abs=0.06)


def test_rows_without_label_or_weight_are_counted_not_learned(shop_pipeline: Make, shop: Rows) -> None:
    table = shop(500)
    label = pa.array(table["bought"].to_numpy(), mask=np.arange(500) < 20)
    table = table.set_column(4, "bought", label).append_column("weight", pa.array([1.0] * 490 + [0.0] * 10))
    assert prepare(table, shop_pipeline()).counts | {"positives": 0} == {
        "rows": 470,
        "positives": 0,
        "label_unknown": 20,
        "without_weight": 10,
    }


def test_one_class_closes_the_gate(shop_pipeline: Make, shop: Rows) -> None:
    table = shop(100)
    only = table.set_column(4, "bought", pa.array(np.zeros(100, np.int8)))
    with pytest.raises(GateClosed, match=r"expected exactly two values; found 1 \(0: 100\)"):
        fit(only, shop_pipeline(), 1)
    with pytest.raises(GateClosed, match="no labelled row to train on"):
        fit(table.slice(0, 0), shop_pipeline(), 1)


@pytest.mark.parametrize(
    ("params", "hint"), [({"CC": 1}, "did you mean 'C'?"), ({"C": -1}, "can't be fitted"), ({"C": "x"}, "can't be")]
)
def test_wrong_parameters_are_named(params: dict[str, object], hint: str, shop_pipeline: Make, shop: Rows) -> None:
    with pytest.raises(RequestError) as error:
        fit(shop(300), shop_pipeline(train=Train(params=params)), 1)
    assert hint in str(error.value)


def test_select_keeps_the_features_that_tell_most(shop_pipeline: Make, shop: Rows) -> None:
    candidate = fit(shop(), shop_pipeline(train=Train(features=Features(select=2))), 1)
    assert set(candidate.plan.names) == {"amount", "shop"} or set(candidate.plan.names) == {"amount", "city"}
    assert len(candidate.ranking) == 5


def test_naive_bayes_refuses_components(shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model="naive_bayes", features=Features(pca=2)))
    with pytest.raises(RequestError, match="naive_bayes can't be fitted: found Negative values"):
        fit(shop(300), pipeline, 1)


@pytest.mark.parametrize("components", [2, 0.8, 500])
def test_pca_takes_a_number_or_a_share(components: float, shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(features=Features(pca=components)))
    assert auc(fit(shop(1000), pipeline, 1), pipeline, shop(1000)) > 0.6


@pytest.mark.parametrize("mode", ["stochastic", "mini_batch", "online"])
def test_sgd_modes_all_learn(mode: str, shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model="sgd", params={"mode": mode, "chunk_rows": 500}))
    assert auc(fit(shop(), pipeline, 1), pipeline, shop(seed=1)) > 0.7


def test_odds_factor_undoes_class_weights_exactly() -> None:
    y, weight = np.array([0] * 90 + [1] * 10), np.ones(100)
    assert np.average(y, weights=class_weights(y, weight)) == pytest.approx(0.5)
    assert correct(np.array([0.5]), odds_factor(0.1, 0.5))[0] == pytest.approx(0.1)


@pytest.mark.parametrize("model", ["logistic_regression", "hist_gradient_boosting"])
@pytest.mark.parametrize("change", [{"resample": "smote"}, {"resample": "under"}, {"class_weight": "balanced"}])
def test_rebalanced_models_stay_calibrated(
    model: ModelName, change: dict[str, str], shop_pipeline: Make, shop: Rows
) -> None:
    pipeline = shop_pipeline(train=Train(model=model, params=SMALL.get(model, {}), **change))
    candidate = fit(shop(6000), pipeline, 1)
    fresh = shop(6000, seed=2)
    y, _ = labels(fresh, candidate.plan)
    scores = score_batch(fresh, candidate.model(pipeline, "all"))
    assert candidate.odds < 0.7
    assert scores.mean() == pytest.approx(y.mean(), abs=0.03)
    assert auc(candidate, pipeline, fresh) > 0.7


def test_a_high_category_doesnt_see_its_own_label(shop_pipeline: Make) -> None:
    """Pure noise with 3 rows a category: without cross-fitting the training rows would look well told apart."""
    draw = np.random.default_rng(0)
    table = pa.table(
        {
            "amount": draw.normal(size=3000),
            "shop": draw.integers(0, 1000, 3000),
            "bought": draw.integers(0, 2, 3000).astype(np.int8),
        }
    )
    pipeline = shop_pipeline(train=Train(model="hist_gradient_boosting"))
    fresh = table.set_column(2, "bought", pa.array(draw.integers(0, 2, 3000).astype(np.int8)))
    assert auc(fit(table, pipeline, 1), pipeline, fresh) == pytest.approx(0.5, abs=0.05)


def test_scores_are_the_estimators_own_probabilities(shop_pipeline: Make, shop: Rows) -> None:
    pipeline, table = shop_pipeline(), shop(1000)
    candidate = fit(table, pipeline, 1)
    own = candidate.estimator.predict_proba(to_frame(table, candidate.plan))[:, 1]
    whole = score_batch(table, candidate.model(pipeline, "all"))
    np.testing.assert_allclose(whole, own, atol=1e-12)
    pieces = [score_batch(table.slice(start, 77), candidate.model(pipeline, "all")) for start in range(0, 1000, 77)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-12)


@pytest.mark.parametrize("model", ["logistic_regression", "hist_gradient_boosting"])
def test_a_rare_value_without_a_positive_isnt_taken_for_certain(model: ModelName, shop_pipeline: Make) -> None:
    """Shops of 3 rows and of 100, all with the same 1 % of positives: none of them is told apart from the others.

    A mean that doesn't shrink would be 0 for nearly every small shop, far from the few that had a positive.
    """
    draw = np.random.default_rng(3)
    shops = np.concatenate([np.repeat(np.arange(2000), 3), np.repeat(np.arange(2000, 2060), 100)])
    table = pa.table({"shop": shops, "bought": (draw.random(len(shops)) < 0.01).astype(np.int8)})
    candidate = fit(table, shop_pipeline(train=Train(model=model)), 1)
    means = candidate.estimator.named_steps["encode"].transform(to_frame(table, candidate.plan)).ravel()
    prior = candidate.metrics["prior"]
    assert means[:6000].min() > 0.5 * prior
    assert means.max() < 5 * prior
