"""The simulator: the same seed writes the same bytes, and the truth says what the files hold."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import RequestError
from millrace.simulate import COLUMNS, NEW_CAMPAIGN, Simulated, simulate


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate(tmp_path_factory.mktemp("clicks"), days=40, rows=40_000, seed=3, last_day=date(2026, 2, 28))


def lines(path: Path) -> list[list[str]]:
    text = zlib.decompressobj(wbits=31).decompress(path.read_bytes()).decode()
    return [line.split(",") for line in text[: text.rfind("\n")].split("\n")]


def test_same_seed_same_bytes(made: Simulated, tmp_path: Path) -> None:
    again = simulate(tmp_path, days=40, rows=40_000, seed=3, last_day=date(2026, 2, 28))
    other = simulate(tmp_path / "other", days=4, rows=1_000, seed=4, last_day=date(2026, 2, 28))
    for one, two in zip([*made.files, made.late, made.truth], [*again.files, again.late, again.truth], strict=True):
        assert one.read_bytes() == two.read_bytes()
    assert other.files[-1].read_bytes() != made.files[-1].read_bytes()


def test_files_and_the_late_and_the_truncated_one(made: Simulated) -> None:
    assert len(made.files) == 39
    assert made.files[-1].name == "clicks-2026-02-28.csv.gz"
    assert made.late == made.folder / "_late" / "clicks-2026-02-26.csv.gz"
    assert made.truncated.name == "clicks-2026-02-18.csv.gz"
    with pytest.raises(EOFError):
        gzip.decompress(made.truncated.read_bytes())


def test_truth_counts_what_the_files_hold(made: Simulated) -> None:
    truth = json.loads(made.truth.read_text())
    total: dict[str, int] = {}
    for path in [*made.files, made.late]:
        header, *rows = lines(path)
        assert header == list(COLUMNS)
        whole = [dict(zip(COLUMNS, row, strict=True)) for row in rows if len(row) == len(COLUMNS)]
        found: dict[str, Any] = {
            "lines": len(rows),
            "ragged": len(rows) - len(whole),
            "duplicates": len(rows) - len({tuple(row) for row in rows}),
            "wrong_type": {name: sum(row[name] == "abc" for row in whole) for name in ("age", "bid")},
            "impossible": {
                "age": sum(row["age"].startswith("-") for row in whole),
                "click_time": sum(row["click_time"].startswith("2087") for row in whole),
            },
            "spelling": {"country": sum(row["country"] != row["country"].strip().upper() for row in whole)},
            "missing": {
                name: sum(row[name] == "" for row in whole) for name in ("age", "dwell_seconds", "bid", "os", "site")
            },
        }
        said = truth["files"][path.name]
        assert {name: said[name] for name in found} == found
        assert said["truncated"] == (path == made.truncated)
        for name in ("lines", "ragged", "duplicates"):
            total[name] = total.get(name, 0) + found[name]
    assert total["ragged"] > 0
    assert total["duplicates"] > 0
    lost = truth["files"][made.truncated.name]
    assert total["lines"] + lost["lines_before_cut"] - lost["lines"] == 40_000 + sum(
        said["duplicates"] for said in truth["files"].values()
    ) + (lost["duplicates_before_cut"] - lost["duplicates"])


def test_behaviour_changes_in_the_last_three_weeks(made: Simulated) -> None:
    truth = json.loads(made.truth.read_text())
    assert made.changed_from == date(2026, 2, 8)
    assert 0.74 < truth["auc"] < 0.82
    assert 0.018 < truth["clicks"] / truth["rows"] < 0.022

    def share(files: list[Path], column: str, value: str) -> float:
        cells = [row[COLUMNS.index(column)] for path in files for row in lines(path)[1:] if len(row) == len(COLUMNS)]
        return cells.count(value) / len(cells)

    before = [path for path in made.files if path.name < "clicks-2026-02-08"]
    after = [path for path in made.files if path.name >= "clicks-2026-02-08"]
    assert share(before, "campaign", NEW_CAMPAIGN) == 0
    assert 0.1 < share(after, "campaign", NEW_CAMPAIGN) < 0.15
    assert share(after, "country", "BR") > 2 * share(before, "country", "BR")


def test_days_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="late_day"):
        simulate(tmp_path, days=5, rows=100, late_day=date(2020, 1, 1))
    with pytest.raises(RequestError, match="4 days"):
        simulate(tmp_path, days=3, rows=100)
