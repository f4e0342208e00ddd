"""A job run by hand, ``python mrjobs/clean.py -r inline --pipeline FILE FILES``: files in, JSON records out.

The job's stage runs on the FILES, with the stages that it needs before it, in a scratch folder, and what it wrote is
printed; with ``--table`` it runs on the pipeline's own tables and nothing is printed but the ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from millrace import intervals, pipeline_file
from millrace.errors import RequestError
from millrace.mapreduce.job import ColumnJob
from millrace.mapreduce.splits import plan_splits
from millrace.profiles import load_profile, pipelines_folder
from millrace.runner_names import CLUSTERS
from millrace.spec import Score
from millrace.stages.context import STAGE_OF, Options, Run, StageResult
from millrace.storage.files import list_files
from millrace.storage.ledger import Ledger

CHAINS = {  # the stages that lead to a job's own, and the table that it writes
    "Check": ("check",),
    "Clean": ("check", "clean"),
    "Shard": ("check", "clean", "shard"),
    "FeatureStats": ("check", "clean", "shard", "stats"),
    "SampleRows": ("check", "clean", "shard", "stats", "drift", "sample"),
    "Score": ("check", "clean", "shard", "score"),
}


def run_by_hand(job: type[ColumnJob], options: argparse.Namespace) -> None:
    """Run the job's stage as the command line asks, print its records, and its ledger on standard error."""
    pipeline = pipeline_file.load(pipeline_file.find(options.pipeline, pipelines_folder()))
    if options.files:
        source = pipeline.source.model_copy(update={"uri": list(options.files)})
        pipeline = pipeline.model_copy(update={"source": source})
    if (options.files or not options.table) and pipeline.score.table not in ("sharded", "clean"):
        pipeline = pipeline.model_copy(update={"score": Score()})  # the rows of the files, no other table's
    profile = load_profile(options.profile).model_copy(update={"tasks": options.tasks})
    run = Run(pipeline, profile, "", Options(runner=options.runner), say=lambda words: print(words, file=sys.stderr))
    if options.table:
        _chain(job, _dated(run, options.date))
        return
    with _scratch_root(run) as folder:
        scratch = replace(run, profile=profile.model_copy(update={"root": folder}), say=_warn)
        if job.__name__ == "FeatureStats":
            for line in _measured(job, scratch):
                print(line)
            return
        scratch = _dated(scratch, options.date)
        result = _chain(job, scratch)
        for record in _records(scratch, result):
            print(json.dumps(record, default=str))
        print(result.ledger if result.ledger is not None else Ledger(), file=sys.stderr)


@contextlib.contextmanager
def _scratch_root(run: Run) -> Iterator[str]:
    """A folder for tables that are only printed, gone afterwards; on the store where tasks run on other machines."""
    if run.runner() not in CLUSTERS:
        with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
            yield folder
        return
    from millrace.mapreduce.cluster import work_folder
    from millrace.mapreduce.store_fs import remove

    uri = f"{work_folder(run.cluster())}/scratch-{uuid.uuid4().hex[:16]}"
    try:
        yield uri
    finally:
        remove(uri)


def _warn(words: str) -> None:
    """Of a stage's progress, what isn't as asked for: files that are left out."""
    if words.startswith("WARNING"):
        print(words, file=sys.stderr)


def _dated(run: Run, date: str | None) -> Run:
    """The run of the newest interval of its files, with a window that holds all of them."""
    from millrace.stages.ingest import newest_interval, source_files

    run = replace(run, date=date or newest_interval(run))
    if run.kind == "none":
        return run
    names = [name for name in source_files(replace(run, date="")) if name not in ("*", intervals.UNKNOWN)]
    first = min(names, default=run.date)
    span = intervals.interval_start(run.date, run.kind) - intervals.interval_start(first, run.kind)
    window = max(span + timedelta(days=31), run.pipeline.window)
    return replace(run, options=run.options.model_copy(update={"window": window}))


def _chain(job: type[ColumnJob], run: Run) -> StageResult:
    from millrace.stages import run_one

    stages = CHAINS.get(job.__name__)
    if stages is None:
        raise RequestError("no stage runs this job", expected=", ".join(CHAINS), found=job.__name__)
    versions: dict[str, int] = {}
    for stage in stages:
        result = run_one(stage, replace(run, upstream=dict(versions)))
        if result.version is not None:
            versions[stage] = result.version
    return result


def _records(run: Run, result: StageResult) -> Iterator[dict[str, Any]]:
    """The rows that the stage wrote; binary states are left out."""
    table = {stage: name for name, stage in STAGE_OF.items() if name != "quarantine"}.get(result.stage, result.stage)
    for batch in run.table(table).batches(result.version):
        for row in batch.to_pylist():
            if "verdict" in row:
                row["verdict"] = json.loads(row["verdict"])
            yield {name: value for name, value in row.items() if not isinstance(value, bytes)}
    if result.stage == "clean" and run.table("quarantine").exists():
        for batch in run.table("quarantine").batches():
            for row in batch.to_pylist():
                yield {"quarantine": row}


def _measured(job: type[ColumnJob], run: Run) -> Iterator[str]:
    """The statistics of raw files as they stand, one record (JSON) per interval and column: one scan and no table."""
    files = list_files(run.pipeline.source.uri)

    def measure(*, numbered: bool) -> list[tuple[str, Any]]:
        splits = plan_splits(files, run.pipeline, numbered=numbered)
        return run.run_job(job, run.job_plan(str(Path(run.profile.root)), raw=True, records=True), splits)

    rows = 0
    for _, found in sorted(run.with_guessed_cuts(measure)):
        rows += found["rows"]
        yield from found["records"]
    print(Ledger(rows_in=rows, rows_out=rows), file=sys.stderr)
