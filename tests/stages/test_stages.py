"""The stages together: what a night does, what a rerun doesn't, and what a late, changed or bad interval does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from millrace.data import native
from millrace.data.holdout import plan_holdout
from millrace.errors import CheckFailed, GateClosed, RequestError
from millrace.stages import open_run, run_one
from millrace.stages.choose import (
    count_by_job,
    measured,
    measured_population,
    read_outlines,
    read_statistics,
)
from millrace.stages.learn import registry, rollback_champion
from millrace.stages.maintain import vacuum_tables
from tests.orders import PIPELINE, write_day

Go = Callable[..., tuple[Any, dict[str, Any]]]
TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")


def versions(run: Any) -> dict[str, int]:
    return {name: run.table(name).version() for name in TABLES}


def test_a_night_from_raw_files_to_scores(run: Go, orders: Path) -> None:
    opened, results = run()
    assert results["check"].ledger.rows_in == 12 * 60
    assert results["clean"].ledger.rows_out == results["shard"].ledger.rows_in == 720
    assert results["sample"].ledger.rows_out == 9 * 60  # three days are the holdout
    assert results["evaluate"].details["rows"] == 3 * 60
    assert results["evaluate"].details["metrics"]["roc_auc"] > 0.75
    assert results["promote"].details["promoted"] is True
    scores = opened.table("scores").read()
    assert scores.num_rows == 720
    assert set(scores.column("model_version").to_pylist()) == {1}
    assert pc.min_max(scores.column("score")).as_py()["min"] >= 0


def test_a_rerun_commits_nothing_and_a_forced_one_the_same_rows(run: Go) -> None:
    opened, first = run()
    before, rows = versions(opened), opened.table("sharded").read()
    _, again = run()
    assert versions(opened) == before
    assert [again[name].version for name in again] == [first[name].version for name in again]
    run(last="shard", force=True)
    assert opened.table("sharded").version() == before["sharded"] + 1
    assert opened.table("sharded").read().drop_columns(["source_file"]).equals(rows.drop_columns(["source_file"]))


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_a_file_that_was_cut_inside_a_record_is_cut_again(orders: Path, runner: str) -> None:
    day = orders / "data" / "2026-01-12.csv"
    day.write_text(day.read_text() + '2026-01-12 11:00:00,1,"a\n' + "b\n" * 500 + '",5,0\n')
    opened = open_run("orders", "2026-01-12", options={"runner": runner})
    opened = replace(opened, profile=opened.profile.model_copy(update={"split_bytes": 700}))
    ledger = run_one("check", opened).ledger
    assert ledger is not None
    assert ledger.rows_in == 12 * 60 + 1


@pytest.mark.skipif(not native.available(), reason="left out: guessed cuts, as nothing compiled the kernels in C")
@pytest.mark.parametrize("dated", [True, False])
def test_cleaning_numbers_records_by_what_the_check_counted(
    orders: Path, dated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that read all raw data to number it would take hours for terabytes."""
    for day in sorted((orders / "data").glob("*.csv")):
        day.write_text(day.read_text() + "ragged\n")
    path = orders / "pipelines" / "orders.yaml"
    path.write_text(path.read_text() if dated else path.read_text().replace(', file_date: "%Y-%m-%d"', ""))

    def read_by_driver(*_: object) -> None:
        raise AssertionError("the driver read a raw file to number its records")

    monkeypatch.setattr("millrace.mapreduce.cuts.find_cuts", read_by_driver)
    opened = open_run("orders", "2026-01-12")
    opened = replace(opened, profile=opened.profile.model_copy(update={"split_bytes": 700}))
    for stage in ("check", "clean"):
        run_one(stage, opened)
    assert opened.table("clean").read().num_rows == 12 * 60
    assert opened.table("quarantine").read(columns=["row"]).column("row").to_pylist() == [61] * 12


@pytest.mark.parametrize("by", [None, "returned"])
def test_rows_that_may_teach_are_counted_by_the_statistics_as_by_a_job(run: Go, orders: Path, by: str | None) -> None:
    for back in range(0, 12, 5):
        day = date(2026, 1, 1 + back)
        path = write_day(orders, day)
        path.write_text(path.read_text() + f"{day} 11:00:00,1,a,5,\n")  # no label: it can't teach
    opened, _ = run(last="stats")
    holdout = plan_holdout(opened.pipeline, [f"2026-01-{day:02d}" for day in range(1, 13)], timedelta())
    counted = count_by_job(opened, holdout, by)
    assert (counted.rows, len(counted.labels())) == (9 * 60, 2)
    known = measured_population(opened, holdout, by)
    assert known is not None
    assert (known.strata(), known.labels()) == (counted.strata(), counted.labels())

    write_day(orders, date(2026, 1, 2), 70)
    run(last="shard")
    assert measured_population(open_run("orders", "2026-01-12"), holdout, by) is None  # statistics of other rows


def test_drift_reads_outlines_and_statistics_where_they_lack_a_column(run: Go, orders: Path) -> None:
    opened, _ = run(last="stats")
    names = measured(opened)
    found = read_outlines(opened, ["price", "returned"], names)
    assert {tuple(stats.states) for stats in found.values()} == {(None,)}
    assert [stats.rows for stats in found.values()] == [stats.rows for stats in read_statistics(opened).values()]
    assert all("customer" in stats.kinds for stats in read_outlines(opened, ["customer"], names).values())


