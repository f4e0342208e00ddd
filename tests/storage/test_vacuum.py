"""Vacuum: exactly what no kept version and no running attempt needs."""

import os
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.errors import CorruptData
from millrace.storage import vacuum as vacuum_module
from millrace.storage.tables import Commit, Table

NONE = timedelta(0)
HOUR = timedelta(hours=1)


@pytest.fixture
def table(tmp_path, schema, write):
    """Versions 0, 1 and 2 hold 0, 1 and 2 in the same interval."""
    table = Table(str(tmp_path / "t"))
    for value in range(3):
        part = write(table.uri, "2026-01-05", [value])
        table.commit(Commit([part], schema, str(value), replace=["2026-01-05"]))
    return table


def paths(table, *versions):
    return sorted(part.path for version in versions for part in table.parts(version))


def test_versions_within_retention_stay(table):
    assert table.vacuum(HOUR) == []
    old = paths(table, 0, 1)
    assert table.vacuum(NONE) == old
    assert table.read()["x"].to_pylist() == [2]
    with pytest.raises(CorruptData, match="a file of this version is gone.*vacuum"):
        table.read(1)


def test_the_version_that_was_newest_when_retention_began_stays(table, schema, write):
    time.sleep(0.3)
    table.commit(Commit([write(table.uri, "2026-01-05", [3])], schema, "3", replace=["2026-01-05"]))
    assert table.vacuum(timedelta(seconds=0.25), dry_run=True) == paths(table, 0, 1)


def test_versions_and_parts_in_use_stay(table, write):
    waiting = write(table.uri, "2026-01-06", [9]).path
    gone = table.vacuum(NONE, protect=[0, waiting], grace=NONE, dry_run=True)
    assert gone == paths(table, 1)


def test_orphans_stay_while_an_attempt_may_still_run(table, write):
    orphan = write(table.uri, "2026-01-06", [9]).path
    assert table.vacuum(HOUR) == []
    os.utime(f"{table.uri}/{orphan}", (time.time() - 7200,) * 2)
    assert table.vacuum(HOUR, grace=3 * HOUR) == []
    assert table.vacuum(HOUR, grace=HOUR) == [orphan]
    assert not Path(f"{table.uri}/{orphan}").exists()


def test_hidden_files_and_the_log_are_not_touched(table):
    Path(table.uri, "_notes").write_text("x")
    before = sorted(Path(table.uri, "_delta_log").iterdir())
    table.vacuum(NONE, grace=NONE)
    assert Path(table.uri, "_notes").exists()
    assert sorted(Path(table.uri, "_delta_log").iterdir()) == before
    assert [record.transaction for record in table.history()] == ["2", "1", "0"]


def test_a_part_that_was_removed_before_its_commit_is_noticed(table, schema, write):
    part = write(table.uri, "2026-01-06", [9])
    table.vacuum(NONE, grace=NONE)
    with pytest.raises(CorruptData, match="found no file"):
        table.commit(Commit([part], schema, "late"))
    assert table.version() == 2


def test_a_parts_lookup_index_goes_with_it(table):
    for part in table.parts(0) + table.parts(2):
        index = Path(f"{table.uri}/_index/{part.path}.arrow")
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(b"index")
    old = paths(table, 0, 1)
    assert table.vacuum(NONE) == sorted([*old, f"_index/{paths(table, 0)[0]}.arrow"])
    assert [path.name for path in Path(f"{table.uri}/_index").rglob("*.arrow")] == [
        f"{Path(paths(table, 2)[0]).name}.arrow"
    ]


@pytest.mark.parametrize("skew", [-1, 0, 1])
@pytest.mark.parametrize("whose", ["drivers", "this machine", "store"])
def test_no_clock_but_the_stores_counts(table, write, monkeypatch, whose, skew):
    """Two days ago version 1 came, four days ago a worker died, an hour ago another began; a clock is a day off."""
    day = timedelta(days=1)
    dead, running = (write(table.uri, "2026-01-06", [value]).path for value in (8, 9))
    now = time.time()
    ages = {f"_delta_log/{version:020d}.json": age for version, age in ((0, 9 * 24), (1, 48), (2, 1))}
    ages |= {dead: 96, running: 1}
    off = skew * 86400 if whose == "store" else 0
    for path, hours in ages.items():
        if whose == "drivers" and path.endswith(".json"):
            log = Path(table.uri, path)
            log.write_text(
                re.sub(r'"timestamp":(\d+)', lambda m: f'"timestamp":{int(m[1]) + skew * 86400000}', log.read_text())
            )
        os.utime(f"{table.uri}/{path}", (now + off - hours * 3600,) * 2)
    real = vacuum_module.store_now
    if whose == "store":
        monkeypatch.setattr(vacuum_module, "store_now", lambda folder: real(folder) + skew * day)
    if whose == "this machine":
        monkeypatch.setattr(time, "time", lambda: now + skew * 86400)
    assert table.vacuum(day) == sorted([dead, *paths(table, 0)])


def test_a_store_clock_that_was_set_right_by_a_day_harms_no_running_attempt(table, write):
    part = write(table.uri, "2026-01-06", [9]).path
    os.utime(f"{table.uri}/{part}", (time.time() - 2 * 86400,) * 2)  # a day at work, and a day from the clock
    assert table.vacuum(HOUR) == []


def test_drafts_of_writers_that_were_killed_go(table):
    names = [".part.parquet.tmp.1", "_delta_log/_commit_0f.json.tmp", "_delta_log/.x.json.abc.tmp"]
    for name in names:
        Path(table.uri, name).write_text("half")
    assert table.vacuum(HOUR) == []
    for name in names:
        os.utime(f"{table.uri}/{name}", (time.time() - 4 * 86400,) * 2)
    assert table.vacuum(HOUR) == sorted(names)
    assert table.read()["x"].to_pylist() == [2]
