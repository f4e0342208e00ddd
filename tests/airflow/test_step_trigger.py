"""The trigger that waits for a step, against literal answers of EMR's API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from millrace.airflow import trigger
from millrace.airflow.trigger import StepTrigger

ASKED = {"ClusterId": "j-1", "StepId": "s-1"}


@pytest.fixture
def emr_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """EMR's API as the trigger sees it, asked again at once."""
    (tmp_path / "mine.yaml").write_text("root: s3://lake\nrunner: emr\nemr: {poll_seconds: 0.001}\n")
    monkeypatch.setenv("MILLRACE_PROFILES", str(tmp_path))
    monkeypatch.setenv("MILLRACE_PROFILE", "mine")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):  # what the profile puts there goes with the test
        monkeypatch.setenv(name, "us-east-1")
    client = boto3.client("emr", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(trigger, "emr_client", lambda profile: client)
    stubber = Stubber(client)
    stubber.activate()
    return stubber


def fired(waiting: StepTrigger) -> list[Any]:
    """All that a trigger fires."""

    async def collect() -> list[Any]:
        return [event.payload async for event in waiting.run()]

    return asyncio.run(collect())


def test_it_fires_when_the_step_has_ended_and_asks_again_where_emr_doesn_t_answer(emr_api: Stubber) -> None:
    for state in ("PENDING", "RUNNING", None, "RUNNING", "FAILED"):
        if state is None:
            emr_api.add_client_error("describe_step", "ThrottlingException", expected_params=ASKED)
        else:
            emr_api.add_response("describe_step", {"Step": {"Status": {"State": state}}}, ASKED)
    path, settings = StepTrigger("j-1", "s-1").serialize()
    assert path == "millrace.airflow.trigger.StepTrigger"
    assert fired(StepTrigger(**settings)) == [{"step": "s-1", "state": "FAILED"}]
    emr_api.assert_no_pending_responses()


def test_a_step_that_emr_forgot_is_left_to_the_task(emr_api: Stubber) -> None:
    emr_api.add_client_error("describe_step", "InvalidRequestException", "Step id 's-1' is not valid.")
    assert fired(StepTrigger("j-1", "s-1")) == [{"step": "s-1", "state": "GONE"}]
