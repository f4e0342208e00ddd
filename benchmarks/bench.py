"""Millrace beside its peers on the same data and machine, in one run: seconds, memory, bytes, whether goals are met.

    python -m benchmarks.bench                          4 million rows, everything; writes benchmarks/results
    python -m benchmarks.bench --only stats-csv --rows 400000 --runs 3 --contender Millrace --contender Polars
    python -m benchmarks.bench --large                  40 million rows

Whole processes are timed, from start to end; bytecode is compiled before, and files are in the page cache, for all.
Contenders take turns, and medians are compared. Answers are compared too: a contender that is wrong fails the run.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks.results import write_results
from benchmarks.rounds import compile_all, run_work
from benchmarks.table import report, show
from benchmarks.work import Bench
from benchmarks.works_airflow import airflow
from benchmarks.works_bytes import one_scan, window
from benchmarks.works_engine import empty_tasks, one_row
from benchmarks.works_growth import growth_shard, growth_stats
from benchmarks.works_learn import sample, score_boosting, score_logistic
from benchmarks.works_shard import shard
from benchmarks.works_stats import stats_csv, stats_parquet

WORKS = {
    "stats-csv": stats_csv,
    "stats-parquet": stats_parquet,
    "shard": shard,
    "one-scan": one_scan,
    "window": window,
    "sample": sample,
    "score-logistic": score_logistic,
    "score-boosting": score_boosting,
    "one-row": one_row,
    "empty-tasks": empty_tasks,
    "airflow": airflow,
}
LARGE_WORKS = {"growth-stats": growth_stats, "growth-shard": growth_shard}
LARGE = ["stats-csv", "stats-parquet", "shard", *LARGE_WORKS]
NOT_LARGE = ("pandas", "mrjob", "PySpark")  # they need more memory, or hours
ROWS, LARGE_ROWS = 4_000_000, 40_000_000


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, type=click.Choice([*WORKS, *LARGE_WORKS]), help="Default: all.")
@click.option("--rows", type=click.IntRange(min=1), help="So many rows.")
@click.option("--large", is_flag=True, help="40 million rows, and how time and memory grow.")
@click.option("--runs", default=3, show_default=True, help="Runs of each contender; slow ones run less often.")
@click.option("--contender", "wanted", multiple=True, help="Only these contenders, such as Millrace.")
@click.option("--place", default=".bench", show_default=True, type=click.Path(path_type=Path), help="Data and outputs.")
@click.option("--reuse", is_flag=True, help="Take tables that an earlier run of Millrace made, where they are inputs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(
    names: Sequence[str], rows: int | None, large: bool, runs: int, wanted: Sequence[str], place: Path, reuse: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure, compare, and tell."""
    console = Console(stderr=True)
    began = time.monotonic()

    def say(words: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {words}", highlight=False)

    bench = Bench(place.absolute(), rows or (LARGE_ROWS if large else ROWS), say)
    if not reuse:
        shutil.rmtree(bench.home, ignore_errors=True)
    compile_all()
    everything = {**WORKS, **LARGE_WORKS}
    left_out = NOT_LARGE if large else ()
    found = [
        run_work(everything[name](bench), bench, runs, wanted, left_out)
        for name in names or (LARGE if large else list(WORKS))
    ]
    document = report(found, bench, time.monotonic() - began)
    if not (names or rows or wanted):
        write_results(document, "bench-large" if large else "bench")
    if as_json:
        click.echo(json.dumps(document))
    else:
        show(document)
    sys.exit(1 if any(work["wrong"] for work in document["works"]) else 0)


if __name__ == "__main__":
    main()
