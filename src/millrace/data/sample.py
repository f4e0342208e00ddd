"""Sampling by hash rank: which rows are in the sample, and each row's inclusion probability and weight.

A row's rank is mix(row_id, seed), uniform and fixed by the row itself: whatever the splits and their order are, the
same rows are drawn. The driver decides a `SamplePlan` from exact counts; a map task keeps what may be in the sample
(`candidates`); a reduce task makes it exact and adds the two columns (`finish`). Weights are 1 / inclusion probability,
so that weighted totals are unbiased (Horvitz and Thompson, DOI 10.1080/01621459.1952.10483446).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from millrace.buffers import array_of, flags, scalar, stored_numbers
from millrace.data.allocation import allocate
from millrace.data.hashing import Hashes, hash_rows, hash_values, mix, unit
from millrace.data.population import Places, Population, texts_of
from millrace.data.sample_choice import Choice
from millrace.errors import WorkError

DAY = 86_400
EPOCH = datetime(1970, 1, 1)
MOST_STRATA = 256  # smaller ones beyond the 255 largest are drawn together
PROBABILITY, WEIGHT = "inclusion_probability", "weight"
Floats = npt.NDArray[np.float64]


class Stratum(BaseModel):
    """`take` of the `rows` rows whose text is one of `values` (None: null) are drawn."""

    model_config = ConfigDict(frozen=True)

    values: list[str | None]
    rows: int
    take: int


class SamplePlan(BaseModel):
    """How the sample is drawn, decided once from exact counts. JSON by `model_dump_json`.

    random, stratified: the `take` rows of smallest rank of each stratum. cluster: all rows whose key's rank is below
    `rate`; a row without a key is a cluster of its own. recent: each row with probability min(1, `scale` ×
    2^(-age / `half_life`)), age in seconds before `as_of` (microseconds since 1970). all: every row.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["all", "random", "stratified", "cluster", "recent"]
    by: str | None = None
    seed: int
    population: int
    rows: int
    strata: list[Stratum] = []
    rate: float = 1.0
    scale: float = 1.0
    half_life: float = 0.0
    as_of: int = 0
    why: list[str] = []

    @property
    def exact(self) -> bool:
        """Whether the sample's size is fixed: a reduce task then needs all candidates of a stratum."""
        return self.method in ("random", "stratified")


def plan_sample(choice: Choice, population: Population, seed: int, as_of: datetime) -> SamplePlan:
    """The plan of a choice for a population that was counted `by` the choice's stratum column.

    `as_of` is the end of the window, from which ages are counted; null times are as old as one half-life.

    >>> population = Population(by="clicked")
    >>> population.update(pa.record_batch({"clicked": [0] * 95 + [1] * 5}))
    >>> plan = plan_sample(Choice("stratified", "clicked", 20), population, 1, datetime(2026, 1, 1))
    >>> [(stratum.values, stratum.rows, stratum.take) for stratum in plan.strata]
    [(['0'], 95, 15), (['1'], 5, 5)]
    """
    total = population.rows
    rows = min(choice.rows, total)
    plan = SamplePlan(method=choice.method, by=choice.by, seed=seed, population=total, rows=rows, why=choice.why)
    if choice.method == "random":
        return plan.model_copy(update={"strata": [Stratum(values=[], rows=total, take=rows)]})
    if choice.method == "stratified":
        return plan.model_copy(update={"strata": _strata(choice, population, rows)})
    if choice.method == "cluster":
        return plan.model_copy(update={"rate": rows / total if total else 1.0})
    if choice.method == "recent":
        half_life = choice.half_life.total_seconds()
        scale = _scale(_ages(population, as_of, half_life), rows, half_life)
        micros = (as_of - EPOCH) // timedelta(microseconds=1)
        return plan.model_copy(update={"scale": scale, "half_life": half_life, "as_of": micros})
    return plan.model_copy(update={"rows": total})


