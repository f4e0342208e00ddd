"""The stages, one function each, from table versions to one commit: what Airflow and `millrace run` call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from millrace import intervals, pipeline_file
from millrace.errors import MillraceError, RequestError
from millrace.profiles import load_profile, pipelines_folder
from millrace.spec import parse_duration
from millrace.stage_names import LEARNING, STAGES
from millrace.stages.context import Options, Run, StageResult

Stage = Callable[[Run], StageResult]


def stage_function(name: str) -> Stage:
    """The function of a stage; its imports happen here, so that a task loads only what it needs.

    Raises RequestError for an unknown name.
    """
    if name in ("check", "clean", "shard", "stats"):
        from millrace.stages import ingest, layout

        return {"check": ingest.check, "clean": ingest.clean, "shard": layout.shard, "stats": layout.stats}[name]
    if name in ("drift", "sample"):
        from millrace.stages import choose

        return {"drift": choose.drift, "sample": choose.sample}[name]
    if name in ("train", "evaluate", "promote", "compress"):
        from millrace.stages import learn

        return {
            "train": learn.train,
            "evaluate": learn.evaluate_stage,
            "promote": learn.promote,
            "compress": learn.compress_stage,
        }[name]
    if name == "score":
        from millrace.stages import scoring

        return scoring.score
    if name == "report":
        from millrace.stages import reporting

        return reporting.report
    raise RequestError("unknown stage", expected=f"one of {', '.join(STAGES)}", found=repr(name))


def open_run(
    name: str,
    date: str | None,
    *,
    profile: str | None = None,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Run:
    """A run of the pipeline `name` for the interval `date` (default: the newest that its source files show; with ``""``
    none, for what looks at tables alone).

    Raises RequestError and its kin where the pipeline file, the profile, the date or an option is wrong.
    """
    pipeline = pipeline_file.load(pipeline_file.find(name, pipelines_folder()))
    given = {key: value for key, value in (options or {}).items() if value not in (None, "")}
    if "window" in given:
        try:
            parse_duration(given["window"])
        except ValueError as error:
            raise RequestError("wrong window", hint=str(error)) from None
    run = Run(
        pipeline=pipeline,
        profile=load_profile(profile),
        date=date or "",
        options=_checked(given),
        say=say,
    )
    run.cluster()  # a runner that doesn't reach the tables is refused before any work
    if date == "":
        return run
    if date is None:
        from millrace.stages.ingest import newest_interval

        return replace(run, date=newest_interval(run))
    kind = pipeline.source.interval
    return replace(run, date=intervals.interval_name(intervals.interval_start(date, kind), kind))


def _checked(given: dict[str, Any]) -> Options:
    try:
        return Options.model_validate(given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(map(str, wrong["loc"]))
        raise RequestError(f"wrong option {name}", expected=wrong["msg"], found=repr(wrong["input"])) from None


def run_stages(run: Run, first: str, last: str) -> list[StageResult]:
    """Run the stages from `first` to `last` in order, each on the versions that the ones before committed."""
    order = STAGES[STAGES.index(first) : STAGES.index(last) + 1]
    if not order:
        raise RequestError("wrong order of stages", expected=f"--from before --until in {', '.join(STAGES)}")
    results: list[StageResult] = []
    versions: dict[str, int] = {}
    for name in order:
        if run.pipeline.label is None and name in LEARNING:
            run.say(f"{name}: left out, no column has the role label")
            continue
        if name == "score" and any(each.stage == "promote" and each.version is None for each in results):
            run.say("score: left out, no model was good enough to become champion yet")
            continue
        result = run_one(name, replace(run, upstream=dict(versions)))
        results.append(result)
        if result.version is not None:
            versions[name] = result.version
    return results


def run_one(stage: str, run: Run) -> StageResult:
    """Run one stage of a run, with its seconds in the result and where it failed in its error."""
    started = time.monotonic()
    try:
        result = stage_function(stage)(run)
    except (MillraceError, OSError) as error:
        from millrace.storage.refusals import is_refusal, write_refused

        where = f"in stage {stage} of {run.pipeline.name}, interval {run.date}"
        if is_refusal(error):
            refused = write_refused(str(getattr(error, "filename", None) or run.profile.home), error)
            refused.add_note(where)
            raise refused from error
        error.add_note(where)
        raise
    if run.held:
        run.release()
    result = result.model_copy(update={"seconds": round(time.monotonic() - started, 3)})
    words = result.details.get("words", "")
    ledger = f": {result.ledger}" if result.ledger is not None else ""
    run.say(f"{stage} done in {result.seconds:.1f} s{ledger}{f'; {words}' if words else ''}")
    return result


__all__ = ["Options", "Run", "StageResult", "open_run", "run_one", "run_stages"]
