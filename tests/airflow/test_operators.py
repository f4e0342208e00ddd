"""Operators without a server: what they hand over, and how they tell a failure."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferralTimeout,
    TaskDeferred,
)

from millrace.airflow import operators
from millrace.airflow.dag_builder import champion_asset
from millrace.errors import CheckFailed, GateClosed, RequestError, ServiceError, SplitFailed
from millrace.mapreduce.deferral import Deferral, StepRunning


class Task:
    """A task instance that knows what other tasks returned."""

    def __init__(self, results: dict[str, Any], earlier_run: Any = None) -> None:
        self.results = results
        self.earlier_run = earlier_run

    def xcom_push(self, key: str, value: Any) -> None:
        self.results[key] = value

    def xcom_pull(self, task_ids: str) -> Any:
        return self.results.get(task_ids)

    def get_previous_dagrun(self, state: str) -> Any:
        return self.earlier_run


def context(results: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    moment = datetime(2018, 4, 2, 2, tzinfo=UTC)
    run = SimpleNamespace(run_type="scheduled", data_interval_end=moment, logical_date=moment, run_after=moment)
    return {"dag_run": run, "params": params, "ti": Task(results or {})}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the operators ran."""
    seen: list[tuple[Any, ...]] = []

    def run(task: Any, *arguments: Any) -> dict[str, Any]:
        *told, deferral = arguments
        assert deferral == Deferral()
        seen.append((task.pipeline, task.stage, *told))
        return {"stage": task.stage, "version": 7, "details": {"rows": 0, "words": "2018-04-01: NO ROWS YET"}}

    monkeypatch.setattr(operators, "run", run)
    return seen


def test_a_stage_gets_its_date_its_options_and_the_versions_before_it(calls: list[Any]) -> None:
    stage = operators.StageOperator(pipeline="tiny", stage="shard", interval="daily", earlier=("check", "clean"))
    given = context({"check": {"version": None}, "clean": {"version": 4}}, window="3d", sample_rows=None, force=False)
    assert stage.execute(given)["version"] == 7
    assert calls == [("tiny", "shard", "2018-04-01", {"window": "3d", "force": False}, {"clean": 4})]


def test_a_night_without_rows_is_shown_as_a_skipped_check_and_goes_on(calls: list[Any]) -> None:
    check = operators.StageOperator(pipeline="tiny", stage="check", interval="daily")
    given = context()
    with pytest.raises(AirflowSkipException, match="2018-04-01: NO ROWS YET"):
        check.execute(given)
    assert given["ti"].results["return_value"]["version"] == 7  # for the stages that follow


def test_promotion_is_told_that_a_person_agreed(calls: list[Any]) -> None:
    stage = operators.StageOperator(pipeline="tiny", stage="promote", interval="daily", earlier=("evaluate",))
    stage.execute(context({"evaluate": {"version": 2}, "approve": {"chosen_options": ["Approve"]}}))
    assert calls[0][3] == {"approved": True}


def test_scoring_runs_once_per_announced_interval(calls: list[Any]) -> None:
    asset = champion_asset("tiny")
    stage = operators.ScoreOperator(pipeline="tiny", stage="score", interval="daily", asset=asset)
    dates = ("2018-04-02", "2018-04-01", "2018-04-02")
    events = [SimpleNamespace(extra={"date": date, "options": {"window": "3d"}, "model_version": 1}) for date in dates]
    result = stage.execute(context() | {"triggering_asset_events": {asset: events}})
    assert calls == [("tiny", "score", date, {"window": "3d"}, None) for date in ("2018-04-01", "2018-04-02")]
    assert result["dates"] == ["2018-04-01", "2018-04-02"]


def test_without_a_champion_scoring_is_skipped(calls: list[Any]) -> None:
    asset = champion_asset("tiny")
    stage = operators.ScoreOperator(pipeline="tiny", stage="score", interval="daily", asset=asset)
    events = [SimpleNamespace(extra={"date": "2018-04-01", "model_version": None})]
    with pytest.raises(AirflowSkipException, match="no model was good enough"):
        stage.execute(context() | {"triggering_asset_events": {asset: events}})
    assert calls == []


