"""How time and memory grow: ten times the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from benchmarks.work import MILLRACE, Bench, Contender, Goal, Outcome, Work
from benchmarks.works_shard import shard
from benchmarks.works_stats import stats_csv

TENTH = "a tenth of the rows"
GIGABYTE = 1e9


def growth_stats(bench: Bench) -> Work:
    """Feature statistics of the CSV."""
    return _growth(bench, stats_csv(bench), stats_csv(_tenth(bench)))


def growth_shard(bench: Bench) -> Work:
    """Cleaning, sharding, sorting, writing."""
    return _growth(bench, shard(bench), shard(_tenth(bench)))


def _tenth(bench: Bench) -> Bench:
    return replace(bench, rows=bench.rows // 10)


def _growth(bench: Bench, whole: Work, tenth: Work) -> Work:
    contenders = [_millrace(whole, MILLRACE, bench), _millrace(tenth, TENTH, _tenth(bench))]
    goals = (
        Goal(10.5, (TENTH,)),
        Goal(1.1, (TENTH,), figure="peak_process"),
        Goal(1.5, figure="gigabytes_of_the_largest_process", unit="GB"),
    )
    name, title = whole.name.partition("-")[0], f"growth: {bench.rows:,} rows, {whole.title}"
    return Work(f"growth-{name}", title, contenders, goals, figures=_figures)


def _millrace(work: Work, name: str, bench: Bench) -> Contender:
    found = next(each for each in work.contenders if each.name == MILLRACE)
    return replace(found, name=name, environment=bench.environment)


def _figures(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    peak = median(run.peak_process for run in outcomes[MILLRACE].runs)
    return {"gigabytes_of_the_largest_process": peak / GIGABYTE}
