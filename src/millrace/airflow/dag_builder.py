"""A pipeline file goes in, its DAGs come out: `<name>_train` by the file's schedule, `<name>_score` by its champion.

Parsed often, so it imports nothing heavy: the stages are imported inside the tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from airflow.sdk import DAG, Asset, BaseOperator, Param, TriggerRule, chain

from millrace import pipeline_file
from millrace.airflow.operators import AnnounceOperator, PromotionGate, ScoreOperator, StageOperator
from millrace.airflow.timetable import PipelineTimetable
from millrace.errors import PipelineFileError
from millrace.profiles import load_profile, pipelines_folder, usable_runners
from millrace.spec import Interval, Pipeline, Sample, format_duration
from millrace.stage_names import LEARNING, SCORING, TRAINING

POOL = "millrace_jobs"
JOBS = frozenset({"check", "clean", "shard", "stats", "sample", "score"})  # they read rows with map/reduce: one pool
EVEN_IF_REJECTED = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS  # a person's no skips promote and compress
TIMEOUT = timedelta(hours=6)
WHERE = {
    "inline": "inline (one process)",
    "local": "local (all cores)",
    "hadoop": "hadoop (YARN)",
    "emr": "emr (steps of an EMR cluster)",
    "spark": "spark",
}
WHAT_IF = "Changed, the run is a what-if with a report of its own."
STEPS: dict[Interval, timedelta] = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "monthly": timedelta(days=31),
    "none": timedelta(0),
}
DEFAULTS: dict[str, Any] = {
    "owner": "millrace",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": TIMEOUT,
}
TASK_DOCS = {
    "check": "Great Expectations over **all** raw rows of the intervals whose files are new or changed. "
    "An expectation with severity `fail` ends the run here, with the reason in the log.",
    "clean": "Types, value maps, ranges, outliers, missing values, duplicates. "
    "Refused rows go to the `quarantine` table with column, rule and reason.",
    "shard": "Rows placed by hash or range of a key, sorted, deduplicated inside a shard; with a lookup index.",
    "stats": "One mergeable state per column, interval and label class.",
    "drift": "The recent part of the window against the part before: a verdict per column.",
    "sample": "The training sample, with inclusion probability and weight per row.",
    "train": "The candidate model, stored in the registry.",
    "evaluate": "Candidate and champion on the same holdout, with confidence intervals.",
    "promote": "The candidate becomes champion only if it is better by more than the margin.",
    "compress": "A smaller, faster scorer of the champion, with its measured loss of quality.",
    "report": "One HTML file of pictures: rows, drift, sample, model; after scoring, the scores too.",
    "score": "Scores what the champion hasn't scored yet: all of the window after a promotion, else the new interval.",
}


def dags_for(file: str) -> Iterator[DAG]:
    """The DAGs of the pipeline that a DAG file is named after; of all pipelines where there is none of that name.

    A DAG file of its own per pipeline (as `millrace up` makes them) turns a mistake in one pipeline file into that
    file's own import error. Airflow hides every DAG of a file with an import error: in a DAG file for all pipelines,
    a broken pipeline is shown as a DAG whose only task tells the mistakes.
    """
    folder = pipelines_folder()
    own = folder / f"{Path(file).stem}.yaml"
    if own.exists():
        yield from build(pipeline_file.load(own), own)
        return
    for path in sorted(folder.glob("*.yaml")):
        try:
            pipeline = pipeline_file.load(path)
        except PipelineFileError as error:
            yield broken(path.stem, str(error))
        else:
            yield from build(pipeline, path)


def build(pipeline: Pipeline, path: Path | None = None) -> list[DAG]:
    """The training and the scoring DAG of a pipeline, whose file is `path`.

    Without a label there is nothing to learn and to score: one DAG prepares the tables.
    """
    return [training_dag(pipeline, path), *([scoring_dag(pipeline)] if pipeline.label else [])]


def champion_asset(name: str) -> Asset:
    """The asset that training updates and scoring waits for."""
    return Asset(name=f"{name}_champion", uri=f"millrace://{name}/champion", group="millrace")


def training_dag(pipeline: Pipeline, path: Path | None = None) -> DAG:
    """Check to compress, one task per stage, then the asset event."""
    name = pipeline.name
    asset = champion_asset(name)
    with DAG(
        dag_id=f"{name}_train",
        schedule=timetable(pipeline, path),
        params=training_form(pipeline),
        description=f"{name}: from raw files to a champion",
        doc_md=training_doc(pipeline),
        tags=["millrace", name, "train"],
        **common(),
    ) as dag:
        tasks: list[BaseOperator] = []
        stages = [stage for stage in TRAINING if pipeline.label or stage not in LEARNING]
        for position, stage in enumerate(stages):
            if stage == "promote" and pipeline.promote.approval == "human":
                tasks.append(PromotionGate(pipeline=name, doc_md=PromotionGate.__doc__))
            tasks.append(
                StageOperator(
                    pipeline=name,
                    stage=stage,
                    interval=pipeline.source.interval,
                    earlier=stages[:position],
                    doc_md=TASK_DOCS.get(stage),
                    **placement(stage),
                )
            )
        chain(*tasks)
        if pipeline.label:
            announce = AnnounceOperator(
                task_id="announce",
                interval=pipeline.source.interval,
                earlier=stages,
                asset=asset,
                doc_md=AnnounceOperator.__doc__,
                trigger_rule=EVEN_IF_REJECTED,
            )
            dag.get_task("evaluate") >> announce
            tasks[-1] >> announce
            if "report" in stages:
                dag.get_task("evaluate") >> dag.get_task("report")
    return dag


def scoring_dag(pipeline: Pipeline) -> DAG:
    """Bulk scoring, started by the champion's asset."""
    name = pipeline.name
    asset = champion_asset(name)
    with DAG(
        dag_id=f"{name}_score",
        schedule=[asset],
        params=scoring_form(pipeline),
        description=f"{name}: scores of all rows by the champion",
        doc_md=f"Scores the `{pipeline.score.table}` table of **{name}** after each training run. {TASK_DOCS['score']}",
        tags=["millrace", name, "score"],
        **common(),
    ) as dag:
        tasks = [
            ScoreOperator(
                pipeline=name,
                stage=stage,
                interval=pipeline.source.interval,
                asset=asset,
                earlier=SCORING[:position],
                doc_md=TASK_DOCS.get(stage),
                **({"pool": POOL} if stage in JOBS else {}),
            )
            for position, stage in enumerate(SCORING)
        ]
        chain(*tasks)
    return dag


