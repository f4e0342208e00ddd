"""One bad night among good ones; nights without files; files and pipeline files that change."""

from __future__ import annotations

import os

import pytest
from road import HEADER, PIPELINE, Road, failure, night, rows

OTHER_COLUMNS = "when,who,price,bought\n2026-01-07T10:00:00,c1,1,1\n"
ALL_RAGGED = HEADER + "x\n" * 5
TWENTY = {f"2026-01-{day:02}": 4 for day in range(1, 21)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (OTHER_COLUMNS, "WARNING 2026-01-07 is left out: missing column 'amount' in "),
        (b"\x00\x01\x02" * 500, "WARNING 2026-01-07 is left out: not a text file: "),
        (ALL_RAGGED, "WARNING 2026-01-07 is left out, too many of its rows can't be used: 5 rows in, 0 out"),
    ],
    ids=["other columns", "binary", "all rows bad"],
)
def test_one_bad_night_among_twenty_is_left_out(road: Road, content: bytes | str, words: str) -> None:
    for day in range(1, 21):
        road.file(day, night(day))
    road.file(7, content)
    others = {name: count for name, count in TWENTY.items() if name != "2026-01-07"}
    for attempt in ("the first run", "a rerun"):
        told = road.run()
        assert told.status == 0, attempt
        assert words in told.err
        assert road.counts("clean") == road.counts() == others
    versions = road.versions()
    own = failure(road.run("--date", "2026-01-07", "--json"))
    assert own["error"] in ("InputError", "GateClosed")
    assert road.versions() == versions
    road.file(7, night(7))
    told = road.run()
    assert (told.status, "WARNING" in told.err) == (0, False)
    assert road.counts() == TWENTY
    assert road.versions()["sharded"] == 1


def test_a_night_whose_check_fails_is_left_out(road: Road) -> None:
    check = "check: [{expect: column_values_to_not_be_null, column: amount, severity: fail}]\n"
    road.pipeline(PIPELINE + check)
    road.file(1, night(1))
    road.file(2, HEADER + "2026-01-02T10:00:00,c1,,1\n")
    road.file(3, night(3))
    told = road.run()
    assert told.status == 0
    assert "WARNING 2026-01-02 fails its check and is left out" in told.err
    assert road.counts() == {"2026-01-01": 4, "2026-01-03": 4}
    own = failure(road.run("--date", "2026-01-02", "--json"))
    assert (own["error"], own["exit_status"]) == ("CheckFailed", 1)
    assert "column_values_to_not_be_null" in str(own)


def test_one_bad_file_where_names_tell_no_night_fails_the_run(road: Road) -> None:
    road.pipeline(PIPELINE, (', file_date: "%Y-%m-%d"', ""))
    road.file(1, night(1))
    path = road.file(2, OTHER_COLUMNS)
    told = failure(road.run("--json"))
    assert (told["error"], told["exit_status"]) == ("InputError", 2)
    assert str(path) in told["message"]
    assert road.versions() == {}


def test_a_night_without_a_file(road: Road) -> None:
    road.file(1, night(1))
    road.file(3, night(3))
    told = road.run("--date", "2026-01-04")
    assert told.status == 0
    assert "WARNING no file of 2026-01-04: expected a name with %Y-%m-%d among" in told.err
    assert road.counts() == {"2026-01-01": 4, "2026-01-03": 4}
    road.file(2, night(2))
    assert road.run("--date", "2026-01-04").status == 0, "a late file"
    assert road.counts() == {"2026-01-01": 4, "2026-01-02": 4, "2026-01-03": 4}
    road.pipeline(PIPELINE, ("interval: daily", "interval: daily, on_missing_files: fail"))
    told = failure(road.run("--date", "2026-01-04", "--json"))
    assert (told["error"], told["message"]) == ("InputError", "no file of 2026-01-04")
    told = failure(road.run("--date", "2025-01-04", "--json"))
    assert told["exit_status"] == 2


def test_a_window_without_any_file(road: Road) -> None:
    road.file(1, night(1))
    told = failure(road.run("--date", "2025-01-01", "--json"))
    assert (told["error"], told["message"]) == ("GateClosed", "no file in the window")
    assert "2024-12-03 to 2025-01-01" in told["expected"]
    assert road.versions() == {}


