"""Lookup: the files and rows of a key, by the index and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.data.lookup import KeyIndex, Location, candidates, index_path, lookup, read_rows
from millrace.data.shard import ShardPlan, assign, sort_and_deduplicate
from millrace.errors import RequestError
from millrace.spec import Pipeline
from millrace.storage.parts import Part, PartWriter

PIPELINE = Pipeline.model_validate(
    {
        "name": "p",
        "source": {"uri": "x", "interval": "none"},
        "columns": {"user": {"type": "int64", "role": "key"}, "n": {"type": "int64", "role": "numeric"}},
        "shard": {"by": "user", "shards": 4},
    }
)
HASH = ShardPlan(by="user", key_type="int64", shards=4)
RANGE = ShardPlan(by="user", key_type="int64", method="range", shards=4, boundaries=[10, 20, 30])


def write(folder: Path, plan: ShardPlan, days: dict[str, pa.Table], *, index: bool) -> list[Part]:
    parts = []
    for day, table in days.items():
        shards = assign(table, plan)
        for shard in np.unique(shards).tolist():
            kept, _ = sort_and_deduplicate(table.filter(pa.array(shards == shard)), PIPELINE)
            writer = PartWriter(str(folder), {"data_interval": day, "shard": str(shard)}, kept.schema)
            writer.write(kept)
            parts.append(writer.close())
            if index:
                path = folder / index_path(parts[-1].path)
                path.parent.mkdir(parents=True, exist_ok=True)
                made = KeyIndex()
                for start in range(0, len(kept), 2):  # a key may lie in two pieces
                    made.update(kept["user"].slice(start, 2))
                path.write_bytes(made.to_bytes())
    return parts


DAYS = {
    "2026-01-01": pa.table({"user": [7, 25, 7, None, 40], "n": [1, 2, 3, 4, 5]}),
    "2026-01-02": pa.table({"user": [8, 25, 26], "n": [6, 7, 8]}),
}


@pytest.mark.parametrize("plan", [HASH, RANGE], ids=["hash", "range"])
@pytest.mark.parametrize("index", [True, False], ids=["index", "no index"])
def test_lookup_finds_every_row_of_a_key(tmp_path: Path, plan: ShardPlan, index: bool) -> None:
    parts = write(tmp_path, plan, DAYS, index=index)

    def open_file(path: str) -> Any:
        return pa.memory_map(str(tmp_path / path))

    def found(key: Any) -> list[tuple[str | None, int, int]]:
        return [(place.data_interval, place.shard, place.rows) for place in lookup(parts, plan, key, open_file)]

    shard = {key: int(assign(pa.record_batch({"user": [key]}), plan)[0]) for key in (7, 25)}
    assert found(7) == found("7") == [("2026-01-01", shard[7], 2)]
    assert found(25) == [("2026-01-01", shard[25], 1), ("2026-01-02", shard[25], 1)]
    assert found(None) == [("2026-01-01", 0, 1)]
    assert found(9) == []
    places = lookup(parts, plan, 25, open_file, threads=2)
    assert read_rows(places, open_file, ["n"]).to_pydict() == {
        "n": [2, 7],
        "data_interval": ["2026-01-01", "2026-01-02"],
        "shard": [shard[25]] * 2,
    }
    with pytest.raises(RequestError, match="expected int64"):
        found("seven")


def test_parts_are_left_out_by_shard_and_bounds_alone(tmp_path: Path) -> None:
    parts = write(tmp_path, RANGE, DAYS, index=False)
    assert [part.path.split("/")[:2] for part in candidates(parts, RANGE, 8)] == [
        ["data_interval=2026-01-02", "shard=0"]
    ]


def test_a_key_that_spans_row_groups_is_found_whole(tmp_path: Path) -> None:
    table = pa.table({"user": [1] * 100_000 + [2] * 100_000 + [3] * 100_000, "n": range(300_000)})
    spec = PIPELINE.model_copy(update={"shard": None})
    plan = ShardPlan(by="user", key_type="int64")
    writer = PartWriter(str(tmp_path), {"data_interval": "all", "shard": "0"}, table.schema)
    writer.write(table)
    part = writer.close()

    def open_file(path: str) -> Any:
        return pa.memory_map(str(tmp_path / path))

    assert spec.shard is None
    places = lookup([part], plan, 2, open_file)
    assert places == [Location("all", 0, part.path, 100_000, 100_000)]
    assert read_rows(places, open_file)["n"].to_pylist() == list(range(100_000, 200_000))


def test_sixty_days_are_answered_from_their_indexes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pa.table({"user": random.integers(0, 5_000, 2_000), "n": range(2_000)})
    plan = ShardPlan(by="user", key_type="int64", shards=1)
    parts = write(tmp_path, plan, {f"day-{number:02d}": table for number in range(60)}, index=True)
    opened: list[str] = []

    def open_file(path: str) -> Any:
        opened.append(path)
        return pa.memory_map(str(tmp_path / path))

    places = lookup(parts, plan, table["user"][0].as_py(), open_file)
    assert len(places) == 60
    assert sorted(opened) == sorted(index_path(part.path) for part in parts)
