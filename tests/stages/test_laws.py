"""What kills, reverts, vanished files and older dates must not change: the six laws, held over whole stages."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.data.clean_groups import GroupFills
from millrace.data.convert import convert
from millrace.errors import GateClosed, LedgerError, RequestError
from millrace.stages import open_run, run_stages
from millrace.stages.learn import registry, rollback_champion
from millrace.storage.tables import Table
from tests.orders import day_rows, write_day

Go = Callable[..., tuple[Any, dict[str, Any]]]
LEARNED = "{outliers: {method: quantile, lower: 0.02, upper: 0.98}, on_violation: quarantine, missing: {fill: median}}"


def rewrite(folder: Path, old: str, new: str) -> None:
    path = folder / "pipelines" / "orders.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_rule_taken_back_gives_the_first_rows_again(run: Go, orders: Path) -> None:
    opened, _ = run(last="clean")
    rows = opened.table("clean").read()
    for old, new in (("[0, 1000]", "[0, 80]"), ("[0, 80]", "[0, 1000]"), ("[0, 1000]", "[0, 80]")):
        rewrite(orders, old, new)
        opened, _ = run(last="stats")
        count = opened.table("clean").read().num_rows
        assert (count == rows.num_rows) == (new == "[0, 1000]")
        assert sum(opened.table("sharded").intervals().values()) == count


def test_scores_are_the_former_champions_after_a_rollback(run: Go, orders: Path) -> None:
    opened, _ = run()
    store = registry(opened)
    rewrite(orders, "window: 12d", "window: 12d\ntrain: {model: decision_tree}")
    run(last="train")
    store.promote("orders", 2)
    run(first="score")
    assert set(opened.table("scores").read(columns=["model_version"]).column(0).to_pylist()) == {2}
    rollback_champion(opened)
    run(first="score")
    assert set(opened.table("scores").read(columns=["model_version"]).column(0).to_pylist()) == {1}


def test_files_archived_after_cleaning_keep_their_rows_when_a_rule_changes(run: Go, orders: Path) -> None:
    opened, _ = run(last="shard")
    for day in range(1, 7):
        (orders / "data" / f"2026-01-{day:02}.csv").unlink()
    rewrite(orders, "[0, 1000]", "[0, 80]")
    opened, _ = run(last="shard")
    held = opened.table("sharded").intervals()
    assert held["2026-01-01"] == 60
    assert held["2026-01-12"] < 60


def test_a_file_changed_after_its_check_waits_for_the_next_check(run: Go, orders: Path) -> None:
    opened, _ = run(last="check")
    write_day(orders, date(2026, 1, 12), count=30)
    with pytest.raises(GateClosed, match="changed after their check"):
        run(first="clean", last="clean")
    run(last="clean")
    assert opened.table("clean").intervals()["2026-01-12"] == 30


def test_a_crash_between_a_new_column_and_its_rows_harms_nothing(run: Go, orders: Path) -> None:
    from deltalake import DeltaTable, Schema

    opened, _ = run(last="shard")
    handle = DeltaTable(opened.table("clean").uri)
    handle.alter.add_columns(Schema.from_arrow(pa.schema([pa.field("note", pa.string())])).fields)
    rewrite(orders, "  price: {type", "  note: {type: string, role: ignore}\n  price: {type")
    for path in (orders / "data").glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header + ",note", *(f"{line},x" for line in lines)]) + "\n")
    opened, _ = run(last="shard")
    assert set(opened.table("sharded").read().column("note").to_pylist()) == {"x"}


def test_a_kill_between_quarantine_and_clean_keeps_what_was_learned(
    run: Go, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KLL draws random bits: limits learned anew by the rerun would put rows into both tables, or into neither."""
    from millrace.data.clean_plan import CleanPlan, ColumnPlan
    from millrace.stages import ingest

    limits = iter([60.0, 80.0])
    monkeypatch.setattr(
        ingest, "plan_clean", lambda *_: CleanPlan(columns={"price": ColumnPlan(low=0.0, high=next(limits))})
    )
    rewrite(orders, "{range: [0, 1000],", "{outliers: {method: mad},")
    commit = Table.commit

    def killed(self: Table, what: Any) -> int:
        if self.uri.endswith("/clean"):
            raise KeyboardInterrupt
        return commit(self, what)

    monkeypatch.setattr(Table, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        run(last="clean")
    monkeypatch.setattr(Table, "commit", commit)
    opened, _ = run(last="clean")
    assert opened.table("clean").read().num_rows + opened.table("quarantine").read().num_rows == 720


def test_a_night_without_a_row_is_no_failure_of_statistics(run: Go, orders: Path) -> None:
    rewrite(orders, "  - {expect: table_row_count_to_be_between, min_value: 10, severity: fail}\n", "")
    rewrite(orders, "check:\n", "")
    run("2026-01-11", last="stats")
    (orders / "data" / "2026-01-12.csv").write_text(day_rows(date(2026, 1, 12), 0))
    opened, _ = run("2026-01-12")
    assert "2026-01-12" not in opened.table("sharded").intervals()


def test_an_interval_has_one_name(orders: Path) -> None:
    assert open_run("orders", "2026-1-5").date == "2026-01-05"


def test_stages_of_an_older_date_read_that_dates_sample(run: Go) -> None:
    run("2026-01-11", last="sample")
    opened, _ = run("2026-01-12", last="sample")
    run("2026-01-11", first="train", last="train")
    _, results = run("2026-01-11", first="evaluate", last="evaluate")
    store = registry(opened)
    model = store.load("orders", 1)
    assert model.info.versions == {"sample": 0}
    with pytest.raises(GateClosed, match="2026-01-10"):
        run("2026-01-10", first="train", last="train")


def test_a_rerun_after_a_later_promotion_judges_nothing_anew(run: Go, orders: Path) -> None:
    opened, _ = run("2026-01-11")
    run("2026-01-12", last="train")
    registry(opened).promote("orders", 2)
    before = opened.table("evaluation").version()
    run("2026-01-11", last="promote")
    assert opened.table("evaluation").version() == before
    assert registry(opened).champion("orders") == 2


def test_upkeep_needs_no_source_files(run: Go, orders: Path) -> None:
    from click.testing import CliRunner

    from millrace.cli import main

    run()
    for path in (orders / "data").glob("*.csv"):
        path.unlink()
    for words in (["status", "orders"], ["lookup", "orders", "3"], ["vacuum", "orders", "--dry-run"]):
        outcome = CliRunner().invoke(main, words)
        assert outcome.exit_code == 0, outcome.output
    assert "no former champion" in CliRunner().invoke(main, ["rollback", "orders"]).output


def test_lookup_finds_keys_in_intervals_that_were_sharded_otherwise(run: Go, orders: Path) -> None:
    from millrace.stages.show import lookup_keys

    run("2026-01-06", last="shard", window="6d")
    rewrite(orders, "shards: 2", "shards: 5")
    opened, _ = run("2026-01-12", last="shard", window="6d")
    wanted = opened.table("sharded").read(columns=["customer"]).column(0).to_pylist()
    for key in range(9):
        assert lookup_keys(opened, [str(key)], rows=False)[0]["rows"] == wanted.count(key)


@pytest.fixture
def by_row(orders: Path) -> Path:
    """The same rows in one file, whose rows tell their interval themselves."""
    rewrite(orders, ', file_date: "%Y-%m-%d"', "")
    rewrite(orders, "data/*.csv", "data/all.csv")
    write_all(orders, range(1, 11))
    return orders


def write_all(folder: Path, days: range, change: Callable[[str], str] = str) -> None:
    lines = [line for day in days for line in day_rows(date(2026, 1, day)).splitlines()[1:]]
    (folder / "data" / "all.csv").write_text(change("\n".join(["at,customer,shop,price,returned", *lines]) + "\n"))


def test_an_interval_that_vanishes_from_the_rows_vanishes_from_all_tables(run: Go, by_row: Path) -> None:
    run("2026-01-10", last="stats")
    write_all(by_row, range(1, 11), lambda text: text.replace("2026-01-03 ", "2026-01-04 "))
    opened, _ = run("2026-01-10", last="stats")
    for name in ("clean", "sharded"):
        held = opened.table(name).intervals()
        assert "2026-01-03" not in held
        assert sum(held.values()) == 600
    assert "2026-01-03" not in opened.tokens("stats")


def test_the_newest_interval_is_that_of_the_files_of_now(run: Go, by_row: Path) -> None:
    run("2026-01-10", last="check")
    write_all(by_row, range(1, 13))
    assert open_run("orders", None).date == "2026-01-12"
    run("2026-01-12", last="check")
    assert open_run("orders", None).date == "2026-01-12"


def test_two_runs_at_once_forget_nothing_of_each_other(run: Go, orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = run("2026-01-05", last="check", window="1d")
    commit = Table.commit
    inside = iter([True])

    def slow(self: Table, what: Any) -> int:
        if next(inside, False):
            run("2026-01-07", last="check", window="1d")
        return commit(self, what)

    monkeypatch.setattr(Table, "commit", slow)
    run("2026-01-06", last="check", window="1d")
    assert set(opened.tokens("check")) == {"2026-01-05", "2026-01-06", "2026-01-07"}


def test_rows_lost_between_tables_refuse_the_commit(run: Go, orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mrjobs.shard import Shard

    run(last="clean")
    rows = Shard.clean_rows

    def loses(self: Shard, split: Any) -> Any:
        for interval, batch, quarantined in rows(self, split):
            yield interval, batch.slice(1), quarantined

    monkeypatch.setattr(Shard, "clean_rows", loses)
    with pytest.raises(LedgerError, match="12 rows disappeared"):
        run_stages(open_run("orders", "2026-01-12", options={"runner": "inline"}), "shard", "shard")


def test_a_rerun_doesnt_promote_again_what_a_person_rolled_back(run: Go, orders: Path) -> None:
    run("2026-01-11", last="promote")
    rewrite(orders, "window: 12d", "window: 12d\ntrain: {model: decision_tree}\npromote: {confidence: 0.5}")
    opened, results = run("2026-01-12", last="promote")
    assert results["promote"].details["promoted"] is True
    rollback_champion(opened)
    _, results = run("2026-01-12", last="promote")
    assert "rolled back" in results["promote"].details["words"]
    assert registry(opened).champion("orders") == 1


def test_a_form_that_asks_for_a_sample_which_cant_be_drawn(run: Go, orders: Path) -> None:
    rewrite(orders, "role: key", "role: numeric")
    rewrite(orders, "shard: {by: customer, shards: 2}\n", "")
    with pytest.raises(RequestError, match="role key"):
        run(last="sample", sample_method="cluster")


def test_a_backfilled_model_doesnt_replace_one_that_was_taught_later(run: Go, orders: Path) -> None:
    rewrite(orders, "window: 12d", "window: 12d\npromote: {confidence: 0.5}")
    for night in ("2026-01-10", "2026-01-11", "2026-01-12"):
        run(night, last="promote")
    opened = open_run("orders", "2026-01-11")
    store = registry(opened)
    store.promote("orders", 3)
    before = store.versions("orders")
    _, results = run("2026-01-11", last="promote")  # the same night, only looked at again
    assert results["promote"].details["champion"] == 3
    assert store.versions("orders") == before

    rewrite(orders, "promote: {", "train: {model: decision_tree}\npromote: {")
    _, results = run("2026-01-11", last="promote", force=True)
    details = results["promote"].details
    assert (details["promoted"], store.champion("orders")) == (False, 3)
    assert details["words"] == (
        "not promoted: the champion was taught until 2026-01-12, this candidate until 2026-01-11: "
        "only --approve makes it champion"
    )
    _, results = run("2026-01-11", first="promote", last="promote", approved=True)
    assert (results["promote"].details["promoted"], store.champion("orders")) == (True, 4)


def test_a_forced_rerun_reads_the_limits_that_were_learned(run: Go, orders: Path) -> None:
    """Above 2,048 distinct values KLL draws random bits: learned anew, limits and so rows would differ."""
    draw = random.Random(7)
    for path in (orders / "data").glob("*.csv"):
        path.unlink()
    for day in (10, 11, 12):
        prices = [f"{draw.gauss(50, 20):.9f}" if number % 9 else "" for number in range(1500)]
        rows = [f"2026-01-{day} 10:00:00,{n % 700},a,{price},{n % 2}" for n, price in enumerate(prices)]
        text = "\n".join(["at,customer,shop,price,returned", *rows]) + "\n"
        (orders / "data" / f"2026-01-{day}.csv").write_text(text)
    rewrite(orders, "{range: [0, 1000], on_violation: quarantine}", LEARNED)
    rewrite(orders, "{by: customer, shards: 2}", "{by: price, method: range, shards: 4}")
    opened, _ = run(last="shard")
    names = ("clean", "quarantine", "sharded")
    before = [opened.table(name).read() for name in names]
    versions = [opened.table(name).version() for name in names]
    for _ in range(2):
        run(last="shard", force=True)
        assert [opened.table(name).read() for name in names] == before
    assert [opened.table(name).version() for name in names] == [version + 2 for version in versions]

    learned = opened.table("clean").details()["plan"]
    write_day(orders, date(2026, 1, 11))
    run(last="clean", force=True)
    assert opened.table("clean").details()["plan"] != learned


def test_the_same_rows_are_the_same_bytes_to_learn_fills_from(orders: Path) -> None:
    """Polars counts values in another order each time, and a sketch of frequent values tells orders apart."""
    rewrite(orders, "clean:\n", "clean:\n  shop: {missing: {fill: most_frequent}}\n")
    pipeline = open_run("orders", "").pipeline
    rows = pa.record_batch({name: [f"{number % 97}" for number in range(500)] for name in pipeline.columns})
    found = set()
    for _ in range(3):
        fills = GroupFills(pipeline)
        fills.update(convert(rows, pipeline))
        found.add(fills.to_bytes())
    assert len(found) == 1
