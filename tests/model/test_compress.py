from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.errors import CorruptData, GateClosed
from millrace.model.additive import AdditiveModel
from millrace.model.compress import compress
from millrace.model.model_file import read_model, write_model
from millrace.model.score import score_batch
from millrace.model.train import fit
from millrace.spec import Features, ModelName, Pipeline, Train

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ("logistic_regression", Features()),
        ("logistic_regression", Features(pca=4)),
        ("sgd", Features(max_categories=2)),
        ("naive_bayes", Features()),
        ("naive_bayes", Features(max_categories=2)),
    ],
)
def test_additive_tables_score_as_the_pipeline_they_came_from(
    model: ModelName, features: Features, shop_pipeline: Make, shop: Rows, tmp_path: Path
) -> None:
    pipeline = shop_pipeline(train=Train(model=model, features=features, class_weight="balanced"))
    original = fit(shop(2000), pipeline, 1).model(pipeline, "all")
    result = compress(original, shop(2000, seed=1))
    assert result.report.accepted
    assert result.report.size_after < result.report.size_before
    write_model(tmp_path, result.model.estimator, result.model.info)
    odd = pa.table({"amount": [None, 1e9, -2.0], "city": ["Atlantis", None, "c1"], "shop": [7, 10**9, None]})
    for table in (shop(2000, seed=2), odd, odd.drop_columns(["amount", "city"])):
        np.testing.assert_allclose(
            score_batch(table, read_model(tmp_path)), score_batch(table, original), atol=1e-9, rtol=0
        )


def test_additive_tables_score_without_pandas_and_scikit_learn(shop_pipeline: Make, shop: Rows, tmp_path: Path) -> None:
    """Each task of a scoring job is a process of its own: what it needn't import, it needn't wait for."""
    model = fit(shop(2000), shop_pipeline(), 1).model(shop_pipeline(), "all")
    write_model(tmp_path, compress(model, shop(2000, seed=1)).model.estimator, model.info)
    pq.write_table(shop(100), tmp_path / "rows.parquet")
    script = """
import sys
import pyarrow.parquet as pq
from millrace.model.model_file import read_model
from millrace.model.score import score_batch
rows = pq.ParquetFile(f"{sys.argv[1]}/rows.parquet", read_dictionary=["city"]).read()
scores = score_batch(rows, read_model(sys.argv[1]))
print(scores.sum(), *sorted({"pandas", "sklearn", "scipy", "polars"} & set(sys.modules)))
"""
    told = subprocess.run([sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True).stdout
    assert told.split() == [str(score_batch(shop(100), read_model(tmp_path)).sum())]


def test_probabilities_that_arent_those_of_the_log_odds_have_no_additive_form(shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model="sgd", params={"loss": "modified_huber"}))
    original = fit(shop(2000), pipeline, 1).model(pipeline, "all")
    result = compress(original, shop(2000, seed=1))
    assert not result.report.accepted
    assert result.model is original


@pytest.mark.parametrize("model", ["random_forest", "hist_gradient_boosting"])
def test_fewer_trees_within_the_tolerance(model: ModelName, shop_pipeline: Make, shop: Rows, tmp_path: Path) -> None:
    pipeline = shop_pipeline(train=Train(model=model, params={"random_forest": {"n_estimators": 40}}.get(model, {})))
    original = fit(shop(), pipeline, 1).model(pipeline, "all")
    result = compress(original, shop(seed=1), tolerance=0.05)
    assert result.report.accepted
    assert result.report.loss <= 0.05
    assert result.report.size_after < 0.6 * result.report.size_before
    write_model(tmp_path, result.model.estimator, result.model.info)
    fresh = shop(500, seed=2)
    np.testing.assert_array_equal(score_batch(fresh, read_model(tmp_path)), score_batch(fresh, result.model))
    kept = compress(original, shop(seed=1), tolerance=-1.0)  # nothing is that good: refused
    assert not kept.report.accepted
    assert kept.model is original


def test_the_original_keeps_all_its_trees(shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model="random_forest", params={"n_estimators": 16}))
    original = fit(shop(800), pipeline, 1).model(pipeline, "all")
    compress(original, shop(800, seed=1), tolerance=1.0)
    assert len(original.estimator.named_steps["classify"].estimators_) == 16


def test_a_decision_tree_is_kept_and_so_is_what_was_compressed(shop_pipeline: Make, shop: Rows) -> None:
    pipeline = shop_pipeline(train=Train(model="decision_tree"))
    result = compress(fit(shop(500), pipeline, 1).model(pipeline, "all"), shop(500, seed=1))
    assert (result.report.accepted, result.report.method) == (False, "kept as it is")
    linear = compress(fit(shop(500), shop_pipeline(), 1).model(shop_pipeline(), "all"), shop(500, seed=1))
    assert compress(linear.model, shop(500, seed=1)).model is linear.model


def test_a_holdout_of_one_class_closes_the_gate(shop_pipeline: Make, shop: Rows) -> None:
    model = fit(shop(500), shop_pipeline(), 1).model(shop_pipeline(), "all")
    with pytest.raises(GateClosed):
        compress(model, shop(100).set_column(4, "bought", pa.array(np.ones(100, np.int8))))


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_bytes_that_arent_tables_are_corrupt(content: bytes) -> None:
    with pytest.raises(CorruptData):
        AdditiveModel.from_bytes(content)