def _strata(choice: Choice, population: Population, rows: int) -> list[Stratum]:
    """Strata with their shares: labels share alike, so that rare ones are kept; other columns by Neyman's rule."""
    counts = population.strata()
    spreads = population.spreads()
    ranked = sorted(range(len(counts)), key=lambda place: -list(counts.values())[place])
    names = list(counts)
    groups = [[names[place]] for place in ranked[: MOST_STRATA - 1]]
    spread = [spreads[place] for place in ranked[: MOST_STRATA - 1]]
    if len(ranked) >= MOST_STRATA:
        groups.append([names[place] for place in ranked[MOST_STRATA - 1 :]])
        spread.append(max(spreads[place] for place in ranked[MOST_STRATA - 1 :]))
    sizes = [sum(counts[name] for name in group) for group in groups]
    by_label = population.label is None or choice.by == population.label
    takes = allocate(sizes, rows, "equal" if by_label else "neyman", spread)
    return [Stratum(values=group, rows=size, take=take) for group, size, take in zip(groups, sizes, takes, strict=True)]


def _ages(population: Population, as_of: datetime, half_life: float) -> tuple[Floats, Floats]:
    """Ages in seconds, at the middle of each day, and the rows of each."""
    end = (as_of - EPOCH).total_seconds()
    days = population.days()
    ages = [half_life if day is None else max(0.0, end - (day + 0.5) * DAY) for day in days]
    return np.array(ages), np.array(list(days.values()), float)


def _scale(ages: tuple[Floats, Floats], rows: int, half_life: float) -> float:
    """The factor at which the expected number of rows drawn is `rows`, by bisection."""
    age, count = ages
    fading = np.exp2(-age / half_life)
    if rows >= count.sum():
        return float(1 / fading.min()) if len(fading) else 1.0
    low, high = 0.0, 1.0
    while (np.minimum(1, high * fading) * count).sum() < rows:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (np.minimum(1, middle * fading) * count).sum() < rows else (low, middle)
    return high


def columns_ranked(plan: SamplePlan, names: Sequence[str], time: str | None = None) -> list[str]:
    """Which of a table's columns `candidates` reads."""
    if "row_id" not in names:
        return list(names)
    wanted = ("row_id", plan.by, time if plan.method == "recent" else None)
    return list(dict.fromkeys(name for name in wanted if name is not None))


def candidates(batch: pa.RecordBatch, plan: SamplePlan, time: str | None = None) -> tuple[Strata, Places, Strata]:
    """The rows that may be in the sample.

    Returns the stratum number (int32) of each kept row, the places of the kept rows, ascending, and the number of rows
    seen by stratum. For exact methods a few more rows than needed are kept: below the rank at which a shortage has a
    chance of about 10^-11. `time` is the time column, for method recent.

    Raises WorkError where a row belongs to no stratum of the plan: the counts were of other rows.
    """
    strata = _stratum_numbers(batch, plan)
    if plan.exact:
        seen = np.bincount(strata, minlength=len(plan.strata)).astype(np.int32)
        limits = np.array([_generous(stratum) for stratum in plan.strata])
        kept = unit(ranks(batch, plan)) < limits[strata]
    else:
        seen = np.array([batch.num_rows], np.int32)
        kept = _drawn(batch, plan, time)
    places = np.flatnonzero(kept)
    return strata[places], places, seen


Strata = npt.NDArray[np.int32]


def finish(table: pa.Table, plan: SamplePlan, stratum: int = 0, time: str | None = None) -> pa.Table:
    """The sample's rows from all candidates of one stratum (or, where the method isn't exact, any of them).

    Adds `inclusion_probability` in (0, 1] and `weight` ≥ 1, in order of rank. Raises WorkError where there are fewer
    candidates than the plan takes.

    >>> population = Population()
    >>> population.update(pa.record_batch({"n": range(4)}))
    >>> plan = plan_sample(Choice("random", None, 2), population, 7, datetime(2026, 1, 1))
    >>> _, places, _ = candidates(pa.record_batch({"n": range(4)}), plan)
    >>> finish(pa.table({"n": places}), plan).to_pydict()
    {'n': [2, 1], 'inclusion_probability': [0.5, 0.5], 'weight': [2.0, 2.0]}
    """
    order = _order(table, plan)
    if plan.exact:
        wanted = plan.strata[stratum]
        if len(order) < wanted.take:
            raise WorkError(
                "too few candidates for the sample",
                expected=f"{wanted.take:,} rows of stratum {wanted.values or 'all'}",
                found=f"{len(order):,}",
                hint="the rows are others than those that were counted",
            )
        table = table.take(array_of(order[: wanted.take]))
        probability = np.full(table.num_rows, wanted.take / wanted.rows if wanted.rows else 1.0)
    else:
        table = table.take(array_of(order))
        probability = probabilities(table, plan, time)
    table = table.append_column(PROBABILITY, array_of(probability))
    return table.append_column(WEIGHT, array_of(1 / probability))


