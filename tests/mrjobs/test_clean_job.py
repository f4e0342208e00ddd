"""The job clean: raw files in, parts of the clean and quarantine tables out, the same for every cut into splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.data.clean import clean_schema
from millrace.data.clean_rejects import QUARANTINE
from millrace.mapreduce.job import JobPlan
from millrace.mapreduce.run import run_job
from millrace.mapreduce.splits import plan_splits
from millrace.spec import Pipeline
from millrace.storage.commits import Commit
from millrace.storage.files import list_files
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part
from millrace.storage.tables import Table
from mrjobs.clean import Clean

LINES = [f"2026-01-0{n % 3 + 1} 05:00:00,{n},{'x' if n % 50 == 7 else n % 40}" for n in range(1, 301)]


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    source = tmp_path / "raw" / "clicks.csv"
    source.parent.mkdir()
    source.write_text("\n".join(["t,user,n", *LINES, "2026-01-01,1", ",5,5"]) + "\n")
    columns = {
        "t": {"type": "timestamp", "role": "time"},
        "user": {"type": "int64", "role": "key"},
        "n": {"type": "int8", "role": "numeric"},
    }
    clean = {"n": {"range": [0, 30]}}
    return Pipeline.model_validate(
        {"name": "p", "source": {"uri": str(source), "time": "t"}, "columns": columns, "clean": clean}
    )


def run(pipeline: Pipeline, out: Path, size: int = 1 << 26, **params: Any) -> dict[str, Any]:
    """Both tables and the ledger, after one run of the job and a commit of each table."""
    tables = {"clean": f"{out}/c", "quarantine": f"{out}/q"}
    plan = JobPlan(pipeline=pipeline, out=str(out), params={"tables": tables, **params})
    splits = plan_splits(list_files(pipeline.source.uri), pipeline, size)
    pairs = run_job(Clean, plan, splits)
    result: dict[str, Any] = {"splits": len(splits), "intervals": {interval for interval, _ in pairs}}
    result["ledger"] = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
    for name, schema in (("clean", clean_schema(pipeline)), ("quarantine", QUARANTINE)):
        parts = [Part.model_validate(value["parts"][name]) for _, value in pairs if name in value["parts"]]
        table = Table(tables[name])
        table.commit(Commit(parts=parts, schema=schema, transaction="test"))
        result[name] = table.read()
    return result


def ordered(table: pa.Table, *by: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.sort_by([(name, "ascending") for name in by]).to_pylist()
    return rows


def test_rows_go_to_both_tables_by_interval(pipeline: Pipeline, tmp_path: Path) -> None:
    found = run(pipeline, tmp_path / "out")
    reasons = {"n:type": 6, "ragged": 1, "t:no_interval": 1}
    assert found["ledger"] == Ledger(rows_in=302, rows_out=294, quarantined=reasons)
    assert found["intervals"] == {"2026-01-01", "2026-01-02", "2026-01-03", "unknown"}
    assert found["clean"].num_rows == 294
    assert set(found["clean"].column_names) == set(clean_schema(pipeline).names)
    assert sorted(found["quarantine"]["row"].to_pylist()) == [7, 57, 107, 157, 207, 257, 301, 302]


def test_any_cut_into_splits_gives_the_same_rows(pipeline: Pipeline, tmp_path: Path) -> None:
    whole, cut = run(pipeline, tmp_path / "one"), run(pipeline, tmp_path / "many", 1000)
    assert cut["splits"] > 5 > whole["splits"]
    assert cut["ledger"] == whole["ledger"]
    assert ordered(cut["clean"], "user", "row_id") == ordered(whole["clean"], "user", "row_id")
    assert ordered(cut["quarantine"], "row") == ordered(whole["quarantine"], "row")


def test_only_the_intervals_that_are_asked_for(pipeline: Pipeline, tmp_path: Path) -> None:
    found = run(pipeline, tmp_path / "out", intervals=["2026-01-02"])
    assert found["intervals"] == {"2026-01-02", "unknown"}
    assert set(found["clean"]["data_interval"].to_pylist()) == {"2026-01-02"}


def test_a_learned_plan_is_followed(pipeline: Pipeline, tmp_path: Path) -> None:
    found = run(pipeline, tmp_path / "out", plan={"columns": {"n": {"high": 10}}})
    assert max(value for value in found["clean"]["n"].to_pylist() if value is not None) == 10
