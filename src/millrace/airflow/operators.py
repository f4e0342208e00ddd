"""Operators: each runs one stage through `millrace.stages.run_one`; only versions and small results leave by XCom."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException, TaskDeferred
from airflow.sdk.timezone import utcnow

from millrace.airflow.dates import context_date
from millrace.airflow.links import ReportLink
from millrace.airflow.quiet import ignore_probing
from millrace.airflow.trigger import StepTrigger
from millrace.errors import CheckFailed, GateClosed, MillraceError, RequestError
from millrace.mapreduce.deferral import Deferral, StepRunning
from millrace.spec import Interval

log = logging.getLogger("millrace")

XCOM_LIMIT = 32_768  # bytes; larger details are left to the table's own history
GATE = "approve"  # the task that asks a person
FINAL = (RequestError, CheckFailed, GateClosed)  # the same input gives the same answer: a retry can't help
SHAPING = ("window", "sample_method", "sample_rows")  # what a what-if run changes of the pipeline file
OPTIONS = (*SHAPING, "runner", "force")


class DeferrableStage(BaseOperator):
    """A task that runs stages. Where a stage waits for a step on EMR, the task is deferred: it holds no worker, and
    runs its stages again when the step has ended. Stages find what they have done, and the step by its name.

    A task that is ended or cleared meanwhile leaves the step alone: its next attempt follows it.
    """

    operator_extra_links = (ReportLink(),)

    def __init__(self, *, pipeline: str, stage: str, interval: Interval, earlier: Sequence[str] = (), **kwargs: Any):
        super().__init__(task_id=stage, **kwargs)
        self.pipeline = pipeline
        self.stage = stage
        self.interval = interval
        self.earlier = tuple(earlier)
        self.report: str | None = None  # its name, known when it runs; the link is made afterwards

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the stage; a failure's probable cause is logged before the traceback."""
        with explained(self.stage):
            return self.attempt(context, Deferral())

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """As `execute`, after a step has ended, or took too long."""
        with explained(self.stage):
            return super().resume_execution(next_method, next_kwargs, context)

    def resume(self, context: Any, event: dict[str, str]) -> dict[str, Any]:
        """Go on where the step has ended."""
        log.info("step %s is %s", event["step"], event["state"])
        return self.attempt(context, Deferral(awaited=event["step"]))

    def attempt(self, context: Any, deferral: Deferral) -> dict[str, Any]:
        """Run the stages as far as they go without waiting for a step."""
        try:
            return self.work(context, deferral)
        except StepRunning as running:
            log.info("waiting for step %s on cluster %s", running.step, running.cluster)
            trigger = StepTrigger(running.cluster, running.step)
            raise TaskDeferred(trigger=trigger, method_name="resume", timeout=time_left(self, context)) from None

    def work(self, context: Any, deferral: Deferral) -> dict[str, Any]:
        """The stages of the task; returns a result. Raises StepRunning where one waits for a step."""
        raise NotImplementedError


class StageOperator(DeferrableStage):
    """Runs one stage of one pipeline on the interval of the DAG run; returns the stage's result.

    The training stages that ran before hand their table versions over by XCom. `check` of an interval without a row is
    shown as skipped, where people look; the night goes on with the other intervals of its window.
    """

    ui_color = "#dceefb"

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the stage, the first of a night after those of the night before."""
        if not self.earlier:
            wait_for_earlier_run(context)
        return super().execute(context)

    def work(self, context: Any, deferral: Deferral) -> dict[str, Any]:
        """One stage."""
        options = stage_options(context)
        answer = result_of(context, GATE).get("chosen_options", ()) if self.stage == "promote" else ()
        if ApprovalOperator.APPROVE in answer:
            options["approved"] = True
        date = context_date(context, self.interval)
        result = run(self, date, options, versions(context, self.earlier), deferral)
        if self.stage == "check" and result["details"].get("rows") == 0:
            context["ti"].xcom_push("return_value", result)  # the stages that follow work on the other intervals
            raise AirflowSkipException(f"{result['details']['words']}: see the warning above")
        return result


class ScoreOperator(DeferrableStage):
    """Runs a stage of scoring once for each interval that a training run announced.

    `score` itself works on the newest tables: it does what the champion hasn't scored yet. What comes after it
    (`earlier` names it) works on the versions of the training run and on the scores.
    """

    ui_color = "#dff5e3"

    def __init__(self, *, asset: Asset, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asset = asset

    def work(self, context: Any, deferral: Deferral) -> dict[str, Any]:
        """One stage run per announced interval, oldest first: events that came together are one DAG run."""
        announced = announcements(context, self.asset)
        if context["params"].get("date") or not announced:
            announced = {context_date(context, self.interval): {}}
        elif all(each.get("model_version") is None for each in announced.values()):
            raise AirflowSkipException("no model was good enough to become champion yet: nothing to score with")
        results = []
        for date, training in sorted(announced.items()):
            options = stage_options(context) | training.get("options", {})
            before = versions(context, self.earlier)
            upstream = training.get("versions", {}) | before if before else None
            results.append(run(self, date, options, upstream, deferral))
        return results[-1] | {"dates": sorted(announced)}


class AnnounceOperator(BaseOperator):
    """Last task of training: the asset event that starts scoring, with model version, table versions and verdict.

    It is sent every night, promoted or not: the scoring run does only what the champion hasn't scored yet, which is
    all of the window after a promotion and the new interval otherwise.
    """

    ui_color = "#fdf3d0"

    def __init__(self, *, interval: Interval, earlier: Sequence[str], asset: Asset, **kwargs: Any):
        super().__init__(outlets=[asset], **kwargs)
        self.interval = interval
        self.earlier = tuple(earlier)
        self.asset = asset

    def execute(self, context: Any) -> dict[str, Any]:
        """Attach what happened to the asset event; returns the same."""
        details = result_of(context, "promote").get("details", {})
        extra = {
            "date": context_date(context, self.interval),
            "promoted": bool(details.get("promoted", False)),
            "model_version": details.get("champion"),
            "options": {key: value for key, value in stage_options(context).items() if key in SHAPING},
            "versions": versions(context, self.earlier),
        }
        context["outlet_events"][self.asset].extra = extra
        log.info("champion %s, %s", extra["model_version"], "promoted" if extra["promoted"] else "unchanged")
        return extra


class PromotionGate(ApprovalOperator):
    """Asks a person before promotion, with the candidate's metrics; no answer in 20 hours means no.

    The limit keeps tomorrow's run from waiting behind an unanswered question. A "no" skips promotion and compression;
    the rows of the night are then scored by the present champion.
    """

    def __init__(self, *, pipeline: str, **kwargs: Any):
        super().__init__(
            task_id=GATE,
            subject=f"Promote tonight's candidate of {pipeline}?",
            body="Evaluation of the candidate against the champion, on the same holdout:\n\n"
            "```json\n{{ (ti.xcom_pull(task_ids='evaluate') or {}).get('details', {}) | tojson(indent=2) }}\n```",
            defaults=ApprovalOperator.REJECT,
            response_timeout=timedelta(hours=20),
            retries=0,
            **kwargs,
        )

    def execute(self, context: Any) -> Any:
        """Ask, unless the candidate isn't good enough anyway."""
        if not result_of(context, "evaluate").get("details", {}).get("awaits_approval", True):
            log.info("the candidate isn't better by the margin: nobody needs to be asked")
            return None
        return super().execute(context)


