"""One day of fraud: equal tables from any number of tasks, either runner, and after kill -9 at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fraud_nights import NAME, write_fraud_pipeline

from millrace.stages import open_run, run_one

pytestmark = pytest.mark.realdata

DATE = "2018-05-02"
STAGES = ("check", "clean", "shard", "stats", "drift", "sample")
ROWS = ("clean", "quarantine", "sharded", "sample")
FAULTS = ("after_part_write:3", "before_commit:2", "after_commit:4")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_data: Callable[[str], Path]) -> Path:
    """A home of its own, with a window of two days of fraud."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    lines = {"window": "2d", "evaluate": "{holdout: 1d}", "sample": "{method: random, rows: 3000}"}
    write_fraud_pipeline(real_data("fraud_daily"), **lines)
    return tmp_path / "home"


def tables(place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Rows of each table in the order of their files' shards, ledgers, and how many versions there are."""
    monkeypatch.setenv("MILLRACE_HOME", str(place))
    run = open_run(NAME, DATE)
    found: dict[str, Any] = {}
    for name in ROWS:
        table = run.table(name)
        if not table.exists():
            continue
        parts = sorted(table.parts(), key=lambda part: sorted(part.partition.items()))
        keys = [tuple(sorted(part.partition.items())) for part in parts]
        rows = table.read().to_pandas()
        shards = [each for each in ("data_interval", "shard") if each in rows]
        rows = rows.sort_values(shards, kind="stable").reset_index(drop=True)
        ledger = table.ledger(table.version()) if name != "quarantine" else None
        found[name] = (keys, [part.rows for part in parts], rows, ledger, table.version())
    return found


def assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, (keys, counts, rows, ledger, version) in first.items():
        others = second[name]
        assert (keys, counts, ledger, version) == (others[0], others[1], others[3], others[4]), name
        assert rows.equals(others[2]), name


def run_stages_with(place: Path, monkeypatch: pytest.MonkeyPatch, runner: str, tasks: int) -> dict[str, Any]:
    monkeypatch.setenv("MILLRACE_HOME", str(place))
    opened = open_run(NAME, DATE, options={"runner": runner})
    object.__setattr__(opened, "profile", opened.profile.model_copy(update={"tasks": tasks}))
    for stage in STAGES:
        run_one(stage, opened)
    return tables(place, monkeypatch)


def test_runners_and_numbers_of_tasks_give_equal_tables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = run_stages_with(home / "one", monkeypatch, "inline", 1)
    assert one["clean"][3].rows_in > 19_000
    for runner, tasks in (("inline", 5), ("local", 3)):
        assert_equal(one, run_stages_with(home / f"{runner}{tasks}", monkeypatch, runner, tasks))


def command(place: Path, fault: str = "") -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", "from millrace.cli import main; main()"]
    words = [*program, "run", NAME, "--date", DATE, "-r", "inline", "--until", "sample"]
    environment = {**os.environ, "MILLRACE_HOME": str(place), "MILLRACE_FAULT": fault}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_killed_runs_end_like_an_undisturbed_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_stages_with(home / "whole", monkeypatch, "inline", 1)
    for fault in FAULTS:
        process = command(home / "killed", fault)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -9, f"{fault}: {errors.decode()[-2000:]}"
    process = command(home / "killed")  # and at any moment, from outside
    time.sleep(3)
    process.kill()
    process.communicate(timeout=120)
    assert_equal(whole, run_stages_with(home / "killed", monkeypatch, "inline", 1))
