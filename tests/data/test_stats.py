"""Feature statistics: worked examples, the laws of states, and errors of sketches against exact answers."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data.sketches import EXACT_VALUES, KEPT_VALUES
from millrace.data.stats import TABLE_SCHEMA, Stats, TopValue, from_table, to_table
from millrace.errors import CorruptData, InputError


def column(values: pa.Array | list[Any]) -> Any:
    table = pa.table({"a": values})
    return Stats.empty(table.schema).update(table).columns["a"]


def test_numbers() -> None:
    found = column([1.0, 2.0, 2.0, 7.0, None, math.nan, math.inf])
    assert (found.count, found.nulls, found.nans, found.infinities) == (7, 1, 1, 1)
    assert (found.min, found.max, found.sum, found.mean, found.variance) == (1.0, 7.0, 12.0, 3.0, 22 / 3)
    assert found.skewness == pytest.approx(math.sqrt(4) * (-8 - 1 - 1 + 64) / 22**1.5)
    assert found.kurtosis == pytest.approx(4 * (16 + 1 + 1 + 256) / 22**2 - 3)
    assert found.quantiles([0, 0.25, 0.26, 0.75, 0.76, 1]) == [1.0, 1.0, 2.0, 2.0, 7.0, 7.0]
    assert found.cumulative([0.5, 1, 2, 6.9, 7]).tolist() == [0.0, 0.25, 0.75, 0.75, 1.0]
    assert found.distinct() == 3
    assert found.top(1) == [TopValue(2.0, 2, 2 / 7, 2, 2, {})]


def test_texts() -> None:
    found = column(["pear", "fig", "fig", "", None, "日本"])
    assert (found.min, found.max, found.mean, found.distinct()) == ("", "日本", None, 4)
    assert (found.lengths.shortest, found.lengths.longest, found.lengths.mean) == (0, 4, 12 / 5)
    assert [item.value for item in found.top(2)] == ["fig", ""]


def test_times_are_microseconds_and_shown_as_text() -> None:
    found = column(pa.array([datetime(1970, 1, 1, 0, 0, 1), datetime(2018, 4, 1)], pa.timestamp("s")))
    assert found.min == 1_000_000
    assert found.to_dict()["max"] == "2018-04-01T00:00:00"
    assert column(pa.array([date(1970, 1, 2)])).max == 86_400_000_000


def test_booleans() -> None:
    found = column([True, True, False, None])
    assert (found.mean, found.top(1)[0].value, found.to_dict()["min"]) == (2 / 3, True, False)


def test_integers_are_exact_beyond_a_float() -> None:
    found = column([2**62, 2**62 + 1, -(2**63), None])
    assert (found.sum, found.min, found.max, found.distinct()) == (1, -(2**63), 2**62 + 1, 3)
    assert column(pa.array([2**64 - 1, 2**64 - 1], pa.uint64())).sum == 2**65 - 2


@pytest.mark.parametrize("values", [pa.nulls(3), pa.nulls(3, pa.float64()), pa.array([], pa.string()), [1e308, -1e308]])
def test_results_are_json_whatever_the_column(values: pa.Array) -> None:
    shown = column(values).to_dict()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert column(values).quantile(0.5) in (None, -1e308)


LABELLED = pa.table(
    {
        "city": pa.array(["a", "a", "b", "b", "b", None]),
        "n": pa.array([1, 2, 3, 4, 5, 6]),
        "y": pa.array([1, 0, 0, 0, None, 1], pa.int8()),
    }
)


def test_states_by_label_class() -> None:
    stats = Stats.empty(LABELLED.schema, "y").update(LABELLED)
    assert stats.rows_by_class == {None: 1, "0": 3, "1": 2}
    by_class = stats.columns["n"].by_class
    assert {key: state.moments.mean for key, state in by_class.items()} == {None: 5.0, "0": 3.0, "1": 3.5}
    assert [(item.value, item.count, item.label_rates) for item in stats.columns["city"].top()] == [
        ("b", 3, {"0": 1.0, "1": 0.0}),
        ("a", 2, {"0": 0.5, "1": 0.5}),
    ]
    assert stats.to_dict()["classes"] == {"null": 1, "0": 3, "1": 2}


def test_a_label_with_many_values_has_no_classes() -> None:
    wide = pa.table({"y": np.arange(40.0)})
    once = Stats.empty(wide.schema, "y").update(wide)
    by_merging = Stats.merged(Stats.empty(wide.schema, "y").update(wide.slice(start, 10)) for start in (0, 10, 20, 30))
    assert once.rows_by_class == by_merging.rows_by_class == {None: 40}
    assert once.columns["y"].mean == by_merging.columns["y"].mean == 19.5


def test_encodings_do_not_matter() -> None:
    texts = pa.array(["a", "b", None, "a"])
    equal_entries = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 2]), pa.array(["a", "b", "a"]))
    null_entry = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 0]), pa.array(["a", "b", None]))
    expected = column(texts).to_dict()
    for array in (texts.dictionary_encode(), texts.cast(pa.large_string()), equal_entries, null_entry):
        assert column(array).to_dict() == expected
    numbers = pa.array([3, 1, None, 3], pa.int16())
    assert column(numbers.dictionary_encode()).to_dict() == column(numbers.cast(pa.int64())).to_dict()


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="the label isn't a column"):
        Stats.empty(LABELLED.schema, "z")
    with pytest.raises(InputError, match="lacks columns"):
        Stats.empty(LABELLED.schema).update(LABELLED.drop_columns(["city"]))
    with pytest.raises(InputError, match="'a' has a type without statistics"):
        column(pa.array([[1]]))
    with pytest.raises(InputError, match="two types"):
        Stats.merged([Stats.empty(t.schema).update(t) for t in (pa.table({"a": [1]}), pa.table({"a": ["x"]}))])


# The laws


ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, "", "a", "b", "é"]),
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3)),
        st.sampled_from([None, -1.5, 0.0, 0.1, 3.0, math.nan, math.inf]),
        st.sampled_from([None, True, False]),
        st.one_of(st.none(), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),
        st.sampled_from([None, 0, 1]),
    ),
    max_size=12,
)
SCHEMA = pa.schema(
    [
        ("s", pa.string()),
        ("i", pa.int64()),
        ("f", pa.float64()),
        ("b", pa.bool_()),
        ("t", pa.timestamp("us")),
        ("y", pa.int8()),
    ]
)


def state(rows: list[tuple[Any, ...]]) -> Stats:
    names = SCHEMA.names
    batch = pa.RecordBatch.from_pylist([dict(zip(names, row, strict=True)) for row in rows], SCHEMA)
    return Stats.empty(SCHEMA, "y").update(batch)


def rounded(value: Any) -> Any:
    """Results with floating-point sums to 9 digits: all but those are exact."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items() if key not in ("skewness", "kurtosis")}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}") if abs(value) > 1e-9 else 0.0
    return value


