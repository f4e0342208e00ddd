"""A law: tables don't depend on how files are cut, on how many tasks read them, or on attempts that came twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.stages import Run, open_run, run_one

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
PIPELINE = """\
name: rows
source: {uri: "data/*.csv", format: csv, time: at, interval: daily, file_date: "%Y-%m-%d", max_bad_rows: 1}
columns:
  at: {type: timestamp, role: time}
  key: {type: string, role: key}
  number: {type: float64, role: numeric}
  word: {type: string, role: categorical}
check:
  - {expect: column_values_to_not_be_null, column: key, severity: quarantine}
  - {expect: column_mean_to_be_between, column: number, min_value: -1, severity: warn}
clean:
  number: {outliers: {method: quantile, lower: 0.05, upper: 0.95}, missing: {fill: mean}}
  word: {case: lower, missing: {fill: most_frequent}}
shard: {by: key, shards: 3}
window: 3d
schedule: null
"""
CELL = st.sampled_from(["", "a", "B", "b", '"x\ny"', '"q""q"', "é", " trim "])
NUMBER = st.one_of(st.floats(-1e6, 1e6).map(repr), st.sampled_from(["", "0.1", "0.2", "0.3", "1e300", "x", "inf"]))
ROW = st.tuples(st.sampled_from(["k1", "k2", "k3", ""]), NUMBER, CELL).map(",".join)
DAY = st.lists(st.one_of(ROW, st.sampled_from(["ragged", "k1,0.5,a,extra,cell", "k1,0.5,a"])), max_size=40)
TABLES = ("check", "clean", "quarantine", "sharded", "stats")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("splits")
    for name in ("data", "pipelines"):
        (folder / name).mkdir()
    (folder / "pipelines" / "rows.yaml").write_text(PIPELINE)
    return folder


def write(place: Path, days: tuple[list[str], ...]) -> None:
    for day, rows in zip(DAYS, days, strict=True):
        lines = [f"{day} 0{number % 10}:00:00,{row}" for number, row in enumerate(rows)]
        (place / "data" / f"{day}.csv").write_text("\n".join(["at,key,number,word", *lines]) + "\n")


def contents(run: Run) -> dict[str, Any]:
    """What the tables hold; aside from what tells of the splits: statistics of raw rows, whose floating sums depend on
    their order, and where files were cut."""
    found = {}
    for name in TABLES:
        table = run.table(name)
        rows = table.read().to_pylist() if table.exists() else []
        of_splits = ("stats", "cuts") if name == "check" else ()
        found[name] = [{key: value for key, value in row.items() if key not in of_splits} for row in rows]
    return found


def night(home: Path, place: Path, **profile: Any) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MILLRACE_HOME", str(home))
        patch.setenv("MILLRACE_PIPELINES", str(place / "pipelines"))
        run = open_run("rows", DAYS[-1], options={"runner": "inline"})
        run = replace(run, profile=run.profile.model_copy(update=profile))
        for stage in ("check", "clean", "shard", "stats"):
            run_one(stage, run)
        return contents(run)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.tuples(DAY, DAY, DAY).filter(any), st.integers(1, 5), st.integers(20, 2000))
def test_tables_are_the_same_for_any_splits_and_tasks(
    place: Path, tmp_path_factory: pytest.TempPathFactory, days: tuple[list[str], ...], tasks: int, size: int
) -> None:
    write(place, days)
    whole = night(tmp_path_factory.mktemp("whole"), place, tasks=1)
    cut = night(tmp_path_factory.mktemp("cut"), place, tasks=tasks, split_bytes=size)
    assert cut == whole


def test_attempts_that_came_twice_change_nothing(
    place: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an engine with speculative attempts: each task's work is done twice, and one of the two is taken."""
    write(place, tuple([f"k{n % 3},{n / 7},{'ab'[n % 2]}" for n in range(30)] for _ in DAYS))
    once = night(tmp_path_factory.mktemp("once"), place)
    plain: Callable[..., Any] = Run.run_job

    def twice(self: Run, job: Any, plan: Any, splits: Any) -> Any:
        plain(self, job, plan, splits)
        return plain(self, job, plan, splits)

    monkeypatch.setattr(Run, "run_job", twice)
    assert night(tmp_path_factory.mktemp("twice"), place, tasks=2) == once