def broken(name: str, mistakes: str) -> DAG:
    """A stand-in for a pipeline whose file has mistakes: its documentation and its only task tell them."""
    from airflow.sdk import task

    with DAG(
        dag_id=f"{name}_train",
        schedule=None,
        description="the pipeline file has mistakes",
        doc_md=f"```\n{mistakes}\n```",
        tags=["millrace", name, "broken"],
        **common(),
    ) as dag:

        @task(task_id="pipeline_file", retries=0)
        def tell() -> None:
            raise PipelineFileError(mistakes)

        tell()
    return dag


def common() -> dict[str, Any]:
    """Arguments that all Millrace DAGs share."""
    return {"catchup": False, "max_active_runs": 1, "default_args": DEFAULTS}


def placement(stage: str) -> dict[str, Any]:
    """Pool and trigger rule of a stage: jobs that read rows share a pool, so that they don't fight for the cores."""
    rules = {"clean": TriggerRule.NONE_FAILED, "report": EVEN_IF_REJECTED}
    rule = {"trigger_rule": rules[stage]} if stage in rules else {}
    return rule | ({"pool": POOL} if stage in JOBS else {})


def timetable(pipeline: Pipeline, path: Path | None) -> PipelineTimetable | None:
    """The schedule of training, beginning one interval before the pipeline file was written.

    The logical date is the beginning of a run's time, so that a backfill's range of dates is a range of data.
    """
    if pipeline.schedule is None:
        return None
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(microsecond=0) if path else None
    return PipelineTimetable(pipeline.schedule, written - STEPS[pipeline.source.interval] if written else None)


