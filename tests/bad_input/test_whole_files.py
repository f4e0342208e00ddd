"""Files that can't be used as a whole, each as the file of the run's own night, after a good one."""

from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from road import HEADER, PIPELINE, Road, failure, night, rows


def big_gzip() -> bytes:
    return gzip.compress(night(2, 5000))


BINARY = bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("content", "expected", "found", "hint"),
    [
        pytest.param(
            "when,who,bought\n2026-01-02T10:00:00,c1,1\n",
            "4 columns 'when', 'who', 'amount', 'bought'",
            "3 columns 'when', 'who', 'bought'",
            None,
            id="a missing column",
        ),
        pytest.param(
            "when,who,amount,bought,colour\n2026-01-02T10:00:00,c1,1,1,red\n",
            "4 columns",
            "5 columns",
            "`colour: {type: string, role: ignore}`",
            id="a column too many",
        ),
        pytest.param(
            "when,who,amont,bought\n2026-01-02T10:00:00,c1,1,1\n",
            "'amount'",
            "'amont'",
            "`source: amont`",
            id="a misspelt column",
        ),
        pytest.param(rows(2), "'when', 'who'", "'2026-01-02T10:00:00'", "source.header: false", id="no header"),
        pytest.param(BINARY, "text", "control bytes", None, id="a binary file"),
        pytest.param(
            night(2).decode().encode("utf-16"), "utf-8", "utf-16 text", "source.encoding: utf-16", id="UTF-16"
        ),
    ],
)
def test_a_file_that_cannot_be_the_pipelines(
    road: Road, content: bytes | str, expected: str, found: str, hint: str | None
) -> None:
    road.file(1, night(1))
    road.run("--date", "2026-01-01")
    before = road.versions()
    path = road.file(2, content)
    told = failure(road.run("--json"))
    assert (told["error"], told["exit_status"]) == ("InputError", 2)
    assert str(path) in told["message"]
    assert expected in told["expected"]
    assert found in told["found"]
    assert hint is None or hint in told["hint"]
    assert told["where"] == ["in stage check of buys, interval 2026-01-02"]
    assert road.versions() == before
    road.file(2, night(2))
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 4, "2026-01-02": 4}


@pytest.mark.parametrize("content", ["", HEADER, "\n\n", "\ufeff"], ids=["empty", "header", "blank lines", "BOM alone"])
def test_a_file_without_rows(road: Road, content: str) -> None:
    road.file(1, night(1))
    path = road.file(2, content)
    told = road.run()
    assert told.status == 0
    assert "WARNING the files of 2026-01-02 hold no readable row: expected rows, found none" in told.err
    assert road.counts() == {"2026-01-01": 4}
    assert road.run().status == 0, "a rerun"
    road.pipeline(PIPELINE, ("interval: daily", "interval: daily, on_missing_files: fail"))
    refused = failure(road.run("--json"))
    assert (refused["error"], refused["exit_status"]) == ("InputError", 2)
    assert "hold no readable row" in refused["message"]
    path.write_bytes(night(2))
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 4, "2026-01-02": 4}


def test_the_only_file_is_empty(road: Road) -> None:
    road.file(1, "")
    told = failure(road.run("--json"))
    assert (told["error"], told["message"]) == ("GateClosed", "no readable row")
    assert road.versions() == {}


def test_a_missing_file_is_told_with_the_nearest_name(road: Road) -> None:
    path = road.file(1, night(1))
    road.pipeline(PIPELINE, ("DATA/*", "DATA/buy-2026-01-01.csv"))
    told = failure(road.run("--json"))
    assert (told["error"], told["exit_status"]) == ("InputError", 2)
    assert told["hint"] == f"did you mean {path}?"
    assert road.versions() == {}
    road.pipeline(PIPELINE, ("DATA/*", "DATA/*.tsv"))
    told = failure(road.run("--json"))
    assert told["message"] == "no file matches the pattern"
    assert f"{road.data} holds 1 other name" in told["hint"]


def test_a_name_without_a_date_says_what_to_do(road: Road) -> None:
    road.file(1, night(1))
    (road.data / "README.csv").write_text("hello")
    told = failure(road.run("--json"))
    assert (told["error"], told["found"]) == ("InputError", str(road.data / "README.csv"))
    assert told["expected"] == "a date like %Y-%m-%d (source.file_date)"


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_parquet_with_other_columns_damaged_or_no_parquet(road: Road) -> None:
    good = pa.table({"when": ["2026-01-01T10:00:00"], "who": ["c1"], "amount": [1.5], "bought": [1]})
    road.pipeline(PIPELINE, ("format: csv", "format: parquet"))
    road.file(1, parquet(good), "parquet")
    assert road.run().status == 0
    before = road.versions()
    for content, message, found in [
        (parquet(good.rename_columns(["when", "who", "price", "bought"])), "missing column 'amount'", "'price'"),
        (parquet(good)[:-20], "not a Parquet file", "Parquet"),
        (night(2), "not a Parquet file", "Parquet"),
        (b"", "not a Parquet file", "Parquet"),
    ]:
        path = road.file(2, content, "parquet")
        told = failure(road.run("--json"))
        assert (told["error"], told["exit_status"]) == ("InputError", 2)
        assert message in told["message"]
        assert str(path) in told["message"]
        assert found in str(told["found"]) + str(told["hint"])
        assert road.versions() == before
    road.file(2, parquet(good), "parquet")
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 1, "2026-01-02": 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (big_gzip()[:-1000], "truncated"),
        (big_gzip()[:-8] + bytes(8), "corrupt"),
        (big_gzip()[:9000] + b"\xff" * 200 + big_gzip()[9200:], "corrupt"),
    ],
    ids=["truncated", "another checksum", "damaged inside"],
)
def test_a_gzip_that_breaks_off_keeps_the_rows_before(road: Road, content: bytes, reason: str) -> None:
    path = road.file(2, content, "csv.gz")
    told = road.run()
    assert told.status == 0
    assert f"WARNING a file of 2026-01-02 is {reason} and was read up to there: {path}" in told.err
    ledger = road.ledger()
    assert 1000 < ledger.rows_out <= 5000
    assert ledger.quarantined[reason] == 1
    assert road.quarantined()[-1] == (ledger.rows_in, None, reason)
    road.file(2, big_gzip(), "csv.gz")
    assert road.run().status == 0
    assert (road.counts(), road.quarantined()) == ({"2026-01-02": 5000}, [])


@pytest.mark.parametrize(
    "content",
    [b"this is no gzip", big_gzip()[:12]],
    ids=["no gzip", "cut in its header"],
)
def test_a_ruined_gzip_fails_the_night_and_commits_none_of_it(road: Road, content: bytes) -> None:
    road.file(1, night(1))
    road.run("--date", "2026-01-01")
    road.file(2, content, "csv.gz")
    told = failure(road.run("--json"))
    assert (told["error"], told["exit_status"]) == ("GateClosed", 1)
    assert "2026-01-02" in told["message"]
    assert "source.max_bad_rows" in told["expected"]
    assert "quarantined (" in told["found"]
    assert road.counts("clean") == road.counts() == {"2026-01-01": 4}
    road.file(2, big_gzip(), "csv.gz")
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 4, "2026-01-02": 5000}
