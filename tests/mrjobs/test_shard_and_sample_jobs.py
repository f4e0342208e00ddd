"""The jobs shard and sample: tables in, tables out, equal for any number of tasks."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from millrace.data.clean import clean_schema
from millrace.data.clean_plan import CleanPlan
from millrace.data.hashing import hash_rows
from millrace.data.key_sketch import KeySketch
from millrace.data.lookup import lookup, read_rows
from millrace.data.population import Population
from millrace.data.raw import Split
from millrace.data.sample import plan_sample
from millrace.data.sample_choice import Choice
from millrace.data.shard import ShardPlan, plan_shards
from millrace.errors import WorkError
from millrace.intervals import interval_start
from millrace.mapreduce.job import ColumnJob, JobPlan
from millrace.mapreduce.run import run_job
from millrace.mapreduce.splits import plan_splits
from millrace.spec import Pipeline
from millrace.storage.commits import Commit
from millrace.storage.files import list_files
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part, PartWriter
from millrace.storage.tables import Table
from mrjobs.sample import CountPopulation, SampleRows, sample_schema
from mrjobs.shard import Shard, ShardKeys, sharded_schema

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")


def pipeline(method: str = "hash") -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "time": "t", "file_date": "%Y-%m-%d"},
            "columns": {
                "t": {"type": "timestamp", "role": "time"},
                "user": {"type": "int64", "role": "key"},
                "n": {"type": "int64", "role": "numeric"},
                "clicked": {"type": "int8", "role": "label"},
            },
            "shard": {"by": "user", "method": method, "shards": 4},
        }
    )


def day_rows(day: str, rows: int = 400) -> pa.Table:
    random = np.random.default_rng(DAYS.index(day))
    start = np.datetime64(interval_start(day, "daily"), "us")
    table = pa.table(
        {
            "t": pa.array(start + random.integers(0, 86_400, rows).astype("timedelta64[s]")),
            "user": random.integers(0, 60, rows),
            "n": random.integers(0, 9, rows),
            "clicked": (random.random(rows) < 0.1).astype(np.int8),
        }
    )
    return pa.concat_tables([table, table.slice(0, 10)])  # ten copies


def clean_table(folder: Path) -> Table:
    table = Table(str(folder / "clean"))
    parts = []
    for day in DAYS:
        rows = day_rows(day)
        rows = rows.append_column("row_id", pa.array(hash_rows(rows, rows.column_names).view(np.int64)))
        rows = rows.append_column("source_file", pa.repeat(f"{day}.csv", rows.num_rows))
        for piece in (rows.slice(0, 150), rows.slice(150)):
            with PartWriter(table.uri, {"data_interval": day}, clean_schema(pipeline())) as writer:
                writer.write(piece)
                parts.append(writer.close())
    table.commit(Commit(parts=parts, schema=clean_schema(pipeline()), transaction="clean"))
    return table


def splits_of(table: Table) -> list[Split]:
    return [
        Split(f"{table.uri}/{part.path}", "parquet", 0, 0, 1, None, part.interval, part.size) for part in table.parts()
    ]


def run(job: type[ColumnJob], out: Path, splits: list[Split], tasks: int, **params: Any) -> list[tuple[str, Any]]:
    (out / "shuffle").mkdir(parents=True, exist_ok=True)
    spec, runner = params.pop("pipeline", pipeline()), params.pop("runner", "inline")
    plan = JobPlan(pipeline=spec, out=str(out), params={"shuffle": str(out / "shuffle"), **params})
    return run_job(job, plan, splits, runner=runner, tasks=tasks)


def commit(out: Path, pairs: list[tuple[str, Any]], schema: pa.Schema) -> tuple[Table, Ledger]:
    ledger = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
    parts = [Part.model_validate(value["part"]) for _, value in pairs if value["part"]]
    table = Table(str(out))
    table.commit(Commit(parts=parts, schema=schema, transaction="t", ledger=ledger))
    return table, ledger


def shard(folder: Path, splits: list[Split], tasks: int, shards: ShardPlan, **params: Any) -> tuple[Table, Ledger]:
    out = folder / f"sharded-{tasks}"
    pairs = run(Shard, out, splits, tasks, shard=shards.model_dump(mode="json"), **params)
    return commit(out, pairs, sharded_schema(pipeline()))


@pytest.mark.parametrize("method", ["hash", "range"])
def test_shard_is_sorted_deduplicated_and_equal_for_any_tasks(tmp_path: Path, method: str) -> None:
    splits = splits_of(clean_table(tmp_path))
    spec = pipeline(method)
    [(_, sketch)] = run(ShardKeys, tmp_path / "keys", splits, 3, pipeline=spec)
    plan = plan_shards(spec, KeySketch.from_bytes(base64.b64decode(sketch)))
    one, ledger = shard(tmp_path, splits, 1, plan)
    three, _ = shard(tmp_path, splits, 3, plan, runner="local")
    assert ledger == Ledger(rows_in=1_230, rows_out=1_200, duplicates=30)
    assert one.read().equals(three.read())
    assert [part.checksum for part in one.parts()] == [part.checksum for part in three.parts()]
    for part in one.parts():
        rows = one.read(intervals=[part.partition["data_interval"]])
        keys = rows.filter(pc.equal(rows["shard"], int(part.partition["shard"])))["user"].to_pylist()
        assert keys == sorted(keys)


def test_shard_writes_an_index_that_lookup_reads(tmp_path: Path) -> None:
    plan = plan_shards(pipeline())
    table, _ = shard(tmp_path, splits_of(clean_table(tmp_path)), 2, plan)
    rows = table.read()
    opened: list[str] = []

    def open_file(path: str) -> Any:
        opened.append(path)
        return pa.memory_map(f"{table.uri}/{path}")

    places = lookup(table.parts(), plan, "17", open_file)
    assert sum(place.rows for place in places) == pc.sum(pc.equal(rows["user"], 17)).as_py() > 0
    assert all(path.startswith("_index/") for path in opened)
    assert set(read_rows(places, open_file, ["user"])["user"].to_pylist()) == {17}


def test_shard_cleans_raw_files_first(tmp_path: Path) -> None:
    (tmp_path / "2026-01-01.csv").write_text("t,user,n,clicked\n2026-01-01 05:00:00,7,1,0\n2026-01-01 06:00:00,x,2,1\n")
    splits = plan_splits(list_files(str(tmp_path / "2026-01-01.csv")), pipeline())
    table, ledger = shard(tmp_path, splits, 1, plan_shards(pipeline()), plan=CleanPlan().model_dump(mode="json"))
    assert table.read()["user"].to_pylist() == [7]
    assert (ledger.rows_in, ledger.rows_out, sum(ledger.quarantined.values())) == (2, 1, 1)


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        (Choice("all", None, 1_230), (1_230, 1_230)),
        (Choice("random", None, 200), (200, 200)),
        (Choice("stratified", "clicked", 300), (300, 300)),
        (Choice("cluster", "user", 400), (200, 600)),
        (Choice("recent", None, 400), (300, 500)),
    ],
    ids=lambda value: value.method if isinstance(value, Choice) else "",
)
def test_sample_is_equal_for_any_tasks(tmp_path: Path, choice: Choice, rows: tuple[int, int]) -> None:
    splits = splits_of(clean_table(tmp_path))
    by = choice.by if choice.method == "stratified" else None
    [(_, state)] = run(CountPopulation, tmp_path / "count", splits, 2, by=by)
    plan = plan_sample(choice, Population.from_json(state), 11, interval_start("2026-01-04", "daily"))
    tables = []
    for tasks in (1, 3):
        out = tmp_path / f"sample-{tasks}"
        pairs = run(SampleRows, out, splits, tasks, sample=plan.model_dump(mode="json"))
        table, ledger = commit(out, pairs, sample_schema(pipeline()))
        assert ledger.rows_in == 1_230
        assert rows[0] <= ledger.rows_out <= rows[1]
        tables.append(table)
    one, three = (table.read() for table in tables)
    assert one.equals(three)
    if choice.method != "cluster":
        assert pc.sum(one["weight"]).as_py() == pytest.approx(1_230, rel=0.15)


def test_rows_of_the_holdout_and_without_label_are_left_out(tmp_path: Path) -> None:
    splits = splits_of(clean_table(tmp_path))
    holdout = {"training": list(DAYS), "holdout": list(DAYS), "files": "2026-01-03*"}
    [(_, state)] = run(CountPopulation, tmp_path / "count", splits, 2, holdout=holdout)
    population = Population.from_json(state)
    assert population.rows == 820
    plan = plan_sample(Choice("random", None, 100), population, 1, interval_start("2026-01-04", "daily"))
    pairs = run(SampleRows, tmp_path / "s", splits, 2, sample=plan.model_dump(mode="json"), holdout=holdout)
    table, ledger = commit(tmp_path / "s", pairs, sample_schema(pipeline()))
    assert ledger == Ledger(rows_in=1_230, rows_out=100, not_sampled=720, other={"holdout": 410})
    assert sorted(table.intervals()) == ["2026-01-01", "2026-01-02"]
    with pytest.raises(WorkError, match="aren't those that were counted"):
        run(SampleRows, tmp_path / "t", splits, 2, sample=plan.model_dump(mode="json"))