def date_params(kind: Interval) -> dict[str, Param]:
    """The field for the run's interval, where there is more than one; the UI offers a calendar for days.

    Airflow puts a logical date and a data interval of its own above it: the field's words say which one to give.
    """
    if kind == "none":
        return {}
    unit, example = {
        "hourly": ("hour", "2026-01-31T05"),
        "daily": ("day", "2026-01-31"),
        "monthly": ("month", "2026-01"),
    }[kind]
    shape = {"format": "date"} if kind == "daily" else {}
    words = (
        f"To run one {unit}, give it here, such as {example}; the Logical Date above can stay as it is. Empty: the "
        f"last whole {unit} before the Logical Date. In a backfill leave it empty: each run takes its own {unit} of "
        "the range."
    )
    field = Param(None, type=["null", "string"], title=f"{unit.capitalize()} of data", description=words, **shape)
    return {"date": field}


def run_params() -> dict[str, Param]:
    """Fields that training and scoring share; of the runners, those that reach the profile's tables."""
    profile = load_profile()
    usable = usable_runners(profile)
    return {
        "runner": Param(
            None,
            type=["null", "string"],
            enum=[None, *usable],
            values_display={"null": f"as the profile says: {profile.runner}"},
            title="Runner",
            description=f"Where map and reduce tasks run: {', '.join(WHERE[each] for each in usable)}.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Do the work again even where tables are up to date.",
        ),
    }


def training_form(pipeline: Pipeline) -> dict[str, Param]:
    """The trigger form of training; every field starts with what the pipeline file says."""
    return {
        **date_params(pipeline.source.interval),
        "window": Param(
            format_duration(pipeline.window),
            type="string",
            pattern=r"^\d+[hdw]$",
            title="Window",
            description="How far back training looks, such as 12h, 60d or 8w. " + WHAT_IF,
        ),
        "sample_method": Param(
            pipeline.sample.method,
            enum=list(get_args(Sample.model_fields["method"].annotation)),
            title="Sample method",
            description="How training rows are chosen; auto decides by the drift verdict and says why. " + WHAT_IF,
        ),
        "sample_rows": Param(
            pipeline.sample.rows,
            type=["null", "integer"],
            minimum=1,
            title="Sample rows",
            description=f"How many rows to train on. Empty: as many as the pipeline file says, or need be. {WHAT_IF}",
        ),
        **run_params(),
    }


def scoring_form(pipeline: Pipeline) -> dict[str, Param]:
    """The trigger form of scoring."""
    return {**date_params(pipeline.source.interval), **run_params()}


def training_doc(pipeline: Pipeline) -> str:
    """Documentation of a training DAG, in Markdown."""
    source = pipeline.source
    uris = source.uri if isinstance(source.uri, list) else [source.uri]
    return "\n".join(
        [
            f"# {pipeline.name}",
            "",
            f"- reads: {', '.join(f'`{uri}`' for uri in uris)} ({source.format}, {source.interval})",
            f"- label: `{pipeline.label}`, model: `{pipeline.train.model}`, window: {format_duration(pipeline.window)}",
            f"- promotes by `{pipeline.promote.metric}` past {pipeline.promote.margin}, {pipeline.promote.approval}",
            f"- schedule: `{pipeline.schedule}` (UTC), each run for the interval that just ended",
            "",
            "Trigger runs it once, with the form's settings. Switched on, it runs by its schedule. To catch up on past "
            "intervals, choose Trigger → Backfill and a range of dates; the runs go one after the other.",
        ]
    )
