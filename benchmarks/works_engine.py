"""What a job costs before it has any rows: one row, and 64 tasks that find nothing."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data import make_data
from benchmarks.peers.events import KINDS
from benchmarks.pipelines import stats_pipeline, write_pipeline
from benchmarks.work import MILLRACE, Bench, Contender, Goal, Work, job, peer

TASKS = 64


def one_row(bench: Bench) -> Work:
    """A local job over one row."""
    source = make_data(bench.data, 1_000, bench.say).files("csv")[0]
    folder = bench.data / "one-row"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events-2026-03-30.csv"
    with Path(source).open() as file:
        path.write_text(file.readline() + file.readline())
    return _work(bench, "one-row", "a local job over one row", [str(path)], Goal(0.7, unit="s"))


def empty_tasks(bench: Bench) -> Work:
    """A local job of 64 tasks over files with a header and no row."""
    folder = bench.data / "empty"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(TASKS):
        path = folder / f"events-2026-03-30-{number:02d}.csv"
        path.write_text(",".join(KINDS) + "\n")
        files.append(str(path))
    return _work(bench, "empty-tasks", f"a local job of {TASKS} tasks without rows", files, Goal(1.5, unit="s"))


def _work(bench: Bench, name: str, title: str, files: list[str], goal: Goal) -> Work:
    pipeline = name.replace("-", "_")
    write_pipeline(bench.pipelines, pipeline, stats_pipeline(pipeline, files, "csv"))
    tasks = str(len(files))
    contenders = [
        Contender(MILLRACE, job("feature_stats", "-r", "local", "--pipeline", pipeline, "--tasks", tasks, *files)),
        Contender(
            "mrjob",
            peer("lines_mrjob.py", "-r", "local", "--jobconf", f"mapreduce.job.maps={tasks}", *files),
            once=len(files) > 1,
        ),
    ]
    return Work(name, title, contenders, (goal,))
