"""Feature statistics of raw files, as CSV and as Parquet."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.answers import Tolerance, differences, read_answer, read_pairs, read_records
from benchmarks.data import Data, make_data
from benchmarks.measure import measure
from benchmarks.peers.events import KINDS
from benchmarks.pipelines import stats_pipeline, write_pipeline
from benchmarks.work import MILLRACE, REPOSITORY, Bench, Contender, Goal, Work, job, peer

GOALS = {
    "csv": (Goal(0.8, ("Polars",)), Goal(1 / 12, ("PySpark",)), Goal(1 / 100, ("mrjob",))),
    "parquet": (Goal(0.8, ("Polars",)),),
}


def stats_csv(bench: Bench) -> Work:
    """Statistics of the CSV."""
    return _stats(bench, "csv")


def stats_parquet(bench: Bench) -> Work:
    """Statistics of the Parquet."""
    return _stats(bench, "parquet")


MRJOB_SHARE = 80  # plain mrjob gets so many times fewer rows

PEERS = {
    "Polars": Tolerance(distinct=0.15),
    "DuckDB": Tolerance(distinct=0.15, top=1),
    "PySpark": Tolerance(distinct=0.06),  # its relative deviation is set to 2 %
}
"""Their own approximations are held to what they promise, so that nobody is made slower than he need be."""


def _stats(bench: Bench, kind: str) -> Work:
    data = make_data(bench.data, bench.rows, bench.say)
    files = data.files(kind)
    pipeline = f"events_{kind}"
    write_pipeline(bench.pipelines, pipeline, stats_pipeline(pipeline, files, kind))
    arguments = ["-r", "local", "--pipeline", pipeline, *files]
    contenders = [
        Contender(
            MILLRACE,
            job("feature_stats", *arguments),
            read_records,
            cache(lambda _: _engine_alone(bench, "feature_stats", *arguments)),
        ),
        Contender("Polars", peer("stats_polars.py", kind, *files), read_answer, engine_seconds),
        Contender("DuckDB", peer("stats_duckdb.py", kind, *files), read_answer, engine_seconds),
    ]
    for name in ("pandas", "PySpark") if kind == "csv" else ():  # they aren't the ones to beat: minutes for nothing
        command = peer(f"stats_{name.lower()}.py", kind, *files)
        contenders.append(Contender(name, command, read_answer, engine_seconds, once=True))
    if kind == "csv":
        contenders.append(_mrjob(bench))
    title = f"feature statistics of the {'CSV' if kind == 'csv' else 'Parquet'}"
    return Work(f"stats-{kind}", title, contenders, GOALS[kind], lambda answers: _wrong(answers, data, bench))


def _engine_alone(bench: Bench, *arguments: str) -> float | None:
    """The seconds of one of Millrace's jobs in a process that has imported everything before."""
    out = bench.output / "engine.out"
    measure([sys.executable, "-m", "benchmarks.engine", *arguments], out, bench.environment, REPOSITORY)
    return engine_seconds(out)


def _mrjob(bench: Bench) -> Contender:
    """On fewer rows: its seconds grow with them."""
    few = mrjob_data(bench)
    cores = len(os.sched_getaffinity(0))
    tasks = ["--jobconf", f"mapreduce.job.maps={cores}", "--jobconf", f"mapreduce.job.reduces={cores}"]
    command = peer("stats_mrjob.py", "-r", "local", *tasks, *few.files("csv"))
    empty = bench.data / "no-rows.csv"
    empty.write_text(",".join(KINDS) + "\n")
    start = peer("stats_mrjob.py", "-r", "local", *tasks, str(empty))
    return Contender("mrjob", command, read_pairs, share=few.rows / bench.rows, start=start, once=True)


def mrjob_data(bench: Bench) -> Data:
    """The events that plain mrjob measures."""
    return make_data(bench.data, max(1_000, bench.rows // MRJOB_SHARE), bench.say)


def _wrong(answers: Mapping[str, Any], data: Data, bench: Bench) -> list[str]:
    truths = {"mrjob": mrjob_data(bench).truth} if "mrjob" in answers else {}
    return [
        f"{name}: {words}"
        for name, answer in answers.items()
        for words in differences(answer, truths.get(name, data.truth), PEERS.get(name, Tolerance()))
    ]


def engine_seconds(out: Path) -> float | None:
    """The seconds without start-up that a peer tells in its answer, or Millrace's own on its standard error."""
    known = re.findall(r"engine_seconds\"?:? ([0-9.]+)", out.read_text() + out.with_suffix(".err").read_text())
    return float(known[-1]) if known else None
