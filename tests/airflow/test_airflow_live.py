"""Airflow's own scheduler, DAG processor, triggerer and API server run real stages on a temporary home."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from millrace.airflow import up
from millrace.airflow.client import AirflowClient
from millrace.errors import ServiceError, WorkError
from millrace.stage_names import TRAINING
from millrace.stages import open_run, run_stages
from tests.nights import write_pipeline

pytestmark = pytest.mark.airflow

KILLED = "2018-04-02"


@pytest.fixture(scope="module")
def client(airflow_client: AirflowClient) -> AirflowClient:
    return airflow_client


@pytest.fixture
def state_of(airflow_place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The tables and the registry of a pipeline, as stages see them; of another home where one is named."""

    def state(name: str, night: str, home: str = "home") -> Any:
        monkeypatch.setenv("MILLRACE_HOME", str(airflow_place / home))
        monkeypatch.setenv("MILLRACE_PIPELINES", str(airflow_place / "pipelines"))
        return open_run(name, night)

    return state


@pytest.fixture(scope="module")
def killed_run(client: AirflowClient) -> str:
    """A run whose `clean` is ended by SIGKILL while it works, with its supervisor: the retry comes while others run."""
    run = client.trigger("killed_train", {"date": KILLED})
    until(lambda: client.tasks("killed_train", run)["clean"]["state"] == "running", 120)
    task = psutil.Process(client.tasks("killed_train", run)["clean"]["pid"])
    for process in (task.parent(), task):
        assert process is not None
        process.kill()
    return run


def until(met: Callable[[], bool], timeout: float) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def signed_in(airflow: up.Handle) -> Iterator[httpx.Client]:
    """What a browser sees, without the REST API."""
    with httpx.Client(base_url=airflow.address, trust_env=False) as http:
        token = http.post("/auth/token", json={"username": airflow.username, "password": airflow.password})
        http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        yield http


def test_a_second_start_on_the_same_home_is_refused(airflow: up.Handle, airflow_place: Path) -> None:
    with pytest.raises(ServiceError, match=f"already up in .*{os.getpid()} at {airflow.address}"):
        up.start(airflow_place / "home")


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


def test_nights_run_in_order_and_scoring_follows(client: AirflowClient, killed_run: str) -> None:
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


def test_each_task_links_to_the_report_of_its_own_night(client: AirflowClient, airflow: up.Handle) -> None:
    runs = [run["dag_run_id"] for run in client.runs("buys_train", run_type="backfill")]
    links = [client.links("buys_train", run, "train")["Millrace report"] for run in runs]
    assert links == ["/millrace/reports/buys/2018-04-03", "/millrace/reports/buys/2018-04-04"]
    with signed_in(airflow) as http:
        assert ["400 rows of 2018-04-03 have a score" in http.get(link).text for link in links] == [True, False]
        assert "400 rows of 2018-04-04 have a score" in http.get(links[1]).text


def test_a_night_without_a_file_is_a_skipped_check_and_goes_on(client: AirflowClient) -> None:
    run = client.trigger("buys_train", {"date": "2018-04-05"})
    assert client.wait("buys_train", run, timeout=300)["state"] == "success"
    states = {name: task["state"] for name, task in client.tasks("buys_train", run).items()}
    assert states == dict.fromkeys([*TRAINING, "announce"], "success") | {"check": "skipped"}
    assert "no file of 2018-04-05" in client.log("buys_train", run, "check")


def test_reports_are_served_to_those_who_signed_in(airflow: up.Handle, airflow_place: Path) -> None:
    folder = airflow_place / "home" / "reports" / "old"
    folder.mkdir(parents=True)
    (folder / "2018-03-31.html").write_text("<p>a report</p>")
    (airflow_place / "home" / "secret.html").write_text("secret")
    with signed_in(airflow) as http:
        assert 'href="/millrace/reports/old/2018-03-31"' in http.get("/millrace/reports").text
        report = http.get("/millrace/reports/old/2018-03-31")
        assert report.text == "<p>a report</p>"
        assert report.headers["content-security-policy"].startswith("sandbox")
        assert http.get("/millrace/dags/old_train").text == "<p>a report</p>"
        assert "No report of 2018-04-30 yet" in http.get("/millrace/reports/old/2018-04-30").text
        for path in ("old/2018-04-30", "old/..%2f..%2fsecret", "../secret", "..%2f/secret", "old/secret"):
            assert http.get(f"/millrace/reports/{path}").status_code in (404, 422), path


def test_what_the_form_says_reaches_the_stages(client: AirflowClient) -> None:
    form = {
        "date": "2018-04-02",
        "window": "2d",
        "sample_method": "stratified",
        "sample_rows": 100,
        "runner": "inline",
        "force": True,
    }
    run = client.trigger("buys_train", form)
    client.wait("buys_train", run, timeout=300)
    results = {stage: client.result("buys_train", run, stage) for stage in ("check", "clean", "sample", "announce")}

    assert results["announce"]["date"] == "2018-04-02"
    assert results["check"]["details"]["intervals"] == 1  # forced: the nights before it had brought it in
    assert results["clean"]["ledger"]["rows_in"] == 400
    sample = results["sample"]
    assert sample["ledger"]["rows_in"] == 400  # two days, of which the last is held out
    assert (sample["details"]["method"], sample["details"]["rows"]) == ("stratified", 100)
    link = client.links("buys_train", run, "train")["Millrace report"]
    assert link == "/millrace/reports/buys/2018-04-02_window-2d_sample-stratified_rows-100"
    assert "buys clean, 2018-04-02; window 2d; sample_method stratified; sample_rows 100; runner inline" in client.log(
        "buys_train", run, "clean"
    )


