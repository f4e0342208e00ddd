"""Waits for steps on EMR in the triggerer, many in one process: a step flows in, the state that it ended in flows out.

boto3 waits in a thread: the asynchronous client of EMR that Airflow's own operators use needs another boto3.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from millrace.mapreduce.deferral import RUNNING
from millrace.profiles import Profile, load_profile

GONE = ("InvalidRequestException", "ValidationException")


class StepTrigger(BaseTrigger):
    """Fires when a step has ended, however it ended: the task then finds its output, or what failed.

    Nobody's wish to end the task ends the step (`on_kill` does nothing): the next attempt follows it. Polls every
    `poll_seconds` of the profile's `emr`.
    """

    def __init__(self, cluster: str, step: str) -> None:
        super().__init__()
        self.cluster, self.step = cluster, step

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to go on: where this one ended, nothing is lost."""
        return f"{__name__}.{type(self).__name__}", {"cluster": self.cluster, "step": self.step}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: the step and its last state. An API that doesn't answer is asked again."""
        profile = await asyncio.to_thread(load_profile)
        client = await asyncio.to_thread(emr_client, profile)
        told = None
        while (state := await asyncio.to_thread(self.state, client)) in (None, *RUNNING):
            if state not in (None, told):
                self.log.info("step %s on cluster %s is %s", self.step, self.cluster, state)
                told = state
            await asyncio.sleep(profile.emr.poll_seconds)
        self.log.info("step %s on cluster %s is %s", self.step, self.cluster, state)
        yield TriggerEvent({"step": self.step, "state": state})

    def state(self, client: Any) -> str | None:
        """The step's state, GONE where EMR knows none of this name, None where it doesn't answer."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = client.describe_step(ClusterId=self.cluster, StepId=self.step)
        except (BotoCoreError, ClientError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in GONE:
                return "GONE"
            self.log.warning("EMR doesn't tell how far step %s is, and is asked again: %s", self.step, error)
            return None
        return str(found["Step"]["Status"]["State"])


def emr_client(profile: Profile) -> Any:
    """A client with a session of its own: boto3's default session isn't made for threads."""
    import boto3

    return boto3.session.Session().client("emr", region_name=profile.s3.region)
