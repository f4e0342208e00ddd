"""Millrace beside its peers on the same data and machine, in one run: seconds, memory, bytes, whether goals are met.

    python -m benchmarks.bench                          4 million rows, everything
    python -m benchmarks.bench --only stats-csv --rows 400000 --runs 3
    python -m benchmarks.bench --large                  40 million rows

Whole processes are timed, from start to end; bytecode is compiled before, and files are in the page cache, for all.
Contenders take turns, and medians are compared. Answers are compared too: a contender that is wrong fails the run.
"""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.measure import measure
from benchmarks.table import report, show
from benchmarks.work import REPOSITORY, Bench, Contender, Outcome, Work
from benchmarks.works_shard import shard
from benchmarks.works_stats import stats_csv, stats_parquet

WORKS = {"stats-csv": stats_csv, "stats-parquet": stats_parquet, "shard": shard}
COMPILED = ("polars", "duckdb", "pandas", "pyarrow", "numpy", "mrjob", "datasketches", "pydantic", "millrace")
ROWS, LARGE_ROWS = 4_000_000, 40_000_000
SLOW, VERY_SLOW = 8.0, 25.0  # seconds of a run; slower contenders run less often


@click.command(help=__doc__)
@click.option("--only", "names", multiple=True, type=click.Choice(list(WORKS)), help="This work (default: all).")
@click.option("--rows", type=click.IntRange(min=1), help="So many rows.")
@click.option("--large", is_flag=True, help="40 million rows, and how time and memory grow.")
@click.option("--runs", default=5, show_default=True, help="Runs of each contender; slow ones run less often.")
@click.option("--contender", "wanted", multiple=True, help="Only these contenders, such as Millrace.")
@click.option("--place", default=".bench", show_default=True, type=click.Path(path_type=Path), help="Data and outputs.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(
    names: Sequence[str], rows: int | None, large: bool, runs: int, wanted: Sequence[str], place: Path, as_json: bool
) -> None:
    """Measure, compare, and tell."""
    console = Console(stderr=True)
    began = time.monotonic()

    def say(words: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {words}", highlight=False)

    bench = Bench(place.absolute(), rows or (LARGE_ROWS if large else ROWS), say)
    compile_all()
    found = [run_work(WORKS[name](bench), bench, runs, wanted) for name in names or WORKS]
    document = report(found, bench)
    if as_json:
        click.echo(json.dumps(document))
    else:
        show(document)
    sys.exit(1 if any(work["wrong"] for work in document["works"]) else 0)


def compile_all() -> None:
    """Compile what the contenders import, so that none of them does it while it is timed."""
    folders = [REPOSITORY / "benchmarks", REPOSITORY / "mrjobs"]
    for name in COMPILED:
        spec = importlib.util.find_spec(name)
        folders += [Path(place) for place in (spec.submodule_search_locations or [] if spec else [])]
    for folder in folders:
        compileall.compile_dir(folder, quiet=2, workers=os.cpu_count() or 1)


def run_work(work: Work, bench: Bench, runs: int, wanted: Sequence[str] = ()) -> tuple[Work, dict[str, Outcome]]:
    """All contenders, taking turns."""
    contenders = [each for each in work.contenders if not wanted or each.name in wanted]
    bench.output.mkdir(parents=True, exist_ok=True)
    measured: dict[str, list[Any]] = {each.name: [] for each in contenders}
    answers: dict[str, Any] = {}
    engines: dict[str, list[float]] = {each.name: [] for each in contenders}
    for turn in range(runs):
        for each in contenders:
            if turn >= runs_of(each, measured[each.name], runs):
                continue
            bench.say(f"{work.name}: {each.name}, run {turn + 1}")
            out = bench.output / f"{work.name}-{each.name.replace(' ', '-')}.out"
            each.prepare()
            measured[each.name].append(measure(each.command, out, bench.environment, REPOSITORY))
            engine = each.engine(out)
            engines[each.name] += [] if engine is None else [engine]
            if not turn:
                answers[each.name] = each.answer(out)
    work.clean_up()
    return work, {
        each.name: Outcome(measured[each.name], answers[each.name], median_of(engines[each.name]), each.share)
        for each in contenders
    }


def runs_of(contender: Contender, measured: Sequence[Any], runs: int) -> int:
    """How often a contender runs: the slower, the less often."""
    most = runs if contender.runs is None else min(runs, contender.runs)
    if measured and measured[0].seconds > VERY_SLOW:
        return min(most, 1)
    return min(most, 2) if measured and measured[0].seconds > SLOW else most


def median_of(values: Sequence[float]) -> float | None:
    """The median, if there is any value."""
    from statistics import median

    return median(values) if values else None


if __name__ == "__main__":
    main()
