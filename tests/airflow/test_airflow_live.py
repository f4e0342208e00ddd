"""Airflow's own scheduler, DAG processor and API server run real stages on a temporary home."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import psutil
import pytest

from millrace.airflow import up
from millrace.airflow.client import AirflowClient
from millrace.errors import ServiceError, WorkError
from millrace.stage_names import TRAINING
from tests.nights import write_night, write_nights, write_pipeline

pytestmark = pytest.mark.airflow

FIRST = date(2018, 4, 1)


def running(pids: list[int]) -> list[int]:
    """Those that still run; a dead process that nobody waited for doesn't."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a percent sign and a space in its name, four nights and a pipeline."""
    place = tmp_path_factory.mktemp("a place 100%")
    write_nights(place / "data", FIRST, 4)
    write_pipeline(place / "pipelines", place / "data")
    return place


@pytest.fixture(scope="module")
def airflow(place: Path) -> Iterator[up.Handle]:
    """A running Airflow, with its DAGs switched on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_PIPELINES", str(place / "pipelines"))
        with up.start(place / "home", unpaused=True, progress=print) as handle:
            print(f"started in {handle.seconds:.1f} s")
            handle.client().wait_for_dag("buys_train")
            handle.client().wait_for_dag("buys_score")
            yield handle


@pytest.fixture(scope="module")
def client(airflow: up.Handle) -> AirflowClient:
    return airflow.client()


def test_a_second_start_on_the_same_home_is_refused(airflow: up.Handle, place: Path) -> None:
    with pytest.raises(ServiceError, match=f"already up in .*{os.getpid()} at {airflow.address}"):
        up.start(place / "home")


def test_a_taken_port_is_refused(airflow: up.Handle, tmp_path: Path) -> None:
    port = int(airflow.address.rsplit(":", 1)[1])
    with pytest.raises(ServiceError, match=f"can't listen on port {port}: .*choose another"):
        up.start(tmp_path, port)


def test_only_loopback_listens_and_every_page_asks_who_you_are(airflow: up.Handle, client: AirflowClient) -> None:
    listening = {
        connection.laddr.ip
        for pid in airflow.pids
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    for path in ("/api/v2/dags", "/millrace/reports", "/millrace/reports/buys", "/millrace/dags/buys_train"):
        assert httpx.get(airflow.address + path, trust_env=False).status_code == 401, path


def test_reports_are_served_to_those_who_signed_in(airflow: up.Handle, place: Path) -> None:
    folder = place / "home" / "reports" / "buys"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "2018-03-31.html").write_text("<p>a report</p>")
    (place / "home" / "secret.html").write_text("secret")
    with httpx.Client(base_url=airflow.address, trust_env=False) as http:
        token = http.post("/auth/token", json={"username": airflow.username, "password": airflow.password})
        http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        assert 'href="/millrace/reports/buys/2018-03-31"' in http.get("/millrace/reports").text
        report = http.get("/millrace/reports/buys/2018-03-31")
        assert report.text == "<p>a report</p>"
        assert report.headers["content-security-policy"].startswith("sandbox")
        assert http.get("/millrace/dags/buys_train").text == "<p>a report</p>"
        for path in ("buys/2018-04-30", "buys/..%2f..%2fsecret", "../secret", "..%2f/secret", "buys/secret"):
            assert http.get(f"/millrace/reports/{path}").status_code in (404, 422), path


def test_nights_run_in_order_and_scoring_follows(client: AirflowClient) -> None:
    states: list[tuple[str, str]] = []
    runs = client.backfill("buys_train", date(2018, 4, 3), date(2018, 4, 4))
    done = client.wait_all(
        "buys_train", runs, timeout=300, progress=lambda run, task, state: states.append((task, state))
    )

    assert [client.result("buys_train", run, "announce")["date"] for run in runs] == ["2018-04-03", "2018-04-04"]
    assert done[0]["end_date"] <= done[1]["start_date"]
    assert [task for task, state in states if state == "success"] == [*TRAINING, "announce"] * 2
    assert client.result("buys_train", runs[0], "announce")["promoted"] is True

    scored = client.wait_for_idle("buys_score", timeout=300)
    assert {run["state"] for run in scored} == {"success"}
    dates = [client.result("buys_score", run["dag_run_id"], "score")["dates"] for run in scored]
    assert sorted(day for days in dates for day in days) == ["2018-04-03", "2018-04-04"]
    took = [task["duration"] for task in client.tasks("buys_train", runs[1]).values()]
    print(f"a night: {done[1]['duration']:.1f} s, of which in tasks {sum(took):.1f} s")


def test_a_triggered_run_takes_the_form(client: AirflowClient) -> None:
    run = client.trigger(
        "buys_train", {"date": "2018-04-02", "window": "2d", "runner": "inline", "sample_method": "random"}
    )
    client.wait("buys_train", run, timeout=300)
    assert client.result("buys_train", run, "announce") | {"versions": None, "model_version": None} == {
        "date": "2018-04-02",
        "promoted": client.result("buys_train", run, "promote")["details"]["promoted"],
        "window": "2d",
        "model_version": None,
        "versions": None,
    }


def test_a_failure_tells_its_cause_first_and_isn_t_tried_again(client: AirflowClient, place: Path) -> None:
    write_night(place / "strict-data", FIRST)
    check = "check:\n  - {expect: column_values_to_be_between, column: amount, min_value: 1000, severity: fail}"
    write_pipeline(place / "pipelines", place / "strict-data", "strict", check)
    client.wait_for_dag("strict_train")
    run = client.trigger("strict_train", {"date": "2018-04-01"})
    with pytest.raises(WorkError, match="check failed: .*column_values_to_be_between"):
        client.wait("strict_train", run, timeout=120)
    assert client.tasks("strict_train", run)["check"]["try_number"] == 1
    log = client.log("strict_train", run, "check")
    assert log.index("check failed: ") < log.index("Task failed with exception")


def test_a_person_decides(client: AirflowClient, place: Path) -> None:
    write_pipeline(place / "pipelines", place / "data", "asked", "promote: {approval: human}")
    client.wait_for_dag("asked_train")
    run = client.trigger("asked_train", {"date": "2018-04-03"})
    deadline = time.monotonic() + 200
    while client.tasks("asked_train", run)["approve"]["state"] != "awaiting_input":
        assert time.monotonic() < deadline
        assert client.run("asked_train", run)["state"] != "failed", client.cause("asked_train", run)
        time.sleep(0.5)
    client.answer("asked_train", run, "approve", "Approve")
    client.wait("asked_train", run, timeout=120)
    assert client.result("asked_train", run, "announce")["promoted"] is True


def test_a_mistake_in_a_pipeline_file_is_its_own_import_error(client: AirflowClient, place: Path) -> None:
    write_pipeline(place / "pipelines", place / "data", "wrong", "windwo: 3d")
    deadline = time.monotonic() + 60
    while "wrong.py" not in client.import_errors():
        assert time.monotonic() < deadline, client.import_errors()
        time.sleep(0.5)
    assert "windwo: expected " in client.import_errors()["wrong.py"]
    assert client.wait_for_dag("buys_train")["has_import_errors"] is False
    assert client.wait_for_dag("buys_train")["is_stale"] is False


def test_stop_leaves_nothing_behind_and_the_next_start_works(airflow: up.Handle, place: Path) -> None:
    client = airflow.client()
    run = client.trigger("buys_train", {"date": "2018-04-04", "force": True})
    while client.tasks("buys_train", run)["check"]["state"] != "running":
        time.sleep(0.1)
    pids = airflow.pids
    assert len(pids) > 4
    started = time.monotonic()
    airflow.stop()
    print(f"stopped {len(pids)} processes in {time.monotonic() - started:.1f} s")
    assert running(pids) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(airflow.address.rsplit(":", 1)[1]))) != 0
    with up.start(place / "home", progress=print) as again:
        print(f"started again in {again.seconds:.1f} s")
        assert again.password == airflow.password
        assert again.client().wait_for_dag("buys_train")["is_paused"] is False


def test_nothing_survives_its_starter(tmp_path: Path) -> None:
    code = (
        "import pathlib, time; from millrace.airflow import up;"
        f"handle = up.start(pathlib.Path({str(tmp_path)!r})); print(*handle.pids, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pids = [int(pid) for pid in starter.stdout.readline().split()]
    assert len(pids) > 4
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 20
    while running(pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert running(pids) == []
