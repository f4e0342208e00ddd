"""Work that outlives whoever began it: a step on EMR goes on while nobody waits, and another attempt takes it up."""

from __future__ import annotations

from dataclasses import dataclass

from millrace.errors import WorkError

RUNNING = ("PENDING", "RUNNING")
"""States of a step that will change by themselves."""


@dataclass(frozen=True)
class Deferral:
    """Asks a job not to wait for its step. `awaited` is the step whose end was waited for elsewhere: where it failed,
    that failure is told, and no other step is submitted in its place."""

    awaited: str | None = None


class StepRunning(WorkError):
    """A step was submitted and still runs: nothing failed, and whoever waits may do so without a process."""

    def __init__(self, cluster: str, step: str) -> None:
        super().__init__(f"step {step} runs on cluster {cluster}")
        self.cluster, self.step = cluster, step