@settings(deadline=None, max_examples=60)
@given(ROWS, ROWS, ROWS)
def test_states_are_a_commutative_monoid_and_merging_equals_adding_rows(a: Any, b: Any, c: Any) -> None:
    whole = rounded(state(a + b + c).to_dict())
    left = state(a).merge(state(b)).merge(state(c))
    assert rounded(left.to_dict()) == whole
    assert rounded(state(a).merge(state(b).merge(state(c))).to_dict()) == whole
    swapped = rounded(state(c).merge(state(a)).merge(state(b)).to_dict())
    assert swapped == whole
    assert left.merge(state([])).to_dict() == left.to_dict()
    assert state([]).merge(left).to_dict() == left.to_dict()
    assert Stats.from_bytes(left.to_bytes()).to_dict() == left.to_dict()


def distributions() -> dict[str, np.ndarray[Any, Any]]:
    """Skewed and adversarial: many ties, sorted, alternating ends, a heavy tail, one huge gap."""
    random = np.random.default_rng(7)
    n = 60_000
    return {
        "zipf": random.zipf(1.3, n).clip(max=10**9).astype(np.float64),
        "lognormal": random.lognormal(0, 3, n),
        "sorted": np.arange(n, dtype=np.float64),
        "descending": -np.arange(n, dtype=np.float64),
        "alternating": np.where(np.arange(n) % 2 == 0, np.arange(n), -np.arange(n)).astype(np.float64),
        "gap": np.concatenate([random.random(n // 2), 1e15 + random.random(n // 2) * 1e6]),
        "mostly_zero": np.where(random.random(n) < 0.95, 0.0, random.random(n)),
    }


@pytest.mark.parametrize("name", list(distributions()))
@pytest.mark.parametrize("parts", [1, 30])
def test_sketches_keep_their_errors(name: str, parts: int) -> None:
    values = distributions()[name]
    schema = pa.schema([("a", pa.float64())])
    pieces = [Stats.empty(schema).update(pa.table({"a": piece})) for piece in np.array_split(values, parts)]
    found = Stats.merged(pieces).columns["a"]
    ordered = np.sort(values)
    for fraction in np.linspace(0.01, 0.99, 99):
        quantile = found.quantile(float(fraction))
        low, high = (np.searchsorted(ordered, quantile, side) / len(values) for side in ("left", "right"))
        assert low - 0.01 <= fraction <= high + 0.01
    assert (found.min, found.max) == (ordered[0], ordered[-1])
    assert found.distinct() == pytest.approx(len(np.unique(values)), rel=0.02)
    assert found.mean == pytest.approx(values.mean(), rel=1e-9)
    assert found.variance == pytest.approx(values.var(ddof=1), rel=1e-6)
    true = Counter(values.tolist())
    assert all(item.at_least <= true[item.value] <= item.at_most for item in found.top(50))
    assert found.state.values.error <= len(values) / KEPT_VALUES


@pytest.mark.parametrize("distinct", [300, 3_000, 100_000, 400_000])
def test_distinct_texts(distinct: int) -> None:
    texts = pa.array([f"user-{number}" for number in range(distinct)])
    schema = pa.schema([("a", pa.string())])
    halves = [texts[: distinct * 2 // 3], texts[distinct // 3 :]]
    merged = Stats.merged(Stats.empty(schema).update(pa.table({"a": half})) for half in halves).columns["a"]
    assert merged.distinct() == pytest.approx(distinct, rel=0.02 if distinct > EXACT_VALUES else 0)
    assert merged.distinct_exact == (distinct <= EXACT_VALUES)


def test_sketched_states_merge_in_any_order() -> None:
    """Distinct registers and count bounds agree exactly or overlap; ranks agree within twice the error."""
    random = np.random.default_rng(3)
    schema = pa.schema([("a", pa.int64())])
    pieces = [random.zipf(1.2, 4_000).clip(max=10**12).astype(np.int64) for _ in range(6)]
    states = [Stats.empty(schema).update(pa.table({"a": piece})) for piece in pieces]
    once = Stats.empty(schema).update(pa.table({"a": np.concatenate(pieces)})).columns["a"]
    true = Counter(np.concatenate(pieces).tolist())
    for order in ([0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 0, 2]):
        merged = Stats.merged(states[place] for place in order).columns["a"]
        assert merged.distinct() == once.distinct()
        assert (merged.sum, merged.min, merged.max) == (once.sum, once.min, once.max)
        points = np.unique(np.concatenate(pieces))[::50].astype(np.float64)
        assert np.abs(merged.cumulative(points) - once.cumulative(points)).max() < 0.02
        top = merged.top(20)
        assert [item.value for item in top[:3]] == [value for value, _ in true.most_common(3)]
        assert all(item.at_least <= true[item.value] <= item.at_most for item in top)
        assert all(first.at_least >= second.at_least for first, second in pairwise(top))


def test_a_list_below_its_error_bound_is_left_out() -> None:
    assert column(np.arange(50_000)).top() == []


def test_counts_enter_a_quantile_sketch_with_their_weight() -> None:
    """2,000 values counted a million times each, then a handful of new ones: still ranks within 1 %."""
    schema = pa.schema([("a", pa.int64())])
    stats = Stats.empty(schema).update(pa.table({"a": np.arange(2_000)}))
    for _ in range(20):
        stats = stats.merge(stats)
    merged = stats.merge(Stats.empty(schema).update(pa.table({"a": np.arange(2_000, 2_100)}))).columns["a"]
    assert merged.count == 2_000 * 2**20 + 100
    ranks = merged.cumulative(np.arange(0.0, 2_000.0))
    assert np.abs(ranks - np.arange(1, 2_001) / 2_000).max() <= 0.01


# Bytes and the table


def large_stats() -> Stats:
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "f": random.random(5_000),
            "s": pa.array([f"v{value}" for value in random.zipf(1.5, 5_000)]),
            "t": pa.array(np.arange(5_000)).cast(pa.timestamp("us")),
            "y": random.integers(0, 2, 5_000),
        }
    )
    return Stats.empty(table.schema, "y").update(table)


def test_bytes_round_trip_and_damage_is_seen() -> None:
    data = large_stats().to_bytes()
    assert Stats.from_bytes(data).to_bytes() == data
    for place in range(0, len(data), len(data) // 50):
        damaged = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(CorruptData):
            Stats.from_bytes(damaged)
    for cut in (0, 3, 19, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptData):
            Stats.from_bytes(data[:cut])


def test_table_round_trip() -> None:
    stats = {"2018-04-01": large_stats(), "2018-04-02": state([("a", 1, 0.5, True, None, None)])}
    table = pa.concat_tables(to_table(interval, part) for interval, part in stats.items())
    assert table.schema == TABLE_SCHEMA
    back = from_table(table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows))))
    assert list(back) == list(stats)
    for interval, part in stats.items():
        assert back[interval].rows_by_class == part.rows_by_class
        assert {name: found.count for name, found in back[interval].columns.items()} == {
            name: found.count for name, found in part.columns.items()
        }
    shown = table.filter(pa.array([name == "f" for name in table["column"].to_pylist()])).to_pylist()
    assert {row["label_class"] for row in shown} == {"0", "1", None}


def test_an_interval_twice_in_the_table_is_corrupt() -> None:
    table = to_table("2018-04-01", state([("a", 1, 0.5, True, None, 1)]))
    with pytest.raises(CorruptData, match="twice"):
        from_table(pa.concat_tables([table, table]))


def test_zero_and_negative_zero_are_one_value() -> None:
    schema = pa.schema([("x", pa.float64())])
    column = Stats.empty(schema).update(pa.record_batch({"x": [0.0, -0.0, -0.0, 1.0]})).columns["x"]
    assert [(top.value, top.count) for top in column.top(2)] == [(0.0, 3), (1.0, 1)]
