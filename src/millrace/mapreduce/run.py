"""Runs a job on a runner: a plan and splits flow in, the pairs that the job put out flow back."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from millrace.data.split import Split
from millrace.errors import MillraceError, RequestError, SplitFailed
from millrace.mapreduce.failures import summary
from millrace.mapreduce.job import ColumnJob, JobPlan, JsonPairs
from millrace.storage.refusals import is_refusal, write_refused

RUNNERS = ("inline", "local")
Progress = Callable[[int, int], None]


def run_job(
    job: type[ColumnJob],
    plan: JobPlan,
    splits: Sequence[Split],
    *,
    runner: str = "inline",
    tasks: int | None = None,
    progress: Progress | None = None,
) -> list[tuple[str, Any]]:
    """Runs `job` over `splits` and returns its pairs, sorted: the same for every runner and number of tasks.

    `tasks`: map tasks at most, and how many run at a time under ``local`` (by default the number of processors).
    `progress` is called with (splits done, all splits), in this thread.

    Raises the MillraceError that a task raised, or SplitFailed naming file, range and rows; RequestError for an unknown
    runner or a job that task processes can't import.
    """
    if runner not in RUNNERS:
        raise RequestError("unknown runner", expected=f"one of {', '.join(RUNNERS)}", found=repr(runner))
    if not splits:
        return []
    try:
        folder = Path(tempfile.mkdtemp(prefix="millrace-job-"))
    except OSError as error:
        raise write_refused("the folder for temporary files (TMPDIR)", error) from error
    try:
        (folder / "plan.json").write_text(plan.model_dump_json(), "utf-8")
        (folder / "manifest").write_text("".join(f"{split.to_json()}\n" for split in splits), "utf-8")
        options = ["--plan", str(folder / "plan.json"), "--local-tmp-dir", str(folder)]
        started = job(["-r", runner, *options, str(folder / "manifest")])
        return _run(started, tasks, progress)
    except OSError as error:
        raise write_refused(str(folder), error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(job: ColumnJob, tasks: int | None, progress: Progress | None) -> list[tuple[str, Any]]:
    try:
        with _quiet(), job.make_runner() as runner:
            runner.map_tasks, runner.progress = tasks, progress
            runner.run()
            return [JsonPairs().read(line) for line in runner.output_lines()]
    except MillraceError:
        raise
    except Exception as error:
        if is_refusal(error):
            raise
        raise SplitFailed(f"{type(job).__name__} failed", found=summary(error)) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """mrjob's own chatter (temp folders, missing configuration files) is not for the user of a stage."""
    log = logging.getLogger("mrjob")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