@pytest.mark.parametrize("wrong", [{"runner": "spork"}, {"sample_method": "best"}, {"sample_rows": 0}, {"window": "2"}])
def test_a_wrong_field_of_the_form_is_refused(client: AirflowClient, wrong: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="400"):
        client.trigger("buys_train", wrong)


def test_a_writer_that_waits_for_the_database_stops_no_other_request(
    client: AirflowClient, airflow: up.Handle, airflow_place: Path
) -> None:
    with (
        ThreadPoolExecutor() as others,
        signed_in(airflow) as http,
        contextlib.closing(sqlite3.connect(airflow_place / "home" / "airflow" / "airflow.db", timeout=60)) as database,
    ):
        database.execute("begin immediate")
        refused = others.submit(client.trigger, "buys_train", {"runner": "spork"})
        time.sleep(1)
        assert http.get("/api/v2/version", timeout=10).is_success
        assert not refused.done()
        database.rollback()
        with pytest.raises(ServiceError, match="400"):
            refused.result()


def test_a_failure_tells_its_cause_first_and_isn_t_tried_again(client: AirflowClient) -> None:
    run = client.trigger("strict_train", {"date": "2018-04-01"})
    with pytest.raises(WorkError, match="check failed: .*column_values_to_be_between"):
        client.wait("strict_train", run, timeout=120)
    assert client.tasks("strict_train", run)["check"]["try_number"] == 1
    log = client.log("strict_train", run, "check")
    assert log.index("check failed: ") < log.index("Task failed with exception")


def test_a_person_s_yes_promotes_and_is_asked_once(
    client: AirflowClient, state_of: Callable[..., Any], airflow_place: Path
) -> None:
    from millrace.stages.learn import champion_summary

    scheduler = airflow_place / "home" / "airflow" / "logs" / "scheduler.log"

    run = client.trigger("asked_train", {"date": "2018-04-03"})

    def asked() -> bool:
        assert client.run("asked_train", run)["state"] != "failed", client.cause("asked_train", run)
        return bool(client.tasks("asked_train", run)["approve"]["state"] == "awaiting_input")

    def paused() -> bool:
        """Airflow takes an answer that comes before it heard of the pause, within a blink, for a task that was lost."""
        heard = (
            f"state success for task instance TaskInstanceKey(dag_id='asked_train', task_id='approve', run_id='{run}'"
        )
        return heard in scheduler.read_text("utf-8", "replace")

    until(asked, 200)
    until(paused, 60)
    candidate = client.result("asked_train", run, "evaluate")["details"]["candidate"]
    assert champion_summary(state_of("asked", "2018-04-03")) is None
    client.answer("asked_train", run, "approve", "Approve")
    client.wait("asked_train", run, timeout=120)
    announced = client.result("asked_train", run, "announce")
    assert (announced["promoted"], announced["model_version"]) == (True, candidate)
    champion = champion_summary(state_of("asked", "2018-04-03"))
    assert champion is not None
    assert champion["version"] == candidate

    again = client.trigger("asked_train", {"date": "2018-04-03"})
    client.wait("asked_train", again, timeout=120)  # to its end: nobody answers
    assert "nobody needs to be asked" in client.log("asked_train", again, "approve")
    assert client.result("asked_train", again, "announce")["model_version"] == candidate
    scored = client.wait_for_idle("asked_score", timeout=120)
    assert client.result("asked_score", scored[0]["dag_run_id"], "score")["details"]["model_version"] == candidate


def test_a_mistake_in_a_pipeline_file_is_its_own_import_error(client: AirflowClient, airflow_place: Path) -> None:
    write_pipeline(airflow_place / "pipelines", airflow_place / "data", "wrong", "windwo: 3d")
    until(lambda: "wrong.py" in client.import_errors(), 60)
    assert "windwo: expected " in client.import_errors()["wrong.py"]
    assert client.wait_for_dag("buys_train")["has_import_errors"] is False
    assert client.wait_for_dag("buys_train")["is_stale"] is False


def test_a_night_whose_task_was_killed_ends_with_the_same_tables(
    client: AirflowClient, killed_run: str, state_of: Callable[..., Any]
) -> None:
    ended = client.wait("killed_train", killed_run, timeout=240)
    assert ended["state"] == "success"
    assert client.tasks("killed_train", killed_run)["clean"]["try_number"] == 2
    print(f"the night with a killed task took {ended['duration']:.0f} s")

    found = state_of("killed", KILLED)
    tables = {name: contents(found, name) for name in ("clean", "sharded", "sample")}
    assert {name: found.table(name).version() for name in tables} == dict.fromkeys(tables, 0)
    undisturbed = state_of("killed", KILLED, home="undisturbed")
    run_stages(undisturbed, "check", "sample")
    assert {name: contents(undisturbed, name) == rows for name, rows in tables.items()} == dict.fromkeys(tables, True)


def contents(run: Any, name: str) -> Any:
    """The rows of a table, in a fixed order."""
    return run.table(name).read().sort_by([("data_interval", "ascending"), ("row_id", "ascending")])
