"""The whole pipeline through Airflow, as `millrace up` starts it, with the shipped profiles: raw files, tables, models
and reports on MinIO, jobs on this machine and on Hadoop."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.fs as pafs
import pytest

from millrace.airflow import up
from millrace.mapreduce.store_fs import remove
from millrace.profiles import load_profile
from millrace.report.kept import kept_reports
from millrace.stage_names import SCORING, TRAINING
from millrace.stages import Run, open_run, run_stages
from millrace.storage.files import copy_folder, filesystem
from tests.airflow.spoiled import spoil
from tests.orders import FIRST, PIPELINE, write_day

pytestmark = [pytest.mark.airflow, pytest.mark.services]

ROOT = Path(__file__).parents[2]
NIGHT = "2026-01-12"
PATIENCE = 600.0  # seconds for a run; Hadoop takes some 20 s a job


@pytest.fixture(params=["minio", "hadoop-minio"])
def profile(
    request: pytest.FixtureRequest, tmp_path: Path, minio: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A shipped profile whose root is a folder of its own in the bucket, and orders on the store for it."""
    variables = dict(minio.variables)
    if request.param == "hadoop-minio":
        variables |= request.getfixturevalue("hadoop").variables
    bucket = f"{minio.bucket}/{uuid.uuid4().hex}"
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MILLRACE_BUCKET", bucket)
    monkeypatch.setenv("MILLRACE_PROFILES", str(ROOT / "profiles"))
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    (tmp_path / "data").mkdir()
    (tmp_path / "pipelines").mkdir()
    for back in range(12):
        write_day(tmp_path, FIRST + timedelta(days=back))
    copy_folder(tmp_path / "data", f"s3://{bucket}/raw")
    text = PIPELINE.replace("data/*.csv", f"s3://{bucket}/raw/*.csv")
    (tmp_path / "pipelines" / "orders.yaml").write_text(text)
    yield request.param
    remove(f"s3://{bucket}")


@pytest.fixture
def scored_inline(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The scores of the same raw files, inline, with tables on this disk."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "inline"))
    run = open_run("orders", NIGHT, options={"runner": "inline"})
    run_stages(run, "check", "score")
    return scores(run)


def scores(run: Run) -> list[dict[str, Any]]:
    """All scores, in the order of the table."""
    return list(run.table("scores").read().to_pylist())


def until(met: Callable[[], bool]) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_night_on_a_store(
    profile: str, scored_inline: list[dict[str, Any]], minio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("MILLRACE_HOME", str(home))
    monkeypatch.setenv("MILLRACE_PROFILE", profile)
    with up.start(home, unpaused=True, progress=print) as airflow:
        client = airflow.client()
        client.wait_for_dag("orders_train")
        client.wait_for_dag("orders_score")
        night = client.trigger("orders_train", {"date": NIGHT})
        client.wait("orders_train", night, timeout=PATIENCE, progress=lambda *told: print(*told))
        [scoring] = client.wait_for_idle("orders_score", timeout=PATIENCE)

        run = open_run("orders", NIGHT)
        tasks = client.tasks("orders_train", night) | client.tasks("orders_score", scoring["dag_run_id"])
        assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(
            [*TRAINING, *SCORING, "announce"], "success"
        )
        assert scores(run) == scored_inline
        log = client.log("orders_train", night, "check")
        assert "check: 12 files of 2026-01-01 to 2026-01-12 (12 intervals)" in log
        assert ("check: map 100% reduce 100%" in " ".join(log.split())) == (profile == "hadoop-minio")

        # models and reports are there too, and nothing of them is here
        store = load_profile()
        system, models, _ = filesystem(store.models)
        assert system.get_file_info(pafs.FileSelector(models, recursive=True))
        assert kept_reports(store.reports, "orders") == [NIGHT]
        assert {path.name for path in home.iterdir()} & {"tables", "reports", "mlflow-artifacts"} == set()
        token = httpx.post(
            f"{airflow.address}/auth/token",
            json={"username": airflow.username, "password": airflow.password},
            trust_env=False,
        )
        page = httpx.get(
            f"{airflow.address}/millrace/reports/orders/{NIGHT}",
            headers={"Authorization": f"Bearer {token.json()['access_token']}"},
            trust_env=False,
        )
        assert f"60 rows of {NIGHT} have a score" in page.text

        # a failure in a task tells its cause first
        spoiled = spoil(run.table("sharded"))
        failing = client.trigger("orders_train", {"date": NIGHT, "sample_method": "random", "sample_rows": 100})
        until(lambda: client.tasks("orders_train", failing)["sample"]["state"] in ("up_for_retry", "failed"))
        log = client.log("orders_train", failing, "sample")
        assert "sample failed: " in log
        assert spoiled in log[log.index("sample failed: ") :].splitlines()[0]
        assert log.index("sample failed: ") < log.index("Task failed with exception")
    for folder, _, names in os.walk(home / "airflow"):
        for name in names:
            assert minio.secret_key.encode() not in (Path(folder) / name).read_bytes(), name
