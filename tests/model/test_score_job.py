from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.data.raw import Split
from millrace.errors import CorruptData, InputError
from millrace.mapreduce.job import JobPlan
from millrace.mapreduce.run import run_job
from millrace.model.model_file import read_model, write_model
from millrace.model.score import score_batch
from millrace.model.train import fit
from millrace.spec import Pipeline, Shard
from mrjobs.score import Score, score_schema

Make = Callable[..., Pipeline]
Rows = Callable[..., pa.Table]


def split(path: Path, interval: str | None, groups: tuple[int, ...] | None = None) -> Split:
    return Split(str(path), "parquet", 0, 0, 1, groups, interval, path.stat().st_size)


@pytest.fixture
def plan(shop_pipeline: Make, shop: Rows, tmp_path: Path) -> JobPlan:
    pipeline = shop_pipeline(shard=Shard(by="shop"))
    model = fit(shop(500), pipeline, 1).model(pipeline, "all")
    write_model(tmp_path / "model", model.estimator, model.info)
    params = {"model": str(tmp_path / "model"), "model_version": 4, "data_version": 12}
    return JobPlan(pipeline=pipeline, out=str(tmp_path / "scores"), params=params)


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_scores_equal_predict_proba_row_by_row(runner: str, plan: JobPlan, shop: Rows, tmp_path: Path) -> None:
    table = shop(1000, seed=1)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    splits = [split(tmp_path / "a.parquet", "2018-03-01", groups) for groups in ((0, 1), (2, 3))]
    pairs = run_job(Score, plan, splits, runner=runner, tasks=1)
    assert [key for key, _ in pairs] == ["2018-03-01"] * 2
    assert sum(value["ledger"]["rows_out"] for _, value in pairs) == 1000
    scored = pa.concat_tables(
        pq.read_table(f"{plan.out}/{value['part']['path']}", partitioning=None) for _, value in pairs
    )
    model = read_model(plan.params["model"])
    own = dict(zip(table["row_id"].to_pylist(), score_batch(table, model).tolist(), strict=True))
    expected = [own[row] for row in scored["row_id"].to_pylist()]
    np.testing.assert_allclose(scored["score"].to_numpy(), expected, atol=1e-9, rtol=0)
    assert scored.column_names == ["row_id", "shop", "at", "score", "model_version", "data_version"]
    assert set(scored["model_version"].to_pylist()) == {4}
    assert set(scored["data_version"].to_pylist()) == {12}


def test_a_part_without_a_column_and_with_new_categories_is_scored(plan: JobPlan, tmp_path: Path) -> None:
    rows = pa.table({"row_id": [1, 2], "city": ["Atlantis", None], "extra": ["x", "y"]})
    pq.write_table(rows, tmp_path / "b.parquet")
    [(interval, value)] = run_job(Score, plan, [split(tmp_path / "b.parquet", "2018-03-02")])
    assert (interval, value["ledger"]["rows_in"]) == ("2018-03-02", 2)
    scored = pq.read_table(f"{plan.out}/{value['part']['path']}", partitioning=None)
    assert scored["shop"].to_pylist() == [None, None]
    assert all(0 < score < 1 for score in scored["score"].to_pylist())


def test_the_schema_names_each_column_once(shop_pipeline: Make) -> None:
    by_time = score_schema(shop_pipeline(shard=Shard(by="at", method="range")))
    assert by_time.names == ["row_id", "at", "score", "model_version", "data_version", "data_interval"]


def test_a_broken_part_and_a_missing_model_are_named(plan: JobPlan, shop: Rows, tmp_path: Path) -> None:
    (tmp_path / "c.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(CorruptData, match="c.parquet"):
        run_job(Score, plan, [split(tmp_path / "c.parquet", "all")])
    pq.write_table(shop(10), tmp_path / "d.parquet")
    lost = plan.model_copy(update={"params": {"model": str(tmp_path / "lost")}})
    with pytest.raises(InputError, match=r"lost/model.json|model.json"):
        run_job(Score, lost, [split(tmp_path / "d.parquet", "all")])
