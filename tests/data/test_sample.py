"""Sampling: the same rows on any splits, exact sizes, unbiased totals, and the choice of a method."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data.allocation import allocate, sample_rows
from millrace.data.population import Population
from millrace.data.sample import SamplePlan, candidates, columns_ranked, finish, plan_sample, total
from millrace.data.sample_choice import Choice, Method, choose_method
from millrace.errors import RequestError, WorkError
from millrace.spec import Pipeline, Sample

AS_OF = datetime(2026, 3, 2)
CHOICES: dict[str, tuple[Method, str | None]] = {
    "all": ("all", None),
    "random": ("random", None),
    "stratified by label": ("stratified", "clicked"),
    "stratified by column": ("stratified", "site"),
    "cluster": ("cluster", "user"),
    "recent": ("recent", None),
}


def window(rows: int = 3_000, seed: int = 0) -> pa.Table:
    """Two months of rows: 3 % clicked, some users and sites missing, amounts that grow with time."""
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 60, rows))
    users = random.integers(0, 300, rows)
    sites = [f"s{number}" for number in np.minimum(random.zipf(1.5, rows), 12).tolist()]
    return pa.table(
        {
            "row_id": random.integers(-(2**63), 2**63 - 1, rows),
            "user": pa.array(users, mask=users % 50 == 0),
            "site": pa.array(sites, mask=random.random(rows) < 0.02),
            "clicked": (random.random(rows) < 0.03).astype(np.int8),
            "amount": random.gamma(2.0, 10.0, rows) * (1 + days / 30),
            "t": pa.array(1_767_225_600 + days * 86_400 + 43_200).cast(pa.timestamp("s")).cast(pa.timestamp("us")),
        }
    )


WINDOW = window()


def plan_of(method: Method, by: str | None, rows: int, seed: int, table: pa.Table = WINDOW) -> SamplePlan:
    population = Population(by=by if method == "stratified" else None, label="clicked", time="t")
    population.update(table)
    return plan_sample(Choice(method, by, rows), population, seed, AS_OF)


def draw(pieces: list[pa.Table], plan: SamplePlan) -> pa.Table:
    """What the job does: candidates of every split, gathered by stratum, finished by stratum."""
    plan = SamplePlan.model_validate_json(plan.model_dump_json())
    gathered: dict[int, list[pa.RecordBatch]] = {}
    for piece in pieces:
        for batch in piece.to_batches():
            strata, places, seen = candidates(batch, plan, "t")
            assert seen.sum() == batch.num_rows
            assert candidates(batch.select(columns_ranked(plan, batch.schema.names, "t")), plan, "t")[1].tolist() == (
                places.tolist()
            )
            kept = batch.take(pa.array(places))
            for stratum in np.unique(strata).tolist():
                gathered.setdefault(stratum, []).append(kept.filter(pa.array(strata == stratum)))
    tables = [finish(pa.Table.from_batches(gathered[stratum]), plan, stratum, "t") for stratum in sorted(gathered)]
    return pa.concat_tables(tables)


@pytest.mark.parametrize("name", CHOICES)
@given(cuts=st.lists(st.integers(0, 600), max_size=4), seed=st.integers(0, 50))
@settings(max_examples=12, deadline=None)
def test_the_sample_is_equal_for_any_split_and_order(name: str, cuts: list[int], seed: int) -> None:
    table = WINDOW.slice(0, 600).combine_chunks()
    plan = plan_of(*CHOICES[name], 100, 5, table)
    order = np.random.default_rng(seed).permutation(600)
    pieces = [table.take(pa.array(piece)).combine_chunks() for piece in np.split(order, sorted(cuts))]
    assert draw(pieces, plan).equals(draw([table], plan))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("all", 3_000, 3_000),
        ("random", 500, 500),
        ("stratified by label", 500, 500),
        ("stratified by column", 500, 500),
        ("cluster", 350, 650),
        ("recent", 420, 580),
    ],
)
def test_sizes(name: str, low: int, high: int) -> None:
    for seed in range(20):
        sample = draw([WINDOW], plan_of(*CHOICES[name], 500, seed))
        assert low <= sample.num_rows <= high
        assert sample["weight"].to_pylist() == [1 / chance for chance in sample["inclusion_probability"].to_pylist()]


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("column", ["clicked", "amount"])
def test_weighted_totals_are_unbiased(name: str, column: str) -> None:
    truth = float(pc.sum(WINDOW[column].cast(pa.float64())).as_py())
    estimates = []
    for seed in range(100):
        sample = draw([WINDOW], plan_of(*CHOICES[name], 300, seed))
        estimates.append(total(sample[column].to_numpy().astype(float), sample["weight"].to_numpy()))
    standard_error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) <= 4 * standard_error + 1e-6 * truth


def test_each_row_is_in_as_often_as_its_probability_says() -> None:
    table = WINDOW.slice(0, 300).combine_chunks()
    for name in ("random", "stratified by label", "stratified by column", "recent", "cluster"):
        plan = plan_of(*CHOICES[name], 100, 0, table)
        samples = [draw([table], plan.model_copy(update={"seed": seed * 7_919})) for seed in range(200)]
        drawn = np.concatenate([sample["row_id"].to_numpy() for sample in samples])
        chance = np.concatenate([sample["inclusion_probability"].to_numpy() for sample in samples])
        ids, places, times = np.unique(drawn, return_index=True, return_counts=True)
        expected = chance[places] * 200
        deviation = (times - expected) / np.sqrt(np.maximum(expected * (1 - chance[places]), 1))
        assert len(ids) == 300
        assert np.abs(deviation).max() < 5
        assert abs(deviation.mean()) < 0.35


def test_all_rare_positives_are_kept() -> None:
    sample = draw([WINDOW], plan_of("stratified", "clicked", 500, 1))
    positives = pc.sum(WINDOW["clicked"]).as_py()
    assert pc.sum(sample["clicked"]).as_py() == positives == 88
    weights = {row["clicked"]: row["weight"] for row in sample.to_pylist()}
    assert weights == {1: 1.0, 0: (3_000 - 88) / (500 - 88)}


def test_clusters_are_whole_and_rows_without_a_key_stand_for_themselves() -> None:
    sample = draw([WINDOW], plan_of("cluster", "user", 600, 3))
    for user in pc.unique(sample["user"].drop_null()).to_pylist():
        assert pc.sum(pc.equal(sample["user"], user)).as_py() == pc.sum(pc.equal(WINDOW["user"], user)).as_py()
    assert 0 < sample["user"].null_count < WINDOW["user"].null_count


def test_recent_rows_fade_by_half_lives() -> None:
    table = pa.table({"row_id": range(3), "t": [AS_OF, AS_OF - timedelta(days=15), AS_OF - timedelta(days=30)]})
    plan = SamplePlan(
        method="recent", seed=0, population=3, rows=3, scale=0.8, half_life=15 * 86_400.0, as_of=1_772_409_600_000_000
    )
    assert finish(table, plan, 0, "t").sort_by("row_id")["inclusion_probability"].to_pylist() == [0.8, 0.4, 0.2]


def test_rows_that_were_not_counted_are_refused() -> None:
    plan = plan_of("stratified", "site", 500, 1)
    with pytest.raises(WorkError, match="belongs to no stratum"):
        candidates(pa.record_batch({"row_id": [1], "site": ["new"]}), plan)
    with pytest.raises(WorkError, match="too few candidates"):
        finish(WINDOW.slice(0, 10), plan_of("random", None, 500, 1))


def test_more_strata_than_256_are_drawn_together() -> None:
    table = pa.table({"row_id": range(2_000), "site": [f"s{number % 500}" for number in range(2_000)]})
    population = Population(by="site")
    population.update(table)
    plan = plan_sample(Choice("stratified", "site", 600), population, 0, AS_OF)
    assert len(plan.strata) == 256
    assert sum(stratum.take for stratum in plan.strata) == 600
    assert draw([table], plan).num_rows == 600


@given(
    values=st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 1)), max_size=30),
    cut=st.integers(0, 30),
)
@settings(max_examples=40, deadline=None)
def test_populations_merge(values: list[tuple[str | None, int]], cut: int) -> None:
    def counted(pairs: list[tuple[str | None, int]]) -> Population:
        population = Population(by="s", label="y")
        population.update(
            pa.record_batch({"s": pa.array([s for s, _ in pairs], pa.string()), "y": pa.array([y for _, y in pairs])})
        )
        return population

    whole = counted(values).to_json()
    assert counted(values[cut:]).merge(counted(values[:cut])).to_json() == whole
    assert Population.from_json(whole).merge(Population("s", "y")).to_json() == whole


@pytest.mark.parametrize(
    ("sizes", "rows", "method", "spreads", "expected"),
    [
        ([900, 100], 100, "proportional", None, [50, 50]),
        ([9_000, 1_000], 1_000, "proportional", None, [900, 100]),
        ([9_000, 1_000], 1_000, "neyman", [0.1, 0.9], [500, 500]),
        ([9_000, 10], 1_000, "equal", None, [990, 10]),
        ([5, 5], 100, "equal", None, [5, 5]),
        ([0, 7], 3, "proportional", None, [0, 3]),
    ],
)
def test_allocation(sizes: list[int], rows: int, method: Any, spreads: Any, expected: list[int]) -> None:
    assert allocate(sizes, rows, method, spreads) == expected


@given(
    sizes=st.lists(st.integers(0, 500), min_size=1, max_size=8), rows=st.integers(1, 2_000), least=st.integers(0, 60)
)
@settings(max_examples=100, deadline=None)
def test_allocations_add_up(sizes: list[int], rows: int, least: int) -> None:
    takes = allocate(sizes, rows, "proportional", least=least)
    assert sum(takes) == min(rows, sum(sizes))
    assert all(min(size, least, rows // len(sizes)) <= take <= size for take, size in zip(takes, sizes, strict=True))


def clicks(**sample: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "time": "t"},
            "columns": {
                "t": {"type": "timestamp", "role": "time"},
                "user": {"type": "string", "role": "key"},
                "country": {"type": "string", "role": "categorical"},
                "site": {"type": "string", "role": "categorical"},
                "bid": {"type": "float64", "role": "numeric"},
                "clicked": {"type": "int8", "role": "label"},
            },
            "shard": {"by": "user"},
            "sample": sample,
        }
    )


@pytest.mark.parametrize(
    ("drifted", "method", "by"),
    [
        (None, "random", None),
        ([], "random", None),
        (["clicked", "bid"], "stratified", "clicked"),
        (["country"], "stratified", "country"),
        (["user"], "cluster", "user"),
        (["site"], "cluster", "user"),
        (["bid", "country"], "cluster", "user"),
    ],
)
def test_auto_follows_the_drift_verdict(drifted: list[str] | None, method: str, by: str | None) -> None:
    choice = choose_method(clicks(), 10**6, drifted, distinct={"country": 40.0, "site": 3_000.0}, label_rate=0.02)
    assert (choice.method, choice.by, choice.rows) == (method, by, 285_101)
    assert all(name in choice.why[0] for name in (drifted or [])[:1])


def test_a_small_window_is_taken_whole_and_a_named_method_is_obeyed() -> None:
    assert choose_method(clicks(), 10_000, ["clicked"]).method == "all"
    choice = choose_method(clicks(method="cluster", rows=500), 10_000, ["clicked"])
    assert (choice.method, choice.by, choice.rows) == ("cluster", "user", 500)


def test_the_size_grows_with_the_square_of_precision() -> None:
    rough, fine = (sample_rows(Sample(loss=loss), 10**9, 0.02) for loss in (0.006, 0.003))
    assert 3.99 < fine / rough < 4.01
    assert sample_rows(Sample(loss=0.0001), 10**9, 0.02) == 500_000
    assert sample_rows(Sample(loss=0.1), 10**9, 0.02) == 20_000


def test_too_many_strata_are_refused() -> None:
    population = Population(by="user")
    with pytest.raises(RequestError, match="too many values to stratify by"):
        population.update(pa.record_batch({"user": [str(number) for number in range(10_001)]}))