def test_a_file_that_changes_after_it_was_ingested(road: Road) -> None:
    road.file(1, night(1))
    road.file(2, night(2))
    road.run()
    first = road.table("sharded").parts(None, ["2026-01-02"])
    road.file(1, night(1, 7))
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 7, "2026-01-02": 4}
    assert road.table("sharded").parts(None, ["2026-01-02"]) == first, "the other night's files are untouched"
    road.file(1, OTHER_COLUMNS)
    told = road.run()
    assert (told.status, "WARNING 2026-01-01 is left out" in told.err) == (0, True)
    assert road.counts() == {"2026-01-01": 7, "2026-01-02": 4}, "what was ingested stays"
    road.pipeline(PIPELINE, ("format: csv", "format: csv, max_bad_rows: 0.4"))
    assert road.run().status == 0, "a changed pipeline file doesn't read the bad file either"
    assert road.counts() == {"2026-01-01": 7, "2026-01-02": 4}
    road.file(1, HEADER)
    assert road.run().status == 0
    assert road.counts() == {"2026-01-02": 4}, "a night whose file holds no rows any more has none"
    path = road.file(1, night(1, 3))
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 3, "2026-01-02": 4}
    path.unlink()
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 3, "2026-01-02": 4}, "a file that is archived takes nothing with it"


def test_a_refused_file_is_tried_again_though_it_looks_the_same(road: Road) -> None:
    """As one that only its mode kept from being read: mending that changes neither its size nor its time."""
    road.file(2, night(2))
    assert road.run("--date", "2026-01-04").status == 0
    path = road.file(3, night(3).replace(b"amount", b"amuont"))
    os.utime(path, (1e9, 1e9))
    assert "WARNING 2026-01-03 is left out" in road.run("--date", "2026-01-04").err
    os.utime(road.file(3, night(3)), (1e9, 1e9))
    assert road.run("--date", "2026-01-04").status == 0
    assert road.counts() == {"2026-01-02": 4, "2026-01-03": 4}


def test_a_column_type_changed_in_the_pipeline_file(road: Road) -> None:
    road.file(1, night(1))
    road.file(2, night(2))
    assert road.run().status == 0
    before = road.rows()
    road.pipeline(PIPELINE, ("amount: {type: float64, role: numeric}", "amount: {type: string, role: categorical}"))
    told = failure(road.run("--json"))
    assert (told["error"], told["exit_status"]) == ("WorkError", 1)
    assert (told["expected"], told["found"]) == ("column 'amount' as double", "string")
    assert "give the pipeline a new name" in told["hint"]
    assert road.rows() == before
    road.pipeline()
    assert road.run().status == 0
    assert road.rows() == before


def test_a_column_added_to_the_files_and_later_dropped(road: Road) -> None:
    with_colour = (HEADER + rows(2)).replace("\n", ",red\n").replace("bought,red", "bought,colour")
    road.file(1, night(1, 1))
    assert road.run().status == 0
    road.file(2, with_colour)
    colour = "  colour: {type: string, role: categorical}\n  bought:"
    road.pipeline(PIPELINE, ("  bought:", colour))
    told = road.run()
    assert (told.status, "WARNING 2026-01-01 is left out: missing column 'colour'" in told.err) == (0, True)
    assert [row["colour"] for row in road.rows()] == [None, "red", "red", "red", "red"]
    road.pipeline(f"{PIPELINE}clean: {{colour: drop}}\n", ("  bought:", colour))
    refused = failure(road.run("--json"))
    assert (refused["error"], refused["expected"]) == ("WorkError", "column 'colour' (string)")
    assert "give the pipeline a new name" in refused["hint"]


def test_a_mistyped_year_does_not_move_the_window(road: Road) -> None:
    road.pipeline(PIPELINE, (', file_date: "%Y-%m-%d"', ""))
    road.file(1, night(1) + rows(1).replace("2026", "9926").encode())
    told = road.run()
    assert (told.status, told.err.startswith("buys 2026-01-01\n")) == (0, True)
    assert "clean: rows of 9926-01-01 wait for a run of that date" in told.err
    assert (road.counts("check"), road.counts()) == ({"2026-01-01": 1, "9926-01-01": 1}, {"2026-01-01": 4})
    assert road.run().err.startswith("buys 2026-01-01\n"), "nor does a rerun"
