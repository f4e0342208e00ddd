"""Bad rows among good ones: each leaves for the quarantine with its reason, or is read; no row disappears."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from road import HEADER, PIPELINE, Road, failure, night, rows

GOOD = rows(1, 6).encode()


def ingest(road: Road, content: bytes) -> dict[int, dict[str, Any]]:
    """The rows that came through, by their second; every other record of the file is in the quarantine."""
    road.file(1, content)
    told = road.run()
    assert told.status == 0, told.err
    return {row["when"].second: row for row in road.rows()}


@pytest.mark.parametrize(
    ("dirt", "reason"),
    [
        pytest.param(b"2026-01-01T11:00:00,c9,1\n", "ragged", id="too few fields"),
        pytest.param(b"2026-01-01T11:00:00,c9,1,1,1\n", "ragged", id="too many fields"),
        pytest.param("2026-01-01T11:00:00,café,1,1\n".encode("latin-1"), "encoding", id="wrong encoding"),
        pytest.param(b"2026-01-01T11:00:00,c\0,1,1\n", "nul_byte", id="a NUL byte"),
        pytest.param(b'2026-01-01T11:00:00,"c9,1,1\n', "unbalanced_quotes", id="a quote never closed"),
        pytest.param(b'2026-01-01T11:00:00,"c"9,1,1\n', "unbalanced_quotes", id="letters behind a quote"),
        pytest.param(b"2026-01-01T11:00:00," + b"x" * 20_000_000 + b",1,1\n", "too_long", id="a row of 20 MB"),
    ],
)
def test_an_unreadable_row_is_quarantined_alone(road: Road, dirt: bytes, reason: str) -> None:
    found = ingest(road, HEADER.encode() + GOOD + dirt + rows(1, 9)[len(GOOD) :].encode())
    assert sorted(found) == list(range(9))
    assert road.quarantined() == [(7, None, reason)]
    assert (road.ledger().rows_in, road.ledger().rows_out) == (10, 9)
    [row] = road.rows("quarantine")
    assert row["source_file"] == str(road.data / "buys-2026-01-01.csv")
    assert row["reason"].startswith("expected ")
    assert len(row["record"]) <= 4096


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + HEADER.encode() + GOOD,
        (HEADER.encode() + GOOD).replace(b"\n", b"\r\n"),
        (HEADER.encode() + GOOD).rstrip(b"\n"),
        (HEADER.encode() + GOOD).replace(b"\n", b"\n\n"),
    ],
    ids=["BOM", "CRLF", "no last line end", "blank lines"],
)
def test_ways_to_write_the_same_rows(road: Road, content: bytes) -> None:
    assert sorted(ingest(road, content)) == [0, 1, 2, 3, 4, 5]
    assert road.quarantined() == []


def test_a_row_of_ten_megabytes_is_a_row(road: Road) -> None:
    found = ingest(road, HEADER.encode() + GOOD + b"2026-01-01T11:00:30," + b"x" * 10_000_000 + b",1,1\n")
    assert len(found) == 7
    assert len(found[30]["who"]) == 10_000_000


def test_numbers_infinite_huge_and_no_numbers(road: Road) -> None:
    cells = ["1e308", "nan", "99999999999999999999", "inf", "-Infinity", "1e400", "1,5", "12abc", "0x10", "٣"]
    lines = "".join(f'2026-01-01T10:00:{n:02},c{n},"{cell}",1\n' for n, cell in enumerate(cells, 20))
    found = ingest(road, (HEADER + lines + rows(1, 12)).encode())
    assert {n: found[n]["amount"] for n in found if n >= 20} == {20: 1e308, 21: None, 22: 1e20}
    assert road.quarantined() == [(row, "amount", "type") for row in range(4, 11)]
    reasons = [row["reason"] for row in road.rows("quarantine")]
    assert reasons == [f"expected float64 (finite), found '{cell}'" for cell in cells[3:]]


def test_a_label_out_of_the_range_of_its_type(road: Road) -> None:
    ingest(road, HEADER.encode() + GOOD + b"2026-01-01T10:00:50,c,1,300\n2026-01-01T10:00:51,c,1,0.5\n")
    assert road.quarantined() == [(7, "bought", "type"), (8, "bought", "type")]
    assert road.rows("quarantine")[0]["reason"] == "expected int8, found '300'"


def test_dates_in_three_formats(road: Road) -> None:
    lines = "2026-01-01T10:00:01,c,1,1\n01/01/2026 10:00:02,c,1,1\n1767261603,c,1,1\n1 January,c,1,1\n"
    formats = 'when: {type: timestamp, formats: [iso, "%d/%m/%Y %H:%M:%S", epoch]'
    road.pipeline(PIPELINE, ("when: {type: timestamp", formats))
    found = ingest(road, (HEADER + lines).encode())
    assert {n: row["when"] for n, row in found.items()} == {n: datetime(2026, 1, 1, 10, 0, n) for n in (1, 2, 3)}
    [row] = road.rows("quarantine")
    assert row["reason"] == "expected timestamp (iso or %d/%m/%Y %H:%M:%S or epoch), found '1 January'"


def test_dates_in_formats_that_nobody_declared(road: Road) -> None:
    lines = "01/01/2026 10:00:02,c,1,1\n1767261603,c,1,1\n2026-02-30T00:00:00,c,1,1\n"
    assert sorted(ingest(road, (HEADER + lines).encode() + GOOD)) == [0, 1, 2, 3, 4, 5]
    assert road.quarantined() == [(1, "when", "type"), (2, "when", "type"), (3, "when", "type")]
    assert road.rows("quarantine")[0]["reason"] == "expected timestamp (iso), found '01/01/2026 10:00:02'"


def test_two_files_with_the_same_rows_are_merged_and_counted(road: Road) -> None:
    road.file(1, night(1, 5))
    road.file(1, night(1, 5), "again.csv")
    assert road.run().status == 0
    assert (road.ledger("clean").rows_in, road.ledger("clean").rows_out) == (10, 10)
    sharded = road.ledger("sharded")
    assert (sharded.rows_in, sharded.rows_out, sharded.duplicates) == (10, 5, 5)
    assert sorted(row["who"] for row in road.rows()) == ["c0", "c1", "c2", "c3", "c4"]


def test_where_most_rows_are_bad_the_night_fails_with_an_example(road: Road) -> None:
    path = road.file(1, HEADER + "01/01/2026,c,1,1\n" * 5 + rows(1))
    told = failure(road.run("--json"))
    assert (told["error"], told["exit_status"]) == ("GateClosed", 1)
    assert told["message"] == "too many rows of 2026-01-01 can't be used"
    assert told["expected"] == "at most 50% (source.max_bad_rows)"
    assert told["found"] == (
        "9 rows in, 4 out, 5 quarantined (when:type 5); "
        f"first row 1 of {path}, when: expected timestamp (iso), found '01/01/2026'"
    )
    assert road.counts("clean") == road.counts("quarantine") == {}
    formats = 'when: {type: timestamp, formats: [iso, "%d/%m/%Y"]'
    road.pipeline(PIPELINE, ("when: {type: timestamp", formats))
    assert road.run().status == 0
    assert road.counts("clean") == {"2026-01-01": 9}