def test_the_report_after_scoring_is_of_the_training_run_and_its_scores(calls: list[Any]) -> None:
    asset = champion_asset("tiny")
    task = operators.ScoreOperator(pipeline="tiny", stage="report", interval="daily", asset=asset, earlier=("score",))
    told = {
        "date": "2018-04-01",
        "options": {"window": "2d"},
        "model_version": 1,
        "versions": {"sample": 5},
    }
    given = context({"score": {"version": 9}}) | {"triggering_asset_events": {asset: [SimpleNamespace(extra=told)]}}
    task.execute(given)
    assert calls == [("tiny", "report", "2018-04-01", {"window": "2d"}, {"sample": 5, "score": 9})]


def test_a_triggered_scoring_run_uses_the_form(calls: list[Any]) -> None:
    stage = operators.ScoreOperator(pipeline="tiny", stage="score", interval="daily", asset=champion_asset("tiny"))
    stage.execute(context(date="2018-03-01"))
    assert [call[2] for call in calls] == ["2018-03-01"]


def test_the_event_tells_what_happened() -> None:
    asset = champion_asset("tiny")
    task = operators.AnnounceOperator(task_id="announce", interval="daily", earlier=("promote",), asset=asset)
    event = SimpleNamespace(extra=None)
    promoted = {"promote": {"version": 3, "details": {"promoted": True, "champion": 3}}}
    task.execute(context(promoted, window="3d", sample_rows=None, force=True) | {"outlet_events": {asset: event}})
    assert event.extra == {
        "date": "2018-04-01",
        "promoted": True,
        "model_version": 3,
        "options": {"window": "3d"},
        "versions": {"promote": 3},
    }


@pytest.mark.parametrize("stage", ["check", "score"])
def test_a_stage_that_waits_for_a_step_defers_its_task_for_the_rest_of_its_time(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Deferral] = []

    def waits(*arguments: Any) -> dict[str, Any]:
        seen.append(arguments[-1])
        raise StepRunning("j-1", "s-1")

    began = datetime(2018, 4, 2, 2, tzinfo=UTC)
    monkeypatch.setattr(operators, "run", waits)
    monkeypatch.setattr(operators, "utcnow", lambda: began + timedelta(hours=1))
    kind = operators.ScoreOperator if stage == "score" else operators.StageOperator
    more = {"asset": champion_asset("tiny")} if stage == "score" else {}
    task = kind(pipeline="tiny", stage=stage, interval="daily", execution_timeout=timedelta(hours=6), **more)
    given = context(date="2018-04-01")
    given["ti"].start_date = began
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(given)
    assert (deferred.value.method_name, deferred.value.timeout) == ("resume", timedelta(hours=5))
    assert deferred.value.trigger.serialize()[1] == {"cluster": "j-1", "step": "s-1"}

    with pytest.raises(TaskDeferred):
        task.resume_execution("resume", {"event": {"step": "s-1", "state": "FAILED"}}, given)
    assert seen == [Deferral(), Deferral(awaited="s-1")]


def test_a_step_that_took_too_long_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stage = operators.StageOperator(pipeline="tiny", stage="check", interval="daily")
    with caplog.at_level(logging.ERROR), pytest.raises(TaskDeferralTimeout):
        stage.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert caplog.messages[-1] == "check failed: TaskDeferralTimeout: Trigger timeout"


@pytest.mark.parametrize("error", [RequestError, CheckFailed, GateClosed])
def test_an_error_that_a_retry_can_t_mend_is_final(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(AirflowFailException), operators.explained("check"):
        raise error("no label")
    assert caplog.messages == ["check failed: no label"]


@pytest.mark.parametrize("error", [SplitFailed("part 3 died"), ServiceError("no store"), OSError("disk full")])
def test_other_errors_are_tried_again(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(type(error)), operators.explained("check"):
        raise error
    assert caplog.messages[0].startswith("check failed: ")


def test_a_run_waits_for_an_earlier_one() -> None:
    earlier = context() | {"ti": Task({}, earlier_run=SimpleNamespace(run_id="backfill__2018-03-31"))}
    with pytest.raises(AirflowRescheduleException):
        operators.wait_for_earlier_run(earlier)
