"""What dead jobs left goes; what a running one may need stays."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from millrace.profiles import Profile
from millrace.stages import maintain
from millrace.stages.context import Run

DAY = 86400


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run on Spark that keeps its jobs' files on this machine."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    profile = Profile(
        name="p", home=tmp_path / "home", root=str(tmp_path / "tables"), work=str(tmp_path / "work"),
        runner="spark", registry="none",
    )  # fmt: skip
    nothing: Any = None
    return Run(pipeline=nothing, profile=profile, date="")


def made(path: Path, *days: float) -> None:
    """A folder with a file of each age, or a file of one."""
    for number, age in enumerate(days):
        file = path / f"{number}" if not path.suffix else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        os.utime(file, (time.time() - age * DAY,) * 2)
    if not path.suffix:
        os.utime(path, (time.time() - max(days) * DAY,) * 2)


def test_only_what_has_not_changed_for_days_goes(run: Run, tmp_path: Path) -> None:
    work, home, temporary = tmp_path / "work", tmp_path / "home", tmp_path / "tmp"
    made(work / "clicks-clean-dead", 9, 4)
    made(work / "clicks-clean-waits", 9, 2)  # of the last change, not of the first
    made(home / "shuffle" / "dead", 4)
    made(home / "shuffle" / "runs", 0)
    made(temporary / "millrace-job-dead", 4)
    made(temporary / "millrace-job-runs", 0)
    made(temporary / "of-another-program", 400)
    made(work / "_packs" / "environment-old.gz", 400)
    made(work / "_packs" / "environment-used.gz", 400)
    made(work / "_packs" / "environment-used.gz.used", 3)
    dead = [work / "clicks-clean-dead", work / "_packs" / "environment-old.gz", home / "shuffle" / "dead"]
    expected = [str(path) for path in (*dead, temporary / "millrace-job-dead")]
    assert maintain.vacuum_leftovers(run, dry_run=True) == expected
    assert all(Path(path).exists() for path in expected)
    assert maintain.vacuum_leftovers(run, dry_run=False) == expected
    assert maintain.vacuum_leftovers(run, dry_run=False) == []
    assert not any(Path(path).exists() for path in expected)
    assert maintain.vacuum_leftovers(run, dry_run=True, grace=timedelta(days=1)) == [str(work / "clicks-clean-waits")]
