"""Jobs run by hand, as files of their own: records on standard output, the ledger on standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.storage.tables import Table
from tests.conftest import ROOT


def script(name: str, *arguments: str) -> tuple[list[dict[str, object]], str]:
    """Run a job's script with no PYTHONPATH; its records and what it said."""
    command = [sys.executable, str(ROOT / "mrjobs" / f"{name}.py"), "--pipeline", "orders", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_clean_prints_rows_then_quarantined_ones_and_its_ledger(orders: Path, runner: str) -> None:
    day = orders / "data" / "2026-01-05.csv"
    day.write_text(day.read_text() + "2026-01-05 11:00:00,1,a,5000,0\n")
    records, said = script("clean", "-r", runner, str(day))
    assert len(records) == 61
    assert records[0]["data_interval"] == "2026-01-05"
    assert records[-1]["quarantine"]["reason"] == "expected from 0 to 1000, found '5000'"
    assert "61 rows in, 60 out, 1 quarantined (price:range 1)" in said
    assert not (orders / "home" / "tables").exists()


def test_feature_stats_measures_raw_files_in_one_scan(orders: Path) -> None:
    records, said = script("feature_stats", "-r", "local", "data/2026-01-05.csv", "data/2026-01-06.csv")
    price = [record for record in records if record["column"] == "price"]
    assert [record["data_interval"] for record in price] == ["2026-01-05", "2026-01-06"]
    assert price[0]["rows"] == 60
    assert "120 rows in" in said


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_the_statistics_of_a_small_file_load_nothing_heavy(orders: Path, runner: str) -> None:
    day = orders / "data" / "2026-01-05.csv"
    many = "".join(f"2026-01-05 11:00:00,{n},shop {n},{n / 100},0\n" for n in range(3000))
    day.write_text(day.read_text() + many + "2026-02-30 11:00:00,1,a,5000 ,0\n")
    job = str(ROOT / "mrjobs" / "feature_stats.py")
    command = [sys.executable, "-X", "importtime", job, "--pipeline", "orders", "-r", runner, str(day)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pyarrow" in loaded
    assert loaded & {"pandas", "polars", "sklearn", "scipy", "mlflow", "pyspark.sql", "setuptools", "boto3"} == set()


def test_the_task_server_is_forked_before_the_slow_imports() -> None:
    show = "import sys, millrace.script, mrjobs.feature_stats; print({'numpy', 'pyarrow', 'ruamel'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "set()\n"


def test_sample_and_check_need_only_files_too(orders: Path) -> None:
    sampled, said = script("sample", "-r", "inline", "data")
    assert len(sampled) == 540
    assert sampled[0]["weight"] == 1.0
    assert "180" not in said.splitlines()[-1]
    [verdict] = script("check", "-r", "inline", "data/2026-01-05.csv")[0]
    assert verdict["rows"] == 60


def test_with_table_the_pipelines_own_table_is_written(orders: Path) -> None:
    records, said = script("shard", "-r", "inline", "--table", "data/2026-01-05.csv")
    assert records == []
    assert "60 rows in, 60 out" in said
    assert Table(str(orders / "home/tables/orders/sharded")).intervals() == {"2026-01-05": 60}


def test_a_wrong_request_is_one_message(orders: Path) -> None:
    command = [sys.executable, str(ROOT / "mrjobs/clean.py"), "--pipeline", "order", "data/2026-01-05.csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "did you mean 'orders'?" in done.stderr
    assert "Traceback" not in done.stderr
