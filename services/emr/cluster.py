"""The life of a cluster: it starts, runs its steps one after the other, and waits or ends, as EMR's clusters do."""

from __future__ import annotations

import threading
from typing import Any

from moto.core.utils import utcnow
from moto.emr.exceptions import ValidationException
from moto.emr.models import Cluster, Step

from services.emr.steps import Running

STARTING = 2.0  # seconds; EMR takes minutes
EMPTY = 30.0  # seconds in which a cluster that isn't kept alive must get its first step
ENDED = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")
CHANGE = threading.Condition()  # guards the states of all clusters and steps; told whenever one changes


def install() -> None:
    """Let moto's clusters live: by itself, moto ends them at birth or calls their first step running for ever."""
    Cluster.run_bootstrap_actions = begin  # type: ignore[method-assign]
    Cluster.add_steps = add_steps  # type: ignore[method-assign]
    Cluster.terminate = terminate  # type: ignore[method-assign]


def begin(self: Cluster) -> None:
    """Start the thread that lives the cluster's life."""
    threading.Thread(target=live, args=(self,), daemon=True, name=self.id).start()


def add_steps(self: Cluster, steps: list[dict[str, Any]]) -> list[Step]:
    """Add steps that wait for their turn; a cluster that ends takes none."""
    with CHANGE:
        if getattr(self, "state", None) in ENDED:
            raise ValidationException("A job flow that is shutting down, terminated, or finished may not be modified.")
        added = [Step(state="PENDING", **step) for step in steps]
        self.steps.extend(added)
        CHANGE.notify_all()
        return added


def terminate(self: Cluster) -> None:
    """Ask the cluster to end; the step that runs is ended too."""
    with CHANGE:
        if self.state not in ENDED:
            self.state = "TERMINATING"
            self.last_state_change_reason = "Terminated by user request"  # type: ignore[attr-defined]
            CHANGE.notify_all()


def live(cluster: Cluster) -> None:
    """From start to end."""
    with CHANGE:
        CHANGE.wait_for(lambda: cluster.state in ENDED, timeout=STARTING)
        if not cluster.keep_job_flow_alive_when_no_steps:
            CHANGE.wait_for(lambda: cluster.steps or cluster.state in ENDED, timeout=EMPTY)
        cluster.ready_datetime = utcnow()
    failed = False
    while step := next_step(cluster):
        if not run(cluster, step) and (failed := on_failure(cluster, step)):
            break
    with CHANGE:
        cluster.state = "TERMINATING"
        cancel(cluster, "Job terminated")
        cluster.end_datetime = utcnow()
        cluster.state = "TERMINATED_WITH_ERRORS" if failed else "TERMINATED"
        if not failed and not getattr(cluster, "last_state_change_reason", None):
            cluster.last_state_change_reason = "Steps completed"  # type: ignore[attr-defined]
        CHANGE.notify_all()


def next_step(cluster: Cluster) -> Step | None:
    """The step whose turn it is; waits for one while the cluster is kept alive; none when the cluster ends."""
    with CHANGE:
        while cluster.state not in ENDED:
            if pending := [step for step in cluster.steps if step.state == "PENDING"]:
                cluster.state = "RUNNING"
                found: Step = pending[0]
                found.state = "RUNNING"
                found.start()
                return found
            if not cluster.keep_job_flow_alive_when_no_steps:
                return None
            cluster.state = "WAITING"
            CHANGE.wait()
        return None


def run(cluster: Cluster, step: Step) -> bool:
    """Run a step to its end and file its logs; returns whether it was completed."""
    running = Running(cluster.id, step.id, cluster.log_uri, step.jar, step.args)
    status = running.wait(lambda: cluster.state in ENDED)
    running.file_logs()
    with CHANGE:
        step.end_date_time = utcnow()  # type: ignore[assignment]
        step.state = "COMPLETED" if status == 0 else "CANCELLED" if cluster.state in ENDED else "FAILED"
        CHANGE.notify_all()
        return bool(status == 0)


def on_failure(cluster: Cluster, step: Step) -> bool:
    """Do what the failed step asks for; returns whether the cluster must end with errors."""
    with CHANGE:
        if cluster.state in ENDED:
            return False
        if step.action_on_failure == "CANCEL_AND_WAIT":
            cancel(cluster, "Earlier step failed")
        if step.action_on_failure in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
            cluster.last_state_change_reason = "Shut down as step failed"  # type: ignore[attr-defined]
            return True
        return False


def cancel(cluster: Cluster, reason: str) -> None:
    """Cancel the steps that didn't begin."""
    for step in cluster.steps:
        if step.state == "PENDING":
            step.state = "CANCELLED"
            step.last_state_change_reason = reason  # type: ignore[attr-defined]
