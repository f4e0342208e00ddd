"""Real processes: races for a commit, and kills at every fault point."""

import signal

import pytest

from millrace.errors import RequestError
from millrace.storage import faults
from millrace.storage.tables import Table


def finish(processes):
    """The answers in order; a killed process fails here."""
    return sorted(answer for answer, _ in [process.finish() for process in processes])


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "t")


def test_one_transaction_in_four_processes_commits_once(tmp_path, uri, stage):
    runners = [stage(uri, "same", "2026-01-05", value, go=tmp_path / "go") for value in range(4)]
    (tmp_path / "go").touch()
    assert finish(runners) == [0] * 4
    assert Table(uri).read().num_rows == 1000


def test_four_intervals_at_once_all_land(tmp_path, uri, stage):
    runners = [stage(uri, f"t{day}", f"2026-01-0{day}", day, go=tmp_path / "go") for day in (5, 6, 7, 8)]
    (tmp_path / "go").touch()
    assert finish(runners) == [0, 1, 2, 3]
    assert Table(uri).intervals() == {f"2026-01-0{day}": 1000 for day in (5, 6, 7, 8)}
    assert Table(uri).read()["x"].unique().to_pylist() == [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("fault", "committed"), [("after_part_write", None), ("before_commit", None), ("after_commit", 0)]
)
def test_a_rerun_after_a_kill_makes_the_same_table(uri, stage, fault, committed):
    assert stage(uri, "first", "2026-01-05", 7, fault=fault).finish() == (None, -signal.SIGKILL)
    assert Table(uri).committed("first") == committed
    assert finish([stage(uri, "first", "2026-01-05", 7)]) == [0]
    assert Table(uri).read()["x"].to_pylist() == [7] * 1000
    assert len(Table(uri).parts()) == 1


def test_a_kill_in_the_race_for_one_interval_leaves_one_writer_s_rows(tmp_path, uri, stage):
    killed = stage(uri, "a", "2026-01-05", 1, go=tmp_path / "go", fault="before_commit")
    runners = [stage(uri, name, "2026-01-05", value, go=tmp_path / "go") for value, name in enumerate("bcd")]
    (tmp_path / "go").touch()
    assert finish(runners) == [0, 1, 2]
    assert killed.finish() == (None, -signal.SIGKILL)
    assert finish([stage(uri, "a", "2026-01-05", 1)]) == [3]
    assert Table(uri).read()["x"].to_pylist() == [1] * 1000


def test_a_fault_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setenv(faults.VARIABLE, "after_lunch")
    with pytest.raises(RequestError, match="expected one of before_part_write, after_part_write"):
        faults.reach("before_commit")


def test_the_nth_time(monkeypatch):
    killed = []
    monkeypatch.setattr(faults.os, "kill", lambda *arguments: killed.append(arguments))
    monkeypatch.setattr(faults, "_reached", type(faults._reached)())
    monkeypatch.setenv(faults.VARIABLE, "before_commit:2")
    for _ in range(3):
        faults.reach("before_commit")
        faults.reach("after_commit")
    assert len(killed) == 1
