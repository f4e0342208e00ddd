"""The check job: one verdict per interval, the same however large values travel, on real and on broken rows."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.data.check_verdict import Verdict
from millrace.data.stats import Stats
from millrace.mapreduce.job import JobPlan
from millrace.mapreduce.run import run_job
from millrace.mapreduce.splits import plan_splits
from millrace.spec import Pipeline
from millrace.storage.files import list_files
from mrjobs.check import Check


def run(pipeline: Pipeline, out: Path, split_size: int = 64 << 20, **params: Any) -> dict[str, Any]:
    splits = plan_splits(list_files(pipeline.source.uri), pipeline, split_size=split_size)
    return dict(run_job(Check, JobPlan(pipeline=pipeline, out=str(out), params=params), splits))


FRAUD_COLUMNS = {
    "TRANSACTION_ID": {"type": "int64", "role": "key"},
    "TX_DATETIME": {"type": "timestamp", "role": "time"},
    "CUSTOMER_ID": {"type": "string", "role": "key"},
    "TERMINAL_ID": {"type": "string", "role": "categorical"},
    "TX_AMOUNT": {"type": "float64", "role": "numeric"},
    "TX_TIME_SECONDS": {"type": "int64", "role": "ignore"},
    "TX_TIME_DAYS": {"type": "int32", "role": "ignore"},
    "TX_FRAUD": {"type": "int8", "role": "label"},
    "TX_FRAUD_SCENARIO": {"type": "int8", "role": "leak"},
}
FRAUD_CHECK = [
    {"expect": "column_values_to_be_unique", "column": "TRANSACTION_ID"},
    {"expect": "column_values_to_be_unique", "column": "CUSTOMER_ID", "mostly": 0.9},
    {"expect": "column_median_to_be_between", "column": "TX_AMOUNT", "min_value": 40, "max_value": 50},
    {"expect": "column_value_z_scores_to_be_less_than", "column": "TX_AMOUNT", "threshold": 3, "double_sided": False},
    {"expect": "compound_columns_to_be_unique", "column_list": ["CUSTOMER_ID", "TX_TIME_DAYS"], "severity": "warn"},
    {"expect": "table_row_count_to_be_between", "min_value": 9000, "max_value": 10000},
]


@pytest.mark.realdata
def test_values_by_reference_give_the_verdict_of_values_inline(
    real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    for day in ("2018-04-01", "2018-04-02"):
        shutil.copy(real_data("fraud_daily") / f"{day}.csv.gz", tmp_path)
    source = {"uri": f"{tmp_path}/*.csv.gz", "file_date": "%Y-%m-%d", "time": "TX_DATETIME"}
    pipeline = Pipeline.model_validate(
        {"name": "fraud", "source": source, "columns": FRAUD_COLUMNS, "check": FRAUD_CHECK}
    )
    inline = run(pipeline, tmp_path / "out")
    shuffled = run(pipeline, tmp_path / "out", shuffle=str(tmp_path / "shuffle"), inline_values=100)
    assert list((tmp_path / "shuffle").iterdir())
    assert {day: value["verdict"] for day, value in inline.items()} == {
        day: value["verdict"] for day, value in shuffled.items()
    }
    assert {day: value["rows"] for day, value in inline.items()} == {"2018-04-01": 9488, "2018-04-02": 9583}
    verdict = Verdict.model_validate(inline["2018-04-01"]["verdict"])
    assert [each.rule for each in verdict.unmet()] == [
        "column_values_to_be_unique(CUSTOMER_ID)",
        "column_value_z_scores_to_be_less_than(TX_AMOUNT)",
        "compound_columns_to_be_unique(CUSTOMER_ID, TX_TIME_DAYS)",
    ]
    assert Stats.from_bytes(base64.b64decode(inline["2018-04-02"]["stats"])).rows == 9583


def test_rows_are_judged_in_the_interval_of_their_time_however_the_file_is_split(tmp_path: Path) -> None:
    rows = [f"2026-01-0{1 + number % 2},{number % 7}" for number in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["t,n", *rows, "nonsense,1", "2026-01-01,1,2"]) + "\n")
    pipeline = Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": f"{tmp_path}/a.csv", "time": "t"},
            "columns": {"t": {"type": "timestamp", "role": "time"}, "n": {"type": "int64", "role": "numeric"}},
            "check": [
                {"expect": "column_values_to_be_between", "column": "n", "max_value": 5, "mostly": 0.9},
                {"expect": "table_row_count_to_equal", "value": 30},
            ],
        }
    )
    whole, cut = run(pipeline, tmp_path), run(pipeline, tmp_path, split_size=100)
    assert {name: value["verdict"] for name, value in whole.items()} == {
        name: value["verdict"] for name, value in cut.items()
    }
    counts = {name: (value["rows"], value["unreadable"]) for name, value in cut.items()}
    assert counts == {"2026-01-01": (30, 0), "2026-01-02": (30, 0), "unknown": (1, 1)}
    met = [each.success for each in Verdict.model_validate(whole["2026-01-01"]["verdict"]).outcomes]
    assert met == [False, True]
