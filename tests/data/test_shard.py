"""Sharding: assignment, learned boundaries, order and duplicates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data.balance import balance
from millrace.data.hashing import hash_rows, hash_values
from millrace.data.key_sketch import KeySketch, key_sketch
from millrace.data.shard import ShardPlan, assign, plan_shards, shard_of, sort_and_deduplicate
from millrace.data.shard_mistakes import shard_mistakes
from millrace.errors import RequestError
from millrace.spec import Pipeline

ARROW = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("us")}


def pipeline(key_type: str = "string", **shard: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "time": "t"},
            "columns": {
                "user": {"type": key_type, "role": "key"},
                "t": {"type": "timestamp", "role": "time"},
                "n": {"type": "int64", "role": "numeric"},
            },
            "shard": {"by": "user"} | shard,
        }
    )


def rows(*cells: tuple[Any, int | None, int | None]) -> pa.Table:
    table = pa.table(
        {
            "user": pa.array([user for user, _, _ in cells], pa.string()),
            "t": pa.array([None if t is None else t * 1_000_000 for _, t, _ in cells]).cast(pa.timestamp("us")),
            "n": pa.array([n for _, _, n in cells], pa.int64()),
        }
    )
    return table.append_column("row_id", pa.array(hash_rows(table, table.column_names).view(np.int64)))


def cells(table: pa.Table) -> list[tuple[Any, ...]]:
    return [(row["user"], row["t"] and int(row["t"].timestamp()), row["n"]) for row in table.to_pylist()]


def sketch_of(keys: pa.Array, shards: int) -> KeySketch:
    sketch = key_sketch(shards)
    sketch.update(keys, np.arange(len(keys), dtype=np.int64) * 7919)
    return sketch


def test_hash_shard_is_xxh64_of_the_text_modulo_shards() -> None:
    import xxhash

    plan = ShardPlan(by="user", shards=16)
    batch = pa.record_batch({"user": ["alice", "bob", None]})
    expected = [xxhash.xxh64_intdigest(b"alice") % 16, xxhash.xxh64_intdigest(b"bob") % 16, 0]
    assert assign(batch, plan).tolist() == expected


def test_strings_are_ordered_by_their_utf8_bytes() -> None:
    plan = ShardPlan(by="user", method="range", shards=3, boundaries=["Z", "é"])
    batch = pa.record_batch({"user": ["A", "Z", "a", "z", "é", "日", "", None]})
    assert assign(batch, plan).tolist() == [0, 1, 1, 1, 2, 2, 0, 0]


@pytest.mark.parametrize(
    ("key_type", "boundaries", "keys", "expected"),
    [
        ("int64", [-5, 10], [-6, -5, 9, 10, None], [0, 1, 1, 2, 0]),
        ("int64", [2**60, 2**60 + 1], [2**60 - 1, 2**60, 2**60 + 1], [0, 1, 2]),
        ("float64", [0.5], [0.4999, 0.5, float("inf")], [0, 1, 1]),
        ("timestamp", ["2026-01-02T00:00:00"], [datetime(2026, 1, 1, 23, 59), datetime(2026, 1, 2)], [0, 1]),
    ],
)
def test_range_shard_of_typed_keys(key_type: Any, boundaries: list[Any], keys: list[Any], expected: list[int]) -> None:
    plan = ShardPlan(by="user", key_type=key_type, method="range", shards=3, boundaries=boundaries)
    batch = pa.record_batch({"user": pa.array(keys, ARROW[key_type])})
    assert assign(batch, plan).tolist() == expected
    assert assign(batch, ShardPlan.model_validate_json(plan.model_dump_json())).tolist() == expected


@given(keys=st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=80), cut=st.integers(0, 80))
@settings(max_examples=50, deadline=None)
def test_a_row_has_one_shard_however_the_rows_are_cut(keys: list[str | None], cut: int) -> None:
    for plan in (
        ShardPlan(by="user", shards=7),
        ShardPlan(by="user", method="range", shards=4, boundaries=["0", "a", "ÿ"]),
    ):
        batch = pa.record_batch({"user": pa.array(keys, pa.string())})
        whole = assign(batch, plan).tolist()
        assert assign(batch.slice(0, cut), plan).tolist() + assign(batch.slice(cut), plan).tolist() == whole
        assert [shard_of(key, plan) for key in keys] == whole
        dictionary = pa.record_batch({"user": pa.array(keys, pa.string()).dictionary_encode()})
        assert assign(dictionary, plan).tolist() == whole


@pytest.mark.parametrize("shards", [4, 16, 64])
def test_learned_boundaries_are_within_ten_percent_on_skewed_keys(shards: int) -> None:
    random = np.random.default_rng(shards)
    numbers = np.minimum(random.zipf(1.3, 400_000), 10**9) * 1000 + random.integers(0, 1000, 400_000)
    for keys in (pa.array(numbers), pa.array([f"user-{number}" for number in numbers.tolist()])):
        key_type = "int64" if pa.types.is_integer(keys.type) else "string"
        plan = plan_shards(pipeline(key_type, method="range", shards=shards), sketch_of(keys, shards))
        sizes = np.bincount(assign(pa.record_batch({"user": keys}), plan), minlength=shards)
        assert len(plan.boundaries) == shards - 1
        assert plan.heavy_keys == []
        assert sizes.max() <= 1.1 * len(keys) / shards


def test_a_key_larger_than_a_shard_is_named_and_stands_alone() -> None:
    keys = pa.array(["m"] * 5_000 + [f"k{number:04d}" for number in range(5_000)])
    plan = plan_shards(pipeline(method="range", shards=8), sketch_of(keys, 8))
    assert plan.heavy_keys == ["m"]
    assert plan.largest == 4.0
    sizes = np.bincount(assign(pa.record_batch({"user": keys}), plan), minlength=8)
    assert sorted(sizes.tolist()) == [714, 714, 714, 714, 714, 715, 715, 5000]


def test_fewer_keys_than_shards_leave_shards_empty() -> None:
    plan = plan_shards(pipeline(method="range", shards=8), sketch_of(pa.array(["a", "b", "b"]), 8))
    assert plan.boundaries == ["b"]
    assert plan_shards(pipeline(method="range", shards=8), key_sketch(8)).boundaries == []


@given(weights=st.lists(st.integers(1, 50), min_size=1, max_size=9), runs=st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_balance_is_the_least_possible_largest_run_where_no_key_is_heavy(weights: list[int], runs: int) -> None:
    from itertools import combinations

    outcome = balance(np.array(weights, float), runs)
    mean = sum(weights) / runs
    if max(weights) > mean:
        assert outcome.largest * mean >= max(weights) - 1e-6
        assert len(outcome.cuts) <= runs - 1
        return
    best = min(
        max(sum(weights[a:b]) for a, b in zip((0, *cut), (*cut, len(weights)), strict=True))
        for count in range(min(runs, len(weights)))
        for cut in combinations(range(1, len(weights)), count)
    )
    assert outcome.largest * mean == pytest.approx(best, rel=1e-5)


@given(
    keys=st.lists(st.integers(-3, 30), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_key_sketch_is_equal_for_any_split_and_order(keys: list[int], cuts: list[int], seed: int) -> None:
    ids = np.arange(len(keys), dtype=np.int64) * 104_729
    whole = KeySketch(16)
    whole.update(pa.array(keys, pa.int64()), ids)
    places = np.random.default_rng(seed).permutation(len(keys))
    merged = KeySketch(16)
    for piece in np.split(places, sorted(min(cut, len(keys)) for cut in cuts)):
        part = KeySketch(16)
        part.update(pa.array([keys[place] for place in piece], pa.int64()), ids[piece])
        merged.merge(KeySketch.from_bytes(part.to_bytes()))
    assert merged.to_bytes() == whole.to_bytes() or not keys


def test_rows_are_in_total_order_and_copies_are_merged() -> None:
    table = rows(("b", 2, 1), ("a", 9, 1), ("b", 1, 7), (None, 5, 0), ("b", 2, 1), ("a", None, 3))
    kept, duplicates = sort_and_deduplicate(table, pipeline())
    assert cells(kept) == [(None, 5, 0), ("a", None, 3), ("a", 9, 1), ("b", 1, 7), ("b", 2, 1)]
    assert duplicates == 1


def test_rows_with_one_row_id_are_merged_only_where_all_columns_are_equal() -> None:
    table = pa.table({"user": ["a", "a", "a"], "n": [1, 2, 1], "row_id": [5, 5, 5], "source_file": ["y", "x", "x"]})
    kept, duplicates = sort_and_deduplicate(table, pipeline())
    assert kept.to_pydict() == {"user": ["a", "a"], "n": [1, 2], "row_id": [5, 5], "source_file": ["x", "x"]}
    assert duplicates == 1


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"by": ["user"], "keep": "first"}, [(None, 1, 0), (None, 2, 0), ("a", 1, 5), ("b", None, 9)]),
        ({"by": ["user"], "keep": "last"}, [(None, 1, 0), (None, 2, 0), ("a", 3, 6), ("b", None, 9)]),
        ({"by": ["user"], "keep": "last", "order": "n"}, [(None, 1, 0), (None, 2, 0), ("a", 2, 7), ("b", None, 9)]),
    ],
)
def test_duplicates_by_key_keep_the_first_or_last(rule: dict[str, Any], expected: list[Any]) -> None:
    table = rows(
        ("a", 2, 7),
        ("a", 1, 5),
        ("b", None, 9),
        ("a", 3, 6),
        (None, 1, 0),
        (None, 2, 0),
        ("a", None, 0),
        ("b", None, 9),
    )
    kept, duplicates = sort_and_deduplicate(table, pipeline(deduplicate=rule))
    assert cells(kept) == expected
    assert duplicates == 4


@given(
    values=st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 2), st.integers(0, 2)), max_size=25),
    by=st.sampled_from([None, ["user"], ["user", "n"]]),
    keep=st.sampled_from(["first", "last"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_the_same_rows_give_the_same_table_in_any_order(values: list[Any], by: Any, keep: str, seed: int) -> None:
    table = rows(*values)
    shuffled = table.take(pa.array(np.random.default_rng(seed).permutation(len(values))))
    spec = pipeline(deduplicate={"by": by, "keep": keep})
    kept, duplicates = sort_and_deduplicate(table, spec)
    again, again_duplicates = sort_and_deduplicate(shuffled, spec)
    assert kept.equals(again)
    assert duplicates == again_duplicates == len(values) - kept.num_rows
    if by is None:
        assert kept.num_rows == len(set(values))


def test_mistakes_are_all_named() -> None:
    shard = {"by": "users", "method": "range", "boundaries": ["m", "c"], "deduplicate": {"by": ["n"], "order": "x"}}
    assert [found.path for found in shard_mistakes(pipeline(**shard))] == [
        ["shard", "by"],
        ["shard", "deduplicate", "order"],
        ["shard", "deduplicate", "by"],
    ]
    falling = list(shard_mistakes(pipeline(method="range", boundaries=["m", "c"])))
    assert [(found.expected, found.found) for found in falling] == [("rising values", "['m', 'c']")]
    with pytest.raises(RequestError, match="expected a key of type int64; found 'm'"):
        plan_shards(pipeline("int64", method="range", boundaries=["m"]))
    with pytest.raises(RequestError, match="expected a sketch of the keys"):
        plan_shards(pipeline(method="range"))


@pytest.mark.realdata
@pytest.mark.parametrize("method", ["hash", "range"])
def test_fraud_daily_by_customer(method: str, real_data: Callable[[str], Path]) -> None:
    files = sorted(real_data("fraud_daily").glob("2018-04-0*.csv.gz"))
    frame = pl.concat([pl.read_csv(file) for file in files])
    keys = frame["CUSTOMER_ID"].rename("user").to_arrow()
    plan = plan_shards(pipeline("int64", method=method, shards=16), sketch_of(keys, 16))
    shards = assign(pa.record_batch({"user": keys}), plan)
    sizes = np.bincount(shards, minlength=16)
    assert sizes.sum() == frame.height
    assert frame.with_columns(shard=shards).group_by("CUSTOMER_ID").agg(pl.col("shard").n_unique())["shard"].max() == 1
    if method == "range":
        assert sizes.max() <= 1.1 * sizes.mean()
        assert plan.heavy_keys == []
        assert np.all(np.diff(shards[np.argsort(keys.to_numpy(), kind="stable")]) >= 0)
    else:
        assert shards.tolist() == (hash_values(keys) % np.uint64(16)).tolist()


@pytest.mark.realdata
def test_retail_daily_copies(real_data: Callable[[str], Path]) -> None:
    day = pl.read_csv(real_data("retail_daily") / "2010-12-01.csv.gz", infer_schema=False)
    columns = {name: {"type": "string", "role": "categorical"} for name in day.columns}
    spec = Pipeline.model_validate(
        {
            "name": "retail",
            "source": {"uri": "x", "time": "InvoiceDate"},
            "columns": columns,
            "shard": {"by": "CustomerID", "shards": 4},
        }
    )
    table = day.to_arrow()
    table = table.append_column("row_id", pa.array(hash_rows(table, table.column_names).view(np.int64)))
    shards = assign(table, plan_shards(spec))
    merged = [sort_and_deduplicate(table.filter(pa.array(shards == shard)), spec) for shard in range(4)]
    assert sum(duplicates for _, duplicates in merged) == 44  # 3,108 lines, 3,064 different ones
    assert sum(kept.num_rows for kept, _ in merged) == 3_064


def test_the_key_leads_the_order_where_rows_have_no_id() -> None:
    columns = {"n": {"type": "int64", "role": "numeric"}, "user": {"type": "string", "role": "key"}}
    pipeline = Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "interval": "none"},
            "columns": columns,
            "shard": {"by": "user", "shards": 2},
        }
    )
    kept, _ = sort_and_deduplicate(pa.table({"n": [1, 2, 3], "user": ["b", "a", "b"]}), pipeline)
    assert kept.to_pylist() == [{"n": 2, "user": "a"}, {"n": 1, "user": "b"}, {"n": 3, "user": "b"}]
