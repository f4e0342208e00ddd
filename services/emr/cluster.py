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
HADOOP = "3.4.2"
ENDED = ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS")
CHANGE = threading.Condition()  # guards the states of all clusters and steps; told whenever one changes


def install() -> None:
    """Let moto's clusters live: by itself, moto ends them at birth or calls their first step running for ever."""
    Cluster.run_bootstrap_actions = begin  # type: ignore[method-assign]
    Cluster.add_steps = add_steps  # type: ignore[method-assign]
    Cluster.terminate = terminate  # type: ignore[method-assign]
    plain = Cluster.add_applications

    def add_applications(self: Cluster, applications: list[dict[str, Any]]) -> None:
        """EMR tells which version it installed; mrjob needs Hadoop's."""
        plain(self, applications)
        for application in self.applications:
            application.version = application.version or HADOOP

    Cluster.add_applications = add_applications  # type: ignore[method-assign]


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
            CHANGE.notify_all()


def live(cluster: Cluster) -> None:
    """From start to end."""
    with CHANGE:
        CHANGE.wait_for(lambda: cluster.state in ENDED, timeout=STARTING)
        if not cluster.keep_job_flow_alive_when_no_steps:
            CHANGE.wait_for(lambda: cluster.steps or cluster.state in ENDED, timeout=EMPTY)
        cluster.ready_datetime = utcnow()
    while step := next_step(cluster):
        running = Running(cluster.id, step.id, cluster.log_uri, step.jar, step.args)
        status = running.wait(lambda: cluster.state in ENDED)
        running.file_logs()
        with CHANGE:
            finish(cluster, step, status)


def next_step(cluster: Cluster) -> Step | None:
    """The step whose turn it is; waits for one while the cluster is kept alive; none when the cluster has ended."""
    with CHANGE:
        while not settled(cluster):
            if waiting := pending(cluster):
                cluster.state = "RUNNING"
                waiting[0].state = "RUNNING"
                waiting[0].start()
                return waiting[0]
            cluster.state = "WAITING"
            CHANGE.wait()
        return None


def finish(cluster: Cluster, step: Step, status: int) -> None:
    """Tell how a step ended and, in the same moment, what that means for its cluster."""
    step.end_date_time = utcnow()  # type: ignore[assignment]
    step.state = "COMPLETED" if status == 0 else "CANCELLED" if cluster.state in ENDED else "FAILED"
    if step.state == "FAILED" and step.action_on_failure in ("TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"):
        end(cluster, "Shut down as step failed", "TERMINATED_WITH_ERRORS")
    elif step.state == "FAILED" and step.action_on_failure == "CANCEL_AND_WAIT":
        cancel(cluster, "Earlier step failed")
    settled(cluster)
    CHANGE.notify_all()


def settled(cluster: Cluster) -> bool:
    """End a cluster that was asked to, or that has nothing left to do; returns whether it has ended."""
    if cluster.state == "TERMINATING":
        end(cluster, "Terminated by user request", "TERMINATED")
    elif cluster.state not in ENDED and not pending(cluster) and not cluster.keep_job_flow_alive_when_no_steps:
        end(cluster, "Steps completed", "TERMINATED")
    return cluster.state in ENDED


def end(cluster: Cluster, reason: str, state: str) -> None:
    """The cluster's end, for this reason."""
    cancel(cluster, "Job terminated")
    cluster.last_state_change_reason = reason  # type: ignore[attr-defined]
    cluster.end_datetime = utcnow()
    cluster.state = state
    CHANGE.notify_all()


def pending(cluster: Cluster) -> list[Step]:
    """The steps that didn't begin."""
    return [step for step in cluster.steps if step.state == "PENDING"]


def cancel(cluster: Cluster, reason: str) -> None:
    """Cancel the steps that didn't begin."""
    for step in pending(cluster):
        step.state = "CANCELLED"
        step.last_state_change_reason = reason  # type: ignore[attr-defined]
