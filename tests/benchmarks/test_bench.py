"""The benchmark's contenders find the same: Millrace, Polars and DuckDB over 20,000 rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.answers import Tolerance, differences
from benchmarks.measure import measure
from benchmarks.results import page, summary
from benchmarks.rounds import run_work
from benchmarks.table import goal_facts, report
from benchmarks.work import MILLRACE, REPOSITORY, Bench, Goal
from benchmarks.works_shard import shard
from benchmarks.works_stats import stats_csv, stats_parquet

CONTENDERS = (MILLRACE, "Polars", "DuckDB")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), 20_000, lambda words: None)


@pytest.mark.parametrize("work", [stats_csv, stats_parquet, shard])
def test_contenders_find_the_same(bench: Bench, work: Any) -> None:
    found = report([run_work(work(bench), bench, 1, CONTENDERS)], bench, 1.0)
    [facts] = found["works"]
    assert facts["wrong"] == []
    assert tuple(facts["contenders"]) == CONTENDERS
    assert all(text.count(facts["title"]) for text in (page(found, "bench"), summary(found)))


TRUTH = {
    "age": {
        "rows": 4, "nulls": 1, "distinct": 3, "min": 1, "max": 3, "mean": 2.0, "std": 1.0,
        "grid": [1] * 667 + [2] * 667 + [3] * 667, "top": [[1, 1], [2, 1], [3, 1]],
    }
}  # fmt: skip
RIGHT = {
    "nulls": 1, "distinct": 3, "min": 1, "max": 3, "mean": 2.0, "std": 1.0,
    "quantiles": [1, 1, 1, 2, 3, 3, 3], "top": [[3, 1], [2, 1], [1, 1]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, []),
        ({"nulls": 0}, ["age: nulls 0, not 1"]),
        ({"distinct": 4}, ["age: distinct 4, not 3"]),
        ({"mean": 2.0001}, ["age: mean 2.0001, not 2.0"]),
        ({"quantiles": [1, 1, 1, 3, 3, 3, 3]}, ["age: quantiles [1, 1, 1, 3, 3, 3, 3], not None"]),
        ({"top": [[3, 1], [2, 1], [1, 2]]}, ["age: top [[3, 1], [2, 1], [1, 2]], not [[1, 1], [2, 1], [3, 1]]"]),
    ],
)
def test_a_wrong_answer_is_told(wrong: dict[str, Any], words: list[str]) -> None:
    assert differences({"rows": 4, "columns": {"age": RIGHT | wrong}}, TRUTH, Tolerance()) == words


def test_bytes_of_children_and_of_orphans_are_counted(tmp_path: Path) -> None:
    path, size = tmp_path / "zeros", 3_000_000
    path.write_bytes(bytes(size))
    script = f"cat {path} > /dev/null; (sleep 0.2; cat {path} > /dev/null) & disown"
    found = measure(["bash", "-c", script], tmp_path / "out", {"PATH": "/usr/bin:/bin"}, REPOSITORY)
    assert 2 * size <= found.read < 2.2 * size
    assert 2 * size <= found.written < 2.2 * size


def test_a_goal_is_met_against_the_faster_of_two() -> None:
    contenders = {name: {"seconds": seconds} for name, seconds in ((MILLRACE, 2.0), ("Polars", 3.0), ("DuckDB", 2.5))}
    found = goal_facts(Goal(1.1, ("Polars", "DuckDB")), contenders, {})
    assert found == {
        "goal": "≤ 1.1 × the faster of Polars and DuckDB", "found": "0.80 ×", "value": 0.8, "most": 1.1, "met": True
    }  # fmt: skip
    found = goal_facts(Goal(1 / 12, ("Polars",)), contenders, {})
    assert found is not None
    assert (found["goal"], found["found"], found["met"]) == ("≥ 12 × faster than Polars", "1.5 ×", False)
