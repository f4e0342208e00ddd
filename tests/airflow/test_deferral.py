"""A task on EMR waits for its steps without a worker: in Airflow's own triggerer, through clears and kills."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pyarrow.fs as pafs
import pytest

from millrace.airflow import guard, up
from millrace.airflow.client import AirflowClient
from millrace.errors import MillraceError
from millrace.mapreduce.cluster import work_folder
from millrace.mapreduce.deferral import RUNNING, Deferral, StepRunning
from millrace.mapreduce.store_fs import remove
from millrace.stage_names import TRAINING
from millrace.stages import Run, open_run, run_one, run_stages
from millrace.storage.files import copy_folder, filesystem
from tests.airflow.spoiled import spoil
from tests.orders import FIRST, PIPELINE, write_day

pytestmark = [pytest.mark.airflow, pytest.mark.services]

NIGHT = "2026-01-12"
PATIENCE = 900.0  # seconds for a run; a step takes some 20 s


@pytest.fixture
def place(tmp_path: Path, minio: Any, hadoop: Any, emr: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A root in the bucket with orders below it, and the profile `steps` that runs jobs on EMR."""
    for name, value in (minio.variables | hadoop.variables | emr.variables).items():
        monkeypatch.setenv(name, value)
    own = uuid.uuid4().hex
    root = f"s3://{minio.bucket}/{own}"
    for name in ("data", "pipelines", "profiles"):
        (tmp_path / name).mkdir()
    for back in range(12):
        write_day(tmp_path, FIRST + timedelta(days=back))
    copy_folder(tmp_path / "data", f"{root}/raw")
    (tmp_path / "pipelines" / "waits.yaml").write_text(
        PIPELINE.replace("name: orders", "name: waits")
        .replace("data/*.csv", f"{root}/raw/*.csv")
        .replace("{method: all}", "{method: stratified, by: shop, rows: 300}")  # a stage of two jobs
    )
    steps = {
        "root": root,
        "work": f"s3://{minio.bucket}/_work",  # one worker environment for all tests
        "runner": "emr",
        "tasks": 1,
        "s3": {"endpoint": minio.endpoint, "region": minio.region},
        "emr": {
            "python": os.path.realpath(sys.executable),
            "pool": own,
            "poll_seconds": 1,
            "service_role": "service",
            "instance_profile": "instance",
        },
    }
    (tmp_path / "profiles" / "steps.yaml").write_text(json.dumps(steps))
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    monkeypatch.setenv("MILLRACE_PROFILES", str(tmp_path / "profiles"))
    monkeypatch.setenv("MILLRACE_PROFILE", "steps")
    yield root
    client = boto3.client("emr")
    client.terminate_job_flows(JobFlowIds=clusters(client, root))
    run = open_run("waits", NIGHT, profile="steps")
    for name in held(run):
        remove(f"{work_folder(run.cluster())}/{name}")
    remove(root)


@pytest.fixture
def client(place: str) -> Any:
    """EMR's API."""
    return boto3.client("emr")


def clusters(client: Any, root: str) -> list[str]:
    """The clusters that log below a root."""
    names = [cluster["Id"] for cluster in client.list_clusters()["Clusters"]]
    described = {name: client.describe_cluster(ClusterId=name)["Cluster"] for name in names}
    return [name for name, cluster in described.items() if cluster.get("LogUri", "").startswith(root)]


def until(met: Callable[[], bool]) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def state(airflow: AirflowClient, run: str, task: str) -> str:
    """The state of a task."""
    return str(airflow.tasks("waits_train", run)[task]["state"])


def held(run: Run) -> list[str]:
    """What this pipeline has in the work folder."""
    system, path, _ = filesystem(work_folder(run.cluster()))
    selector = pafs.FileSelector(path, allow_not_found=True)
    return [info.base_name for info in system.get_file_info(selector) if info.base_name.startswith("waits-")]