def probabilities(rows: pa.RecordBatch | pa.Table, plan: SamplePlan, time: str | None = None) -> Floats:
    """The inclusion probability of each row under a plan whose method isn't exact."""
    if plan.method != "recent":
        return np.full(rows.num_rows, plan.rate if plan.method == "cluster" else 1.0)
    micros = pc.cast(rows.column(time), pa.timestamp("us")).cast(pa.int64()) if time else None
    if micros is None:
        ages = np.full(rows.num_rows, plan.half_life)
    else:
        times = _numbers(micros.fill_null(scalar(plan.as_of - int(plan.half_life * 1e6))))
        ages = np.maximum(0, plan.as_of - times) / 1e6
    return np.asarray(np.minimum(1.0, plan.scale * np.exp2(-ages / plan.half_life)))


def ranks(rows: pa.RecordBatch | pa.Table, plan: SamplePlan) -> Hashes:
    """The rank of each row, uniform over 64 bits: of its row_id, or of all its columns where it has none."""
    if "row_id" in rows.schema.names:
        hashes = _numbers(rows.column("row_id")).astype(np.int64, copy=False).view(np.uint64)
    else:
        hashes = hash_rows(rows, rows.schema.names)
    return mix(hashes, plan.seed)


def total(values: Floats, weights: Floats) -> float:
    """The Horvitz–Thompson estimate of the population's total of a column: Σ weight × value.

    >>> total(np.array([1.0, 0.0, 1.0]), np.array([10.0, 10.0, 2.0]))
    12.0
    """
    return math.fsum((values * weights).tolist())


def _drawn(batch: pa.RecordBatch, plan: SamplePlan, time: str | None) -> npt.NDArray[np.bool_]:
    if plan.method == "all":
        return np.ones(batch.num_rows, np.bool_)
    rank = ranks(batch, plan)
    if plan.method == "cluster":
        keys = batch.column(plan.by)
        rank = np.where(flags(keys.is_null()), rank, mix(hash_values(keys), plan.seed))
    return np.asarray(unit(rank) < probabilities(batch, plan, time))


def _stratum_numbers(batch: pa.RecordBatch, plan: SamplePlan) -> Strata:
    if plan.method != "stratified":
        return np.zeros(batch.num_rows, np.int32)
    numbers = {value: number for number, stratum in enumerate(plan.strata) for value in stratum.values}
    places, texts = texts_of(batch.column(plan.by))
    found = np.array([numbers.get(text, -1) for text in texts], np.int32)[places]
    if len(found) and found.min() < 0:
        raise WorkError(
            "a row belongs to no stratum of the sample",
            expected=f"a value of {plan.by!r} that was counted",
            found=repr(batch.column(plan.by)[int(found.argmin())].as_py()),
        )
    return found


def _generous(stratum: Stratum) -> float:
    """The rank below which so many candidates are expected that a shortage is out of the question (7 sigma)."""
    return min(1.0, (stratum.take + 7 * math.sqrt(stratum.take) + 30) / max(1, stratum.rows))


def _order(table: pa.Table, plan: SamplePlan) -> npt.NDArray[np.int64]:
    """Places in order of rank; rows of one rank (copies) in order of where they came from."""
    names = [name for name in ("data_interval", "source_file") if name in table.column_names]
    keyed = pa.table({"rank": array_of(ranks(table, plan)), **{name: table[name].cast(pa.string()) for name in names}})
    keys = [(name, "ascending", "at_start") for name in keyed.column_names]
    return stored_numbers(pc.sort_indices(keyed, keys)).astype(np.int64)


def _numbers(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.generic]:
    return stored_numbers(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)
