"""Trees as bit masks score as scikit-learn's own prediction does, to the last bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.model.boosted import make_boosted
from millrace.model.features import Feature, FeaturePlan, to_frame
from millrace.model.model_file import LoadedModel
from millrace.model.score import score_batch
from millrace.model.threads import limit_threads
from millrace.model.train import fit
from millrace.spec import Features, Pipeline, Train

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]
ODD = pa.table(
    {
        "amount": [None, 1e300, -2.0, float("nan"), float("-inf")],
        "city": ["Atlantis", None, "c1", "c0", ""],
        "shop": [7, 10**9, None, 0, -1],
    }
)


def predicted(model: LoadedModel, table: pa.Table) -> Any:
    with limit_threads(1):
        return model.estimator.predict_proba(to_frame(table, model.plan))[:, 1]


@pytest.mark.parametrize(
    ("params", "features"),
    [
        ({}, Features()),
        ({"max_leaf_nodes": 7, "max_iter": 30}, Features(max_categories=2)),
        ({"max_leaf_nodes": 64, "min_samples_leaf": 1, "max_iter": 20}, Features()),
        ({"max_leaf_nodes": 5, "max_bins": 3, "max_iter": 40, "categorical_features": None}, Features()),
    ],
)
def test_masks_score_as_the_trees_they_came_from(
    params: dict[str, Any], features: Features, shop_pipeline: Make, shop: Rows
) -> None:
    pipeline = shop_pipeline(train=Train(model="hist_gradient_boosting", params=params, features=features))
    model = fit(shop(3000), pipeline, 1).model(pipeline, "all")
    trees = make_boosted(model.estimator, model.plan)
    assert trees is not None
    for table in (shop(40_000, seed=2), ODD, ODD.drop_columns(["amount", "city"]), ODD.slice(0, 0)):
        own = predicted(model, table) if table.num_rows else []
        np.testing.assert_allclose(score_batch(table, model), own, atol=1e-14, rtol=0)


def test_trees_of_more_leaves_and_mixed_features_are_left_to_scikit_learn(shop_pipeline: Make, shop: Rows) -> None:
    many = Train(model="hist_gradient_boosting", params={"max_leaf_nodes": 65, "min_samples_leaf": 1, "max_iter": 5})
    mixed = Train(model="hist_gradient_boosting", features=Features(pca=3, max_categories=2))
    for train in (many, mixed):
        pipeline = shop_pipeline(train=train)
        model = fit(shop(3000), pipeline, 1).model(pipeline, "all")
        assert make_boosted(model.estimator, model.plan) is None
        np.testing.assert_allclose(score_batch(ODD, model), predicted(model, ODD), atol=1e-14, rtol=0)


NUMBER = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-1e40, 1e40))


@given(values=st.lists(NUMBER, min_size=40, max_size=60), probes=st.lists(NUMBER, min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_any_threshold_and_any_missing_value(values: list[float | None], probes: list[float | None]) -> None:
    """Columns of few and of extreme numbers, with and without missing values; probes between, on and beyond."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline as Steps
    from sklearn.preprocessing import FunctionTransformer

    plan = FeaturePlan(features=[Feature(name=name, column=name, kind="numeric") for name in ("x", "y")])
    values = [*values, 0.0, 1.0]  # scikit-learn can't fit a column of missing values alone
    rows = len(values)
    table = pa.table({"x": pa.array(values, pa.float64()), "y": pa.array(values[::-1], pa.float64())})
    frame = to_frame(table, plan)
    label = (np.arange(rows) % 3 == 0) ^ frame["x"].isna().to_numpy()
    if label.all() or not label.any():
        label[0] = not label[0]
    classifier = HistGradientBoostingClassifier(max_iter=6, min_samples_leaf=1, early_stopping=False)
    with limit_threads(1):
        classifier.fit(frame.to_numpy(), label)
    steps = [("encode", FunctionTransformer(np.asarray)), ("shape", "passthrough"), ("classify", classifier)]
    trees = make_boosted(Steps(steps), plan)
    assert trees is not None
    asked = pa.table({"x": pa.array([*probes, *values], pa.float64()), "y": pa.array([*probes, *values], pa.float64())})
    with limit_threads(1):
        own = classifier.predict_proba(to_frame(asked, plan).to_numpy())[:, 1]
    np.testing.assert_allclose(trees.probabilities(asked), own, atol=1e-14, rtol=0)