class explained:  # noqa: N801 - reads as a word in `with explained(stage):`
    """Context: logs a failure's probable cause as one line; an error that a retry can't mend becomes final."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, AirflowSkipException):
            return
        log.error("%s failed: %s", self.stage, probable_cause(error))
        if isinstance(error, FINAL):
            raise AirflowFailException(str(error)) from error


def probable_cause(error: BaseException) -> str:
    """One line that names the cause: the first Millrace error in the chain, else the innermost error.

    >>> try:
    ...     raise RuntimeError("task died") from RequestError("no such column", found="'fare'")
    ... except RuntimeError as error:
    ...     probable_cause(error)
    "no such column: found 'fare'"
    """
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for link in chain:
        if isinstance(link, MillraceError):
            return " ".join(str(link).split())
    innermost = chain[-1]
    return " ".join(f"{type(innermost).__name__}: {innermost}".split())


def run(
    task: DeferrableStage,
    date: str,
    options: dict[str, Any],
    upstream: dict[str, int] | None,
    deferral: Deferral,
) -> dict[str, Any]:
    """Run a task's stage with its progress in the task's log; returns its result as small JSON."""
    from millrace import stages

    ignore_probing()
    told = "".join(f"; {key} {value}" for key, value in options.items())
    log.info("%s %s, %s%s", task.pipeline, task.stage, date, told)
    opened = stages.open_run(task.pipeline, date, options=options, say=log.info)
    task.report = opened.name
    result = stages.run_one(task.stage, replace(opened, upstream=upstream or {}, deferral=deferral))
    small = result.model_dump(mode="json")
    if len(json.dumps(small)) > XCOM_LIMIT:
        small["details"] = {"left_out": f"details over {XCOM_LIMIT} bytes are in the table's history"}
    return dict(small)


def time_left(task: BaseOperator, context: Any) -> timedelta | None:
    """What is left of the task's `execution_timeout`: Airflow itself forgets it while a task is deferred."""
    if task.execution_timeout is None:
        return None
    return max(context["ti"].start_date + task.execution_timeout - utcnow(), timedelta(0))


def stage_options(context: Any) -> dict[str, Any]:
    """The form's fields that a stage understands, without those left empty."""
    params = context["params"]
    return {key: params[key] for key in OPTIONS if params.get(key) not in (None, "")}


def result_of(context: Any, task: str) -> dict[str, Any]:
    """What an earlier task of this run returned; empty where it was skipped."""
    found = context["ti"].xcom_pull(task_ids=task)
    return dict(found) if isinstance(found, dict) else {}


def versions(context: Any, earlier: Sequence[str]) -> dict[str, int]:
    """Table version of each earlier stage of this run that committed or kept one."""
    results = {stage: result_of(context, stage) for stage in earlier}
    return {stage: found["version"] for stage, found in results.items() if found.get("version") is not None}


def announcements(context: Any, asset: Asset) -> dict[str, dict[str, Any]]:
    """What the training runs behind this run announced, by interval; a later event of an interval wins."""
    events = context.get("triggering_asset_events") or {}
    found: dict[str, dict[str, Any]] = {}
    for event in events.get(asset, ()):
        extra = dict(event.extra or {})
        if "date" in extra:
            found[extra["date"]] = extra
    return found


def wait_for_earlier_run(context: Any) -> None:
    """Nights run in order: while a run of an earlier interval is still going, put this task off.

    `max_active_runs` doesn't hold for a backfill, which has its own limit (10 by the command line and the API).
    """
    earlier = context["ti"].get_previous_dagrun(state="running")
    if earlier is not None:
        log.info("waiting for the earlier run %s", earlier.run_id)
        raise AirflowRescheduleException(utcnow() + timedelta(seconds=10))
