"""Shard rows by hash or range of a key: clean rows flow in, sorted, deduplicated parts of the sharded table flow out.

    python mrjobs/shard.py -r inline --pipeline pipelines/clicks.yaml data/clicks/clicks-2026-03-31.csv.gz
    python mrjobs/shard.py -r local --pipeline pipelines/clicks.yaml --table data/clicks/*.csv.gz

The first prints what it would write as JSON records and its ledger on standard error; with ``--table`` the rows are
committed to the pipeline's table. Rows are placed by a map task, moved by reference, and put in order by a reduce task:

    input    a manifest, one split a line: files of the clean table, or raw FILES, which are cleaned first
    params   "shard": the ShardPlan (key, method, number of shards, boundaries);
             "shuffle": a folder that all tasks reach, for the shuffle files;
             "plan": the CleanPlan, where the splits are raw files (absent: they are parts of the clean table)
    map      "2026-03-31/00003" → a reference to that shard's rows in a shuffle file
    output   interval → {"part": Part, "ledger": Ledger}; part null where no row stayed
             raw rows that were quarantined: interval → {"part": null, "ledger": Ledger}

A record of the sharded table: {"click_id": 393066, …, "customer_id": 100005, …, "row_id": -3169…, "source_file":
"…", "data_interval": "2026-03-31", "shard": 0}. Beside each part lies its index for `millrace lookup`.

`ShardKeys` runs before it where range boundaries must be learned: it emits ("keys", a KeySketch as base64 text).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data.clean import Cleaner, clean_schema
from millrace.data.clean_plan import CleanPlan
from millrace.data.key_sketch import KeySketch, key_sketch
from millrace.data.lookup import KeyIndex, index_path
from millrace.data.merge_sort import ordered
from millrace.data.shard import ShardPlan, assign
from millrace.data.split import Split
from millrace.mapreduce.job import ColumnJob
from millrace.mapreduce.part_splits import read_part
from millrace.mapreduce.shuffle import Ref, ShuffleWriter, read_refs
from millrace.spec import Pipeline
from millrace.storage.files import open_output, table_filesystem
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part, PartWriter

INTERVAL, SHARD = "data_interval", "shard"
QUARANTINED = "quarantined"


def sharded_schema(pipeline: Pipeline) -> pa.Schema:
    """The schema of the sharded table: that of the clean table, and the partition column shard."""
    return clean_schema(pipeline).append(pa.field(SHARD, pa.int32()))


class CleanRows(ColumnJob):
    """A job whose splits are parts of the clean table, or raw files that it cleans first."""

    preload = ("polars",)

    @cached_property
    def cleaner(self) -> Cleaner | None:
        """The cleaning rules, where the splits are raw files."""
        plan = self.plan.params.get("plan")
        return None if plan is None else Cleaner(CleanPlan.model_validate(plan), self.plan.pipeline)

    def clean_rows(self, split: Split) -> Iterator[tuple[str, pa.RecordBatch, dict[str, int]]]:
        """Interval, clean rows without their interval column, and the rows quarantined by reason."""
        if self.cleaner is None:
            schema = clean_schema(self.plan.pipeline)
            for batch in read_part(split, schema=schema, encoded=True):
                yield str(split.interval), batch.drop_columns([INTERVAL]), {}
            return
        for raw in self.read(split):
            for cleaned in self.cleaner(raw, split):
                yield cleaned.interval, cleaned.batch, cleaned.counts.quarantined


class Shard(CleanRows):
    """Places rows in a shard of their interval; see the module for what it reads and emits."""

    _writer: ShuffleWriter | None = None

    @cached_property
    def shards(self) -> ShardPlan:
        """Where each row belongs."""
        return ShardPlan.model_validate(self.plan.params["shard"])

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """(interval, reasons) of quarantined rows; the references to all others follow in `map_end`."""
        for interval, batch, quarantined in self.clean_rows(split):
            if quarantined:
                yield f"{interval}/{QUARANTINED}", quarantined
            if batch.num_rows:
                if self._writer is None:
                    self._writer = ShuffleWriter(self.plan.params["shuffle"])
                    self._intervals: list[str] = []
                if interval not in self._intervals:
                    self._intervals.append(interval)
                first = self._intervals.index(interval) * self.shards.shards
                self._writer.write(first + assign(batch, self.shards), batch)

    def map_end(self) -> Iterator[tuple[str, Any]]:
        """("interval/shard", reference) for every shard that got rows from this task."""
        if self._writer is not None:
            for ref in self._writer.close():
                interval, shard = divmod(ref.partition, self.shards.shards)
                yield f"{self._intervals[interval]}/{shard:05d}", ref.to_json()

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        """(interval, {"part", "ledger"}) of one shard of one interval."""
        interval, _, shard = key.rpartition("/")
        if shard == QUARANTINED:
            ledger = Ledger.total(Ledger(rows_in=sum(each.values()), quarantined=each) for each in values)
            yield interval, {"part": None, "ledger": ledger.model_dump(mode="json")}
            return
        refs = [Ref.from_json(value) for value in values]
        part, duplicates = self._write(refs, {INTERVAL: interval, SHARD: str(int(shard))})
        ledger = Ledger(rows_in=sum(ref.rows for ref in refs), rows_out=part.rows, duplicates=duplicates)
        ledger.check("shard")
        yield interval, {"part": part.model_dump(mode="json"), "ledger": ledger.model_dump(mode="json")}

    def _write(self, refs: Sequence[Ref], partition: dict[str, str]) -> tuple[Part, int]:
        """The part of a shard with its index, and how many duplicates were merged."""
        plan, index, duplicates = self.plan, KeyIndex(), 0
        with PartWriter(plan.out, partition, sharded_schema(plan.pipeline), "part") as writer:
            for rows, merged in ordered(read_refs(refs, encoded=True), plan.pipeline):
                duplicates += merged
                writer.write(rows)
                if self.shards.by is not None:
                    index.update(rows.column(self.shards.by))
            part = writer.close()
        if self.shards.by is not None:
            system, root = table_filesystem(plan.out)
            with open_output(system, root + index_path(part.path)) as file:
                file.write(index.to_bytes())
        return part, duplicates


class ShardKeys(CleanRows):
    """Samples the shard key over all rows: ("keys", base64 of the KeySketch), from which boundaries are learned."""

    _sketch: KeySketch | None = None

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """Nothing; the split's rows go into the task's sketch."""
        shard = self.plan.pipeline.shard
        assert shard is not None
        for _, batch, _ in self.clean_rows(split):
            if self._sketch is None:
                self._sketch = key_sketch(shard.shards)
            self._sketch.update(batch.column(shard.by), np.asarray(batch.column("row_id").to_numpy()))
        yield from ()

    def map_end(self) -> Iterator[tuple[str, Any]]:
        """("keys", sketch) of the task."""
        if self._sketch is not None:
            yield "keys", base64.b64encode(self._sketch.to_bytes()).decode()

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        """("keys", sketch) of all rows."""
        merged: KeySketch | None = None
        for value in values:
            sketch = KeySketch.from_bytes(base64.b64decode(value))
            merged = sketch if merged is None else merged.merge(sketch)
        if merged is not None:
            yield key, base64.b64encode(merged.to_bytes()).decode()


if __name__ == "__main__":
    from millrace.script import run_script

    run_script(Shard)