def test_each_step_is_submitted_once_though_its_task_is_cleared_and_all_of_airflow_killed(
    place: str, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    airflow = up.start(home, progress=print)
    try:
        rest = airflow.client()
        rest.wait_for_dag("waits_train")
        rest.switch("waits_train", on=True)
        night = rest.trigger("waits_train", {"date": NIGHT})
        until(lambda: state(rest, night, "check") == "deferred")
        body = {"dry_run": False, "dag_run_id": night, "task_ids": ["check"], "only_failed": False}
        rest.request("POST", "/dags/waits_train/clearTaskInstances", body=body)

        until(lambda: state(rest, night, "clean") == "deferred")
        for pid in airflow.pids:
            guard.signal_process(pid, 9)
    finally:
        airflow.stop()
    with up.start(home, progress=print) as airflow:
        rest = airflow.client()
        rest.wait("waits_train", night, timeout=PATIENCE, progress=lambda *told: print(*told))
        tasks = rest.tasks("waits_train", night)
        assert {name: task["state"] for name, task in tasks.items()} == dict.fromkeys(
            [*TRAINING, "announce"], "success"
        )
        log = rest.log("waits_train", night, "shard", tasks["shard"]["try_number"])
        assert log.index("waiting for step") < log.index("is COMPLETED") < log.index("shard done in")
        assert "shard: 1 map tasks, " in log

    run = open_run("waits", NIGHT)
    steps = [step for name in clusters(client, place) for step in client.list_steps(ClusterId=name)["Steps"]]
    submitted = Counter(step["Name"].split("-")[1] for step in steps)
    expected = ["check", "clean", "shard", "featurestats", "countpopulation", "samplerows"]
    assert submitted == dict.fromkeys(expected, 1)
    assert held(run) == []

    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "inline"))
    monkeypatch.delenv("MILLRACE_PROFILE")
    inline = open_run("waits", NIGHT, options={"runner": "inline"})
    run_stages(inline, "check", "sample")
    for table in ("clean", "sharded", "sample"):
        assert run.table(table).read().to_pylist() == inline.table(table).read().to_pylist(), table


def test_a_step_that_failed_while_its_task_waited_is_told_and_the_next_attempt_submits_another(
    place: str, client: Any
) -> None:
    run_stages(open_run("waits", NIGHT, options={"runner": "inline"}), "check", "shard")
    run = open_run("waits", NIGHT)
    spoiled = spoil(run.table("sharded"))
    deferred = replace(run, deferral=Deferral())
    with pytest.raises(StepRunning) as first:
        run_one("stats", deferred)
    with pytest.raises(StepRunning) as second:
        run_one("stats", deferred)
    assert second.value.step == first.value.step
    until(lambda: _has_ended(client, first.value))
    with pytest.raises(MillraceError, match=spoiled):
        run_one("stats", replace(run, deferral=Deferral(awaited=first.value.step)))
    with pytest.raises(StepRunning) as third:
        run_one("stats", deferred)
    assert third.value.step != first.value.step


def test_a_file_that_was_cut_inside_a_record_is_cut_again_by_whichever_attempt_comes(
    place: str, client: Any, tmp_path: Path
) -> None:
    day = tmp_path / "data" / f"{NIGHT}.csv"
    day.write_text(day.read_text() + f'{NIGHT} 11:00:00,1,"a\n' + "b\n" * 500 + '",5,0\n')
    copy_folder(tmp_path / "data", f"{place}/raw")
    run = open_run("waits", NIGHT)
    run = replace(run, profile=run.profile.model_copy(update={"split_bytes": 700}))
    steps: list[str] = []
    awaited = None
    while True:
        try:
            result = run_one("check", replace(run, deferral=Deferral(awaited)))
            break
        except StepRunning as running:
            awaited = running.step
            steps.append(awaited)
            with pytest.raises(StepRunning) as other:  # an attempt that knows nothing of the others
                run_one("check", replace(run, deferral=Deferral()))
            assert other.value.step == awaited
            until(partial(_has_ended, client, running))
    assert len(steps) == 2
    assert result.ledger is not None
    assert result.ledger.rows_in == 12 * 60 + 1
    assert held(run) == []


def _has_ended(client: Any, running: StepRunning) -> bool:
    found = client.describe_step(ClusterId=running.cluster, StepId=running.step)
    return found["Step"]["Status"]["State"] not in RUNNING
