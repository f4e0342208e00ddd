"""The job feature_stats: the same statistics whatever the number of tasks, from tables and from raw files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.data.raw import Split
from millrace.data.stats import Stats
from millrace.mapreduce.job import JobPlan
from millrace.mapreduce.run import run_job
from millrace.mapreduce.splits import plan_splits
from millrace.spec import Pipeline
from millrace.storage.files import list_files
from millrace.storage.parts import PartWriter
from mrjobs.feature_stats import FeatureStats

PIPELINE = Pipeline.model_validate(
    {
        "name": "p",
        "source": {"uri": "x", "time": "t"},
        "columns": {
            "t": {"type": "timestamp", "role": "time"},
            "fare": {"type": "float64", "role": "numeric"},
            "note": {"type": "string", "role": "ignore"},
            "paid": {"type": "int8", "role": "label"},
        },
        "clean": {"note": "drop"},
    }
)


def measure(splits: list[Split], tasks: int, runner: str = "inline", **params: Any) -> dict[str, Any]:
    pairs = run_job(FeatureStats, JobPlan(pipeline=PIPELINE, out="", params=params), splits, runner=runner, tasks=tasks)
    return {interval: Stats.from_bytes(base64.b64decode(value)).to_dict() for interval, value in pairs}


@pytest.fixture
def parts(tmp_path: Path) -> list[Split]:
    schema = pa.schema([("t", pa.timestamp("us")), ("fare", pa.float64()), ("paid", pa.int8())])
    splits = []
    for day, fares in (("2018-04-01", [1.0, None]), ("2018-04-01", [4.0, 1.0]), ("2018-04-02", [8.0, 8.0])):
        with PartWriter(str(tmp_path), {"data_interval": day}, schema) as writer:
            columns = {"t": pa.array([0, 1], pa.timestamp("us")), "fare": fares, "paid": pa.array([1, 0], pa.int8())}
            writer.write(pa.table(columns).cast(schema))
            part = writer.close()
        splits.append(Split(f"{tmp_path}/{part.path}", "parquet", 0, 0, 1, None, day, part.size))
    return splits


def test_statistics_of_each_interval(parts: list[Split]) -> None:
    found = measure(parts, 1)
    assert list(found) == ["2018-04-01", "2018-04-02"]
    assert list(found["2018-04-01"]["columns"]) == ["t", "fare", "paid"]
    fare = found["2018-04-01"]["columns"]["fare"]
    assert (fare["rows"], fare["nulls"], fare["mean"], fare["sum"]) == (4, 1, 2.0, 6.0)
    assert fare["top"][0] == {"value": 1.0, "count": 2, "error": 0, "share": 0.5, "label_rates": {"0": 0.5, "1": 0.5}}
    assert found["2018-04-02"]["classes"] == {"0": 1, "1": 1}


def test_equal_for_any_number_of_tasks(parts: list[Split]) -> None:
    assert measure(parts, 3, "local") == measure(parts, 1)


def test_raw_files_by_the_time_of_each_row(tmp_path: Path) -> None:
    path = tmp_path / "rides.csv"
    path.write_text(
        "t,fare,note,paid\n2018-04-01 05:00:00,1.5,x,1\n2018-04-02 05:00:00,cheap,y,0\n2018-04-01 06:00:00,2.5,,0\n"
    )
    found = measure(plan_splits(list_files([str(path)]), PIPELINE), 1, raw=True)
    assert {day: stats["rows"] for day, stats in found.items()} == {"2018-04-01": 2, "2018-04-02": 1}
    assert found["2018-04-01"]["columns"]["fare"]["max"] == 2.5
    assert found["2018-04-02"]["columns"]["fare"]["nulls"] == 1
