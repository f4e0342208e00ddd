"""Cleaning, sharding by hash, sorting and writing, with the quarantined rows and the ledger."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.answers import read_answer
from benchmarks.data import DAY, make_data
from benchmarks.peers.events import KINDS, ORDER
from benchmarks.pipelines import night_pipeline, write_pipeline
from benchmarks.setup import run_setup
from benchmarks.work import MILLRACE, Bench, Contender, Goal, Work, millrace, peer
from benchmarks.works_stats import engine_seconds

NAME = "night"
TABLES = ("clean", "quarantine", "sharded")


def shard(bench: Bench) -> Work:
    """Raw CSV in; sorted, deduplicated shards, the quarantine and the ledger out."""
    data = make_data(bench.data, bench.rows, bench.say)
    files = data.files("csv")
    write_pipeline(bench.pipelines, NAME, night_pipeline(NAME, files))
    tables = bench.home / "tables" / NAME
    shutil.rmtree(tables, ignore_errors=True)
    run_setup(bench, millrace("run", NAME, "--until", "check"))

    def again() -> None:
        for table in TABLES:
            shutil.rmtree(tables / table, ignore_errors=True)

    command = millrace("run", NAME, "--from", "clean", "--until", "shard", "--json")
    contenders = [Contender(MILLRACE, command, lambda out: _millrace(out, tables / "sharded"), stage_seconds, again)]
    for name in ("Polars", "DuckDB", "pandas", "PySpark"):
        contenders.append(_peer(bench, name, files))
    goals = (Goal(1.1, ("Polars", "DuckDB")), Goal(1 / 8, ("PySpark",)))
    title = "clean, hash-shard, sort, write Parquet"
    return Work("shard", title, contenders, goals, _wrong)


def _peer(bench: Bench, name: str, files: list[str]) -> Contender:
    folder = bench.output / f"shard-{name}"
    return Contender(
        name,
        peer(f"shard_{name.lower()}.py", str(folder), str(DAY), *files),
        lambda out: {"ledger": read_answer(out)["ledger"], **contents(folder)},
        engine_seconds,
        lambda: shutil.rmtree(folder, ignore_errors=True),
        once=name in ("pandas", "PySpark"),
    )


def stage_seconds(out: Path) -> float:
    """The seconds of the stages, as `millrace run` tells them."""
    return sum(stage["seconds"] for stage in json.loads(out.read_text()))


def _millrace(out: Path, folder: Path) -> dict[str, Any]:
    clean, sharded = (stage["ledger"] for stage in json.loads(out.read_text()))
    rules = {"customer_id": "customer_id:not_null", "age": "age:range"}
    quarantined = {rules[name.partition(":")[0]]: count for name, count in clean["quarantined"].items()}
    ledger = {"rows_in": clean["rows_in"], "rows_out": sharded["rows_out"], "quarantined": quarantined}
    return {"ledger": ledger | {"duplicates": sharded["duplicates"]}, **contents(folder)}


def contents(folder: Path) -> dict[str, Any]:
    """What the shards of a folder hold: rows, a hash of all values, whether they are sorted and their keys apart."""
    files = sorted(folder.glob("data_interval=*/shard=*/*.parquet"))
    rows, digest, ordered, keys = 0, 0, True, []
    for path in files:
        part = pl.read_parquet(path, columns=list(KINDS), hive_partitioning=False).select(list(KINDS))
        rows += len(part)
        digest = (digest + int(part.hash_rows(seed=0).cast(pl.UInt64).cast(pl.Int128).sum())) % 2**64
        ordered &= _sorted(part)
        keys.append(part["customer_id"].unique())
    apart = len(pl.concat(keys).unique()) == sum(map(len, keys)) if keys else True
    return {"rows": rows, "digest": digest, "sorted": ordered, "keys_apart": apart, "shards": len(files)}


def _sorted(part: pl.DataFrame) -> bool:
    key, time = (pl.col(name) for name in ORDER[:2])
    falls = (key < key.shift(1)) | ((key == key.shift(1)) & (time < time.shift(1)))
    return not part.select(falls.any()).item()


def _wrong(answers: Mapping[str, Any]) -> list[str]:
    """Answers that differ from the first one, or aren't sorted."""
    first = next(iter(answers.values()), None)
    found = [f"{name}: {answer}, not {first}" for name, answer in answers.items() if answer != first]
    return found + [f"{name} isn't in order: {answer}" for name, answer in answers.items() if not answer["sorted"]]
