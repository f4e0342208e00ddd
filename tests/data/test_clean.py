"""Cleaning: what each rule makes of a cell, where rows go, and the laws of the whole."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data.clean import Cleaned, Counts, clean_batch, clean_schema
from millrace.data.clean_groups import GroupFills, needed
from millrace.data.clean_mistakes import rule_mistakes
from millrace.data.clean_plan import (
    CleanPlan,
    ColumnPlan,
    median_absolute_deviation,
    needs_statistics,
    plan_clean,
)
from millrace.data.convert import convert
from millrace.data.raw import BadRow, RawBatch, Split
from millrace.data.stats import Stats
from millrace.errors import InputError, RequestError
from millrace.spec import Pipeline

SPLIT = Split("a.csv", "csv", 0, 0, 1, None, None, 0)
NONE = {"uri": "x", "interval": "none"}


def make(columns: dict[str, Any], clean: dict[str, Any] | None = None, **more: Any) -> Pipeline:
    declared = {
        name: {"type": kind, "role": "ignore"} if isinstance(kind, str) else kind for name, kind in columns.items()
    }
    return Pipeline.model_validate({"name": "p", "source": NONE, "columns": declared, "clean": clean or {}, **more})


def raw(bad: list[BadRow] | None = None, /, **columns: Any) -> RawBatch:
    batch = pa.record_batch(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    )
    return RawBatch(batch, pa.array(range(1, batch.num_rows + 1), pa.int64()), bad or [])


def clean_one(kind: str, cells: Any, rule: dict[str, Any], plan: ColumnPlan | None = None) -> Cleaned:
    """One column `a`, cleaned by one rule."""
    pipeline = make({"a": kind}, {"a": rule})
    learned = plan_clean(pipeline, None) if plan is None else CleanPlan(columns={"a": plan})
    [cleaned] = clean_batch(raw(a=cells), SPLIT, learned, pipeline)
    return cleaned


def outcome(cleaned: Cleaned) -> tuple[list[Any], dict[str, int], dict[str, int]]:
    """The cells that stay, the changes by rule, and the quarantined rows by reason."""
    return cleaned.batch["a"].to_pylist(), cleaned.counts.changes.get("a", {}), cleaned.counts.quarantined


def stats_of(**columns: list[Any]) -> Stats:
    batch = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    return Stats.empty(batch.schema).update(batch)


def learn(pipeline: Pipeline, batch: RawBatch) -> CleanPlan:
    """The plan from one scan of the raw rows, as the check job makes it."""
    typed, fills = convert(batch.batch, pipeline), GroupFills(pipeline)
    fills.update(typed)
    return plan_clean(pipeline, Stats.empty(typed.batch.schema).update(typed.batch), fills)


# Each rule


def test_text_rules_in_their_order() -> None:
    rule = {"case": "lower", "map": {"nyc": "New York", "?": None}, "spelling": {"values": ["Rome", "New York"]}}
    cells = [" NYC ", "new york", "Rmoe", "?", "Bonn", None]
    assert outcome(clean_one("string", cells, rule)) == (
        ["New York", "New York", "Rome", None, "bonn", None],
        {"trim": 1, "case": 3, "map": 2, "spelling": 2},
        {},
    )
    assert outcome(clean_one("string", ["New York", "Rome"], rule))[1] == {}, "what a rule writes is clean already"
    assert outcome(clean_one("string", [" a "], {"trim": False}))[0] == [" a "]
    assert outcome(clean_one("string", ["a b"], {"case": "title"}))[0] == ["A B"]


def test_spelling_takes_the_one_nearest_value_or_none() -> None:
    rule = {"spelling": {"values": ["cat", "bat", "horse"], "distance": 2}}
    assert outcome(clean_one("string", ["CAT", "h orse", "rat", "hrose", "zebra"], rule))[0] == [
        "cat",
        "horse",
        "rat",
        "horse",
        "zebra",
    ]


def test_units_make_one_unit() -> None:
    rule = {"unit": {"kg": 1, "lb": 0.5, "oz.": 0.03125}}
    assert outcome(clean_one("float64", ["3 lb", "2KG", "4", "16 oz.", "5 st"], rule)) == (
        [1.5, 2, 4, 0.5],
        {"unit": 3},
        {"a:type": 1},
    )


def test_type_errors_leave_or_become_null() -> None:
    assert outcome(clean_one("int8", ["1", "x"], {})) == ([1], {}, {"a:type": 1})
    assert outcome(clean_one("int8", ["1", "x"], {"on_type_error": None})) == ([1, None], {"type": 1}, {})
    impossible = clean_one("date", ["2018-02-28", "2018-02-30"], {})
    assert outcome(impossible)[0] == [date(2018, 2, 28)]
    assert impossible.quarantine["reason"].to_pylist() == ["expected date (iso), found '2018-02-30'"]


def test_ranges_null_clip_or_quarantine() -> None:
    cells, limits = ["-1", "0", "500", "501", None], {"range": [0, 500]}
    assert outcome(clean_one("float64", cells, limits)) == ([None, 0, 500, None, None], {"range": 2}, {})
    assert outcome(clean_one("float64", cells, {**limits, "on_violation": "clip"}))[0] == [0, 0, 500, 500, None]
    assert outcome(clean_one("int16", cells, {**limits, "on_violation": "quarantine"})) == (
        [0, 500, None],
        {},
        {"a:range": 2},
    )
    assert outcome(clean_one("int8", ["-5", "127"], {"range": [-2.5, 1000], "on_violation": "clip"}))[0] == [-2, 127]
    assert outcome(clean_one("float32", ["0.1"], {"range": [None, 0.1]}))[0] == [pytest.approx(0.1)], (
        "no rounding error"
    )
    times = ["2018-04-30 23:59:00", "2018-05-01 00:00:00"]
    assert outcome(clean_one("timestamp", times, {"range": ["2018-04-01", "2018-04-30"]}))[0] == [
        datetime(2018, 4, 30, 23, 59),
        None,
    ]


def test_allowed_values() -> None:
    assert outcome(clean_one("string", ["a", "b", None], {"values": ["a"]})) == (["a", None, None], {"values": 1}, {})
    quarantined = clean_one("int8", ["1", "2", "3"], {"values": [1, 2], "on_violation": "quarantine"})
    assert quarantined.quarantine["reason"].to_pylist() == ["expected one of 1, 2, found '3'"]
    assert outcome(clean_one("bool", ["no", "yes"], {"values": [True]}))[0] == [None, True]


def test_missing_values() -> None:
    cells = ["1", None, ""]  # the reader makes empty text null; here it is a type error
    fill = {"missing": {"fill": "constant", "value": 7}, "on_type_error": "null"}
    assert outcome(clean_one("int8", cells, fill)) == ([1, 7, 7], {"type": 1, "missing": 2}, {})
    assert outcome(clean_one("int8", ["1", None], {"missing": {"fill": "quarantine"}})) == ([1], {}, {"a:missing": 1})
    unknown = {"missing": {"fill": "constant", "value": "unknown"}, "range": ["a", "b"]}
    assert outcome(clean_one("string", ["a", "z"], unknown)) == (["a", "unknown"], {"range": 1, "missing": 1}, {})


WRONG_RULES = [
    ("int8", {"range": ["a", None]}),
    ("timestamp", {"range": ["2018-02-30", None]}),
    ("bool", {"range": [0, 1]}),
    ("int8", {"values": ["x"]}),
    ("int8", {"missing": {"fill": "constant", "value": 300}}),
    ("int8", {"missing": {"fill": "constant"}}),
    ("string", {"missing": {"fill": "mean"}}),
    ("string", {"outliers": {"method": "mad"}}),
]
RIGHT_RULES = [
    ("int8", {"range": ["-1", 500.5], "values": [1, "2", 3.0], "missing": {"fill": "constant", "value": "7"}}),
    ("float32", {"range": [None, 1], "values": [0.5], "missing": {"fill": "constant", "value": 1}}),
    ("date", {"range": ["2018-01-01", None], "missing": {"fill": "constant", "value": "2018-01-01"}}),
    ("bool", {"values": [True, "no"], "missing": {"fill": "constant", "value": False}}),
    ("string", {"range": ["a", "b"], "values": [1, "x"], "missing": {"fill": "constant", "value": 1}}),
]


def test_a_rule_that_does_not_fit_its_column_is_refused_by_the_file_and_by_cleaning() -> None:
    for kind, rule in WRONG_RULES:
        pipeline = make({"a": kind}, {"a": rule})
        assert len(list(rule_mistakes(pipeline.columns["a"], pipeline.rule("a")))) == 1, rule
        with pytest.raises(RequestError, match="clean.a"):
            clean_one(kind, ["1"], rule)
    for kind, rule in RIGHT_RULES:
        pipeline = make({"a": kind}, {"a": rule})
        assert list(rule_mistakes(pipeline.columns["a"], pipeline.rule("a"))) == []
        clean_one(kind, pa.array([None], pa.string()), rule)


# What is learned


def test_fences_from_quantiles_within_the_range_and_from_the_mad() -> None:
    stats = stats_of(a=[float(n) for n in range(1, 1001)] + [1e9] * 100)
    quantile = {"range": [0, 5000], "outliers": {"method": "quantile", "lower": 0.1, "upper": 0.9}}
    plan = plan_clean(make({"a": "float64"}, {"a": quantile}), stats).column("a")
    assert (plan.low, plan.high) == (100, 900), "1e9 is outside the range"
    mad = {"outliers": {"method": "mad", "width": 3}}
    plan = plan_clean(make({"a": "float64"}, {"a": mad}), stats_of(a=[1.0, 2, 3, 4, 100])).column("a")
    assert (plan.low, plan.high) == (pytest.approx(3 - 3 * 1.4826), pytest.approx(3 + 3 * 1.4826)), "the MAD is 1"
    assert outcome(clean_one("float64", ["-9", "3", "100"], mad, plan)) == ([None, 3, None], {"outliers": 2}, {})


def test_a_mad_from_a_sketch_holds_half_of_the_rows() -> None:
    numbers = [math.exp(n % 1000 / 100) + n / 1e6 for n in range(20_000)]
    column = stats_of(a=numbers).columns["a"]
    assert column.rank_error > 0, "more distinct values than are counted"
    median, spread = column.quantile(0.5), median_absolute_deviation(column)
    share = sum(abs(number - median) <= spread for number in numbers) / len(numbers)
    assert share == pytest.approx(0.5, abs=2 * column.rank_error)


def test_a_mad_of_zero_gives_no_fence_and_says_so() -> None:
    plan = plan_clean(make({"a": "int8"}, {"a": {"outliers": {"method": "mad"}}}), stats_of(a=[0, 0, 0, 7]))
    assert plan.column("a") == ColumnPlan(note="no fence: no values, or more than half of them are equal")


def test_fill_values_are_learned_within_limits() -> None:
    rules = {
        "m": {"range": [0, 10], "missing": {"fill": "mean"}},
        "w": {"case": "lower", "missing": {"fill": "most_frequent"}},
        "d": {"missing": {"fill": "median"}},
        "empty": {"missing": {"fill": "most_frequent"}},
    }
    pipeline = make({"m": "int8", "w": "string", "d": "float64", "empty": "date"}, rules)
    batch = raw(
        m=["1", "2", "99", None], w=["a", "A", "b", None], d=["1", "2", "9", None], empty=pa.nulls(4, pa.string())
    )
    plan = learn(pipeline, batch)
    assert {name: column.fill for name, column in plan.columns.items()} == {
        "m": "2",
        "w": "a",
        "d": "2.0",
        "empty": None,
    }
    assert plan.column("empty").note == "nothing to fill with: no values were seen"
    assert CleanPlan.model_validate_json(plan.model_dump_json()) == plan
    [cleaned] = clean_batch(batch, SPLIT, plan, pipeline)
    assert cleaned.batch.select(["m", "w", "d", "empty"]).to_pylist()[3] == {"m": 2, "w": "a", "d": 2, "empty": None}
    assert cleaned.batch["m"].to_pylist() == [1, 2, 2, 2]


def test_spellings_are_learned_from_what_is_frequent() -> None:
    pipeline = make({"a": "string"}, {"a": {"case": "lower", "spelling": {"at_least": 3}}})
    batch = raw(a=["Rome"] * 2 + ["rome"] * 2 + ["oslo"] * 3 + ["rmoe", "olso", "bonn"])
    plan = learn(pipeline, batch)
    assert plan.column("a").spellings == ["oslo", "rome"]
    [cleaned] = clean_batch(batch, SPLIT, plan, pipeline)
    assert cleaned.batch["a"].to_pylist() == ["rome"] * 4 + ["oslo"] * 3 + ["rome", "oslo", "bonn"]


def test_what_has_to_be_learned_needs_statistics() -> None:
    pipeline = make({"a": "int8"}, {"a": {"missing": {"fill": "median"}}})
    assert needs_statistics(pipeline)
    assert needed(pipeline)
    assert not needs_statistics(make({"a": "int8"}))
    with pytest.raises(RequestError, match="expected statistics of the raw data"):
        plan_clean(pipeline, None)


GROUPED = make(
    {"fare": "float64", "riders": "int8", "kind": "string", "city": "string"},
    {
        "fare": {"range": [0, 100], "missing": {"fill": "mean", "by": "city"}},
        "riders": {"missing": {"fill": "median", "by": "city"}},
        "kind": {"case": "lower", "missing": {"fill": "most_frequent", "by": "city"}},
        "city": {"map": {"nyc": "New York"}},
    },
)
RIDES = {
    "fare": ["10", "20", "900", "50", None, None, None],
    "riders": ["1", "2", "3", "9", None, None, None],
    "kind": ["A", "a", "b", "b", None, None, None],
    "city": ["nyc", "New York", "nyc", "Rome", "New York", "Rome", "Oslo"],
}


def test_fills_per_group_are_learned_within_limits_and_after_text_rules() -> None:
    fills = GroupFills(GROUPED)
    fills.update(convert(pa.record_batch(RIDES), GROUPED))
    plan = plan_clean(GROUPED, None, fills)
    assert plan.column("fare").groups == {"New York": "15.0", "Rome": "50.0"}
    [cleaned] = clean_batch(raw(**RIDES), SPLIT, plan, GROUPED)
    assert cleaned.batch["fare"].to_pylist() == [10, 20, 15, 50, 15, 50, pytest.approx(80 / 3)], (
        "Oslo has none of its own"
    )
    assert cleaned.batch["riders"].to_pylist() == [1, 2, 3, 9, 2, 9, 2]
    assert cleaned.batch["kind"].to_pylist() == ["a", "a", "b", "b", "a", "b", "a"]
    assert cleaned.counts.changes["fare"] == {"range": 1, "missing": 4}


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 7), min_size=0, max_size=3))
def test_states_of_pieces_merge_to_the_state_of_the_whole(cuts: list[int]) -> None:
    batch = pa.record_batch(RIDES)
    whole = GroupFills(GROUPED)
    whole.update(convert(batch, GROUPED))
    merged = GroupFills(GROUPED)
    edges = [0, *sorted(cuts), 7]
    for start, end in zip(edges, edges[1:], strict=False):
        piece = GroupFills(GROUPED)
        piece.update(convert(batch.slice(start, end - start), GROUPED))
        merged.merge(GroupFills.from_bytes(piece.to_bytes(), GROUPED))
    assert [merged.fill(name) for name in merged.states] == [whole.fill(name) for name in whole.states]


# Where rows go


def test_the_quarantine_says_what_was_expected_and_found() -> None:
    pipeline = make(
        {"a": "int8", "b": "string"},
        {"a": {"range": [0, 9], "on_violation": "quarantine"}},
        check=[{"expect": "column_values_to_not_be_null", "column": "b", "severity": "quarantine"}],
    )
    batch = raw([BadRow(5, "ragged", "7,x,y")], a=["1", "x", "99", "2"], b=["u", None, "v", None])
    [cleaned] = clean_batch(batch, SPLIT, CleanPlan(), pipeline)
    assert cleaned.batch.select(["a", "b"]).to_pylist() == [{"a": 1, "b": "u"}]
    rows = cleaned.quarantine.select(["row", "column", "rule", "reason", "value"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (2, "a", "type", "expected int8, found 'x'", "x"),
        (3, "a", "range", "expected from 0 to 9, found '99'", "99"),
        (4, "b", "column_values_to_not_be_null(b)", "expected column_values_to_not_be_null(b), found nothing", None),
        (5, None, "ragged", "expected as many fields as there are columns", None),
    ]
    records = cleaned.quarantine["record"].to_pylist()
    assert [json.loads(record) for record in records[:2]] == [{"a": "x", "b": None}, {"a": "99", "b": "v"}]
    assert records[3] == "7,x,y"
    assert cleaned.counts == Counts(
        rows_in=5,
        rows_out=1,
        quarantined={"a:range": 1, "a:type": 1, "b:column_values_to_not_be_null(b)": 1, "ragged": 1},
    )


def test_rows_go_to_the_interval_of_their_time_or_of_their_file() -> None:
    columns = {"t": {"type": "timestamp", "role": "time"}, "a": "int8"}
    times = ["2018-04-02 01:00:00", "2018-04-01 23:00:00", None, "2018-04-02 02:00:00"]
    batch = raw([BadRow(5, "ragged", "x")], t=times, a=["1", "2", "3", "4"])
    by_time = make(columns, source={"uri": "x", "time": "t"})
    parts = clean_batch(batch, SPLIT, CleanPlan(), by_time)
    assert [(part.interval, part.batch["a"].to_pylist(), part.counts.quarantined) for part in parts] == [
        ("2018-04-01", [2], {}),
        ("2018-04-02", [1, 4], {}),
        ("unknown", [], {"ragged": 1, "t:no_interval": 1}),
    ]
    dated = Split("2018-04-02.csv", "csv", 0, 0, 1, None, "2018-04-02", 0)
    by_file = {"uri": "x", "time": "t", "file_date": "%Y-%m-%d"}
    [part] = clean_batch(batch, dated, CleanPlan(), make(columns, source=by_file))
    assert (part.interval, part.batch["a"].to_pylist()) == ("2018-04-02", [1, 2, 3, 4])
    [part] = clean_batch(batch, dated, CleanPlan(), make(columns, source={**by_file, "late_rows": "quarantine"}))
    assert part.counts.quarantined == {"ragged": 1, "t:other_interval": 1}
    assert part.quarantine["reason"].to_pylist()[0] == "expected a time in 2018-04-02, found '2018-04-01 23:00:00'"
    with pytest.raises(InputError, match="belongs to no data interval"):
        clean_batch(batch, SPLIT, CleanPlan(), make({"a": "int8"}, source={"uri": "x", "file_date": "%Y-%m-%d"}))


def test_a_missing_label_stays_and_an_unreadable_one_leaves() -> None:
    pipeline = make({"y": {"type": "int8", "role": "label"}})
    [cleaned] = clean_batch(raw(y=["1", None, "maybe"]), SPLIT, CleanPlan(), pipeline)
    assert cleaned.batch["y"].to_pylist() == [1, None]
    assert cleaned.counts.quarantined == {"y:type": 1}


def test_dropped_columns_leave_and_row_ids_name_the_content() -> None:
    pipeline = make({"a": "int8", "leak": "string"}, {"leak": "drop"})
    [one] = clean_batch(raw(a=["1", " 1", "2"], leak=["x", "y", "z"]), SPLIT, CleanPlan(), pipeline)
    assert one.batch.schema.names == ["a", "row_id", "source_file"]
    assert clean_schema(pipeline).names == ["a", "row_id", "source_file", "data_interval"]
    ids = one.batch["row_id"].to_pylist()
    assert ids[0] == ids[1] != ids[2]
    assert one.batch["source_file"].to_pylist() == ["a.csv"] * 3


def test_an_empty_batch_and_a_batch_of_bad_rows_alone() -> None:
    pipeline = make({"a": "int8"})
    empty = pa.array([], pa.string())
    [cleaned] = clean_batch(raw([BadRow(1, "encoding", "\ufffd")], a=empty), SPLIT, CleanPlan(), pipeline)
    assert (cleaned.batch.num_rows, cleaned.counts.rows_in, cleaned.counts.quarantined) == (0, 1, {"encoding": 1})
    assert sum(part.counts.rows_in for part in clean_batch(raw(a=empty), SPLIT, CleanPlan(), pipeline)) == 0


def test_rows_of_a_parquet_file_with_its_own_types() -> None:
    batch = raw(
        c=pa.array(["A ", " x", None, "B"]).dictionary_encode(),
        n=pa.array([1.0, 9.0, float("nan"), 2.5]),
        b=pa.array([b"a", b"b", b"\xff", None]),
    )
    rules = {"c": {"case": "lower"}, "n": {"range": [0, 5], "on_violation": "quarantine"}}
    [cleaned] = clean_batch(batch, SPLIT, CleanPlan(), make({"c": "string", "n": "int8", "b": "string"}, rules))
    assert cleaned.batch.select(["c", "n", "b"]).to_pylist() == [{"c": "a", "n": 1, "b": "a"}]
    assert cleaned.quarantine.select(["row", "rule", "value", "record"]).to_pylist() == [
        {"row": 2, "rule": "range", "value": "9", "record": '{"c":" x","n":"9","b":"0x62"}'},
        {"row": 3, "rule": "type", "value": "0xff", "record": '{"c":null,"n":"nan","b":"0xff"}'},
        {"row": 4, "rule": "type", "value": "2.5", "record": '{"c":"B","n":"2.5","b":null}'},
    ]


# Laws

LAWS = make(
    {"t": {"type": "timestamp", "role": "time"}, "fare": "float64", "city": "string", "n": "int16"},
    {
        "fare": {
            "unit": {"usd": 1, "ct": 0.01},
            "range": [0, 100],
            "on_violation": "clip",
            "missing": {"fill": "mean"},
        },
        "city": {"case": "lower", "map": {"nyc": "New York"}, "spelling": {"values": ["New York", "Rome"]}},
        "n": {"outliers": {"method": "quantile"}, "missing": {"fill": "median", "by": "city"}},
    },
    source={"uri": "x", "time": "t"},
)
LAW_PLAN = CleanPlan(
    columns={"fare": ColumnPlan(fill="12.5"), "n": ColumnPlan(low=-5, high=50, fill="3", groups={"Rome": "9"})}
)
ROWS = st.fixed_dictionaries(
    {
        "t": st.sampled_from(["2018-04-01", "2018-04-02 05:00:00", "2018-02-30", None]),
        "fare": st.sampled_from(["1.5", "900", "-2", "50 ct", "3usd", "inf", "x", None, " 7 "]),
        "city": st.sampled_from([" NYC", "rome", "Rmoe", "newyork", "Bonn", None, ""]),
        "n": st.sampled_from(["1", "-7", "60", "3.0", "9.5", "99999", None]),
    }
)


def rows_of(found: list[dict[str, Any]]) -> RawBatch:
    names = ["t", "fare", "city", "n"]
    return raw(**{name: pa.array([row[name] for row in found], pa.string()) for name in names})


def piece(whole: RawBatch, start: int, end: int) -> RawBatch:
    return RawBatch(whole.batch.slice(start, end - start), whole.rows.slice(start, end - start), [])


def gather(parts: list[Cleaned]) -> dict[str, tuple[list[Any], list[Any], Counts]]:
    """Rows, quarantined rows and counts by interval."""
    result: dict[str, tuple[list[Any], list[Any], Counts]] = {}
    for part in parts:
        rows, rejected, counts = result.get(part.interval, ([], [], Counts()))
        merged = counts.merge(part.counts)
        result[part.interval] = ([*rows, *part.batch.to_pylist()], [*rejected, *part.quarantine.to_pylist()], merged)
    return {name: found for name, found in result.items() if found[2].rows_in}


@settings(deadline=None, max_examples=40)
@given(st.lists(ROWS, max_size=12), st.integers(0, 12))
def test_rows_are_conserved_and_pieces_clean_as_the_whole(found: list[dict[str, Any]], cut: int) -> None:
    batch, cut = rows_of(found), min(cut, len(found))
    whole = gather(clean_batch(batch, SPLIT, LAW_PLAN, LAWS))
    for rows, rejected, counts in whole.values():
        assert counts.rows_in == counts.rows_out + sum(counts.quarantined.values())
        assert (len(rows), len(rejected)) == (counts.rows_out, sum(counts.quarantined.values()))
    assert sum(counts.rows_in for _, _, counts in whole.values()) == len(found)
    pieces = [piece(batch, 0, cut), piece(batch, cut, len(found))]
    assert gather([part for each in pieces for part in clean_batch(each, SPLIT, LAW_PLAN, LAWS)]) == whole


@settings(deadline=None, max_examples=40)
@given(st.lists(ROWS, max_size=12))
def test_clean_rows_are_clean(found: list[dict[str, Any]]) -> None:
    for part in clean_batch(rows_of(found), SPLIT, LAW_PLAN, LAWS):
        names = ["t", "fare", "city", "n"]
        again = RawBatch(part.batch.select(names), pa.array(range(part.batch.num_rows), pa.int64()), [])
        for second in clean_batch(again, SPLIT, LAW_PLAN, LAWS):
            assert second.batch.equals(part.batch)
            assert (second.counts.changes, second.counts.quarantined) == ({}, {})


def test_frequent_words_have_the_same_bytes_whatever_the_order_of_merging() -> None:
    from itertools import permutations

    from millrace.data.clean_groups import _MostFrequent

    def dumped(words: tuple[str, ...]) -> str:
        merged = _MostFrequent()
        for word in words:
            one = _MostFrequent()
            one.update(pl.Series("word", [word] * len(word)))
            merged.merge(one)
        return merged.dump()

    assert len({dumped(words) for words in permutations(["a", "é", "", "q", "ddddd"])}) == 1