@pytest.mark.parametrize(
    ("before", "first", "last", "heavy"),
    [("check", "clean", "shard", {"pandas"}), ("stats", "drift", "sample", {"pandas", "polars"})],
)
def test_some_stages_import_no_pandas(run: Go, before: str, first: str, last: str, heavy: set[str]) -> None:
    """Its import takes longer than the work of a small night, in the driver and in tasks."""
    run(last=before)
    code = (
        "import sys; from millrace.stages import open_run, run_stages;"
        f"run_stages(open_run('orders', '2026-01-12', options={{'runner': 'inline'}}), {first!r}, {last!r});"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_late_file_is_taken_up_by_a_later_night_and_leaves_other_files_alone(run: Go, orders: Path) -> None:
    late = orders / "data" / "2026-01-11.csv"
    content = late.read_text()
    late.unlink()
    opened, _ = run("2026-01-12", last="shard")
    assert "2026-01-11" not in opened.table("sharded").intervals()
    before = {part.path for part in opened.table("sharded").parts()}
    late.write_text(content)
    _, results = run("2026-01-12", last="shard")
    assert results["shard"].details["words"].startswith("2026-01-11")
    assert opened.table("sharded").intervals()["2026-01-11"] == 60
    assert before < {part.path for part in opened.table("sharded").parts()}


def test_a_changed_file_replaces_its_interval(run: Go, orders: Path) -> None:
    opened, _ = run(last="shard")
    write_day(orders, date(2026, 1, 5), count=30)
    _, results = run(last="shard")
    assert results["clean"].ledger.rows_in == 30
    assert opened.table("sharded").intervals()["2026-01-05"] == 30
    assert opened.table("sharded").intervals(0)["2026-01-05"] == 60  # the old version stays readable


def test_a_changed_rule_does_every_interval_again(run: Go, orders: Path) -> None:
    run(last="clean")
    (orders / "pipelines" / "orders.yaml").write_text(PIPELINE.replace("[0, 1000]", "[0, 80]"))
    opened, results = run(last="clean")
    ledger = results["clean"].ledger
    assert results["clean"].details["intervals"] == 12
    assert ledger.rows_in == 720
    assert ledger.quarantined == {"price:range": 720 - ledger.rows_out}
    assert opened.table("quarantine").read().num_rows == 720 - ledger.rows_out


def test_a_failed_check_stops_its_night_and_only_its_night(run: Go, orders: Path) -> None:
    write_day(orders, date(2026, 1, 11), count=3)
    with pytest.raises(CheckFailed, match=r"table_row_count_to_be_between.*3"):
        run("2026-01-11")
    with pytest.raises(CheckFailed):
        run("2026-01-11")  # the same input gives the same answer
    opened, results = run("2026-01-12", last="shard")
    assert results["check"].details["failed"] == ["2026-01-11"]
    assert "2026-01-11" not in opened.table("sharded").intervals()
    write_day(orders, date(2026, 1, 11))
    _, results = run("2026-01-11", last="shard")
    assert results["shard"].details["words"].startswith("2026-01-11")


def test_nights_in_a_row_only_add_their_interval(run: Go) -> None:
    run("2026-01-10")
    opened, results = run("2026-01-11")
    assert {name: results[name].details["intervals"] for name in ("check", "clean", "shard", "stats")} == {
        "check": 1,
        "clean": 1,
        "shard": 1,
        "stats": 1,
    }
    assert results["score"].ledger.rows_in == (60 if not results["promote"].details["promoted"] else 660)
    assert opened.table("scores").intervals().keys() == opened.table("sharded").intervals().keys()


def test_a_stage_reads_the_versions_it_is_told(run: Go, orders: Path) -> None:
    opened, results = run(last="clean")
    write_day(orders, date(2026, 1, 5), count=30)
    run(last="clean")
    told = run_one(
        "shard", replace(open_run("orders", "2026-01-12", options={"runner": "inline"}), upstream={"clean": 0})
    )
    assert told.ledger is not None
    assert told.ledger.rows_in == 720


def test_rollback_returns_to_the_former_champion(run: Go, orders: Path) -> None:
    opened, _ = run("2026-01-11")
    store = registry(opened)
    with pytest.raises(GateClosed, match="no former champion"):
        rollback_champion(opened)
    run("2026-01-12")
    newest = store.versions("orders")[0].version
    store.promote("orders", newest)
    assert rollback_champion(opened) == {"pipeline": "orders", "from": newest, "champion": 1}


def test_a_person_is_asked_where_the_file_says_so(run: Go, orders: Path) -> None:
    (orders / "pipelines" / "orders.yaml").write_text(PIPELINE + "promote: {approval: human}\n")
    opened, results = run(last="promote")
    assert results["promote"].details["promoted"] is False
    assert "--approve" in results["promote"].details["words"]
    assert registry(opened).champion("orders") is None
    _, results = run(first="promote", last="promote", approved=True)
    assert results["promote"].details["promoted"] is True


def test_vacuum_leaves_what_the_newest_version_needs(run: Go, orders: Path) -> None:
    opened, _ = run(last="shard")
    write_day(orders, date(2026, 1, 5), count=30)
    run(last="shard")
    rows = opened.table("sharded").read()
    removed = vacuum_tables(opened, "0h", dry_run=False)
    assert [path for path in removed["clean"] if "2026-01-05" in path] == removed["clean"]
    assert opened.table("sharded").read(verify=True).equals(rows)


def test_wrong_requests_are_told_before_any_work(orders: Path) -> None:
    with pytest.raises(RequestError, match="2026-13-01"):
        open_run("orders", "2026-13-01")
    with pytest.raises(RequestError, match="window"):
        open_run("orders", "2026-01-12", options={"window": "a month"})
    assert open_run("orders", None).date == "2026-01-12"
