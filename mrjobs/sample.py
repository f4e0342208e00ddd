"""Draw the training sample: rows of the sharded table flow in, sampled rows with their weights flow out.

    python mrjobs/sample.py -r inline --pipeline pipelines/clicks.yaml data/clicks/*.csv.gz
    python mrjobs/sample.py -r local --pipeline pipelines/clicks.yaml --table data/clicks/*.csv.gz

The first prints what it would write as JSON records and its ledger on standard error; with ``--table`` the rows are
committed to the pipeline's table. A map task keeps what may be in the sample, a reduce task makes it exact:

    input    a manifest, one split a line: files of the sharded (or clean) table
    params   "sample": the SamplePlan (method, seed, strata with their rows and takes);
             "shuffle": a folder that all tasks reach, for the shuffle files;
             "holdout": the Holdout whose rows are left out, where rows and not intervals tell it apart
    map      "00000" → {"ref": reference to the candidates of a group of strata}, "ledger" → rows seen and kept
    output   interval → {"part": Part, "ledger": Ledger}; "ledger" → {"part": null, "ledger": Ledger}: all other rows

A record of the sample: {"click_id": 69, …, "row_id": -5213…, "source_file": "…", "data_interval": "2026-01-31",
"inclusion_probability": 0.25, "weight": 4.0}. Rows without a label can't teach: they are no part of the population.

`CountPopulation` runs before it: it emits ("population", rows by stratum and label, or by label and day).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, flags, scalar
from millrace.data.clean import clean_schema
from millrace.data.holdout import Holdout
from millrace.data.population import Population
from millrace.data.sample import PROBABILITY, WEIGHT, SamplePlan, candidates, columns_ranked, finish
from millrace.data.sample_choice import time_column
from millrace.data.split import Split
from millrace.errors import WorkError
from millrace.mapreduce.job import ColumnJob
from millrace.mapreduce.part_splits import read_part
from millrace.mapreduce.shuffle import Ref, ShuffleWriter, read_refs
from millrace.spec import Pipeline
from millrace.storage.ledger import Ledger
from millrace.storage.parts import PartWriter

INTERVAL = "data_interval"
LEDGER, POPULATION = "ledger", "population"
ROWS_PER_GROUP = 50_000  # strata share reduce tasks, so that many small ones don't make many small files


def sample_schema(pipeline: Pipeline) -> pa.Schema:
    """The schema of the sample table: that of the clean table, with inclusion probability and weight."""
    extra = [pa.field(PROBABILITY, pa.float64()), pa.field(WEIGHT, pa.float64())]
    return pa.schema([*clean_schema(pipeline), *extra])


class TeachingRows(ColumnJob):
    """A job over the rows of a table that may teach: labelled, and not of the holdout."""

    @cached_property
    def holdout(self) -> Holdout | None:
        """The holdout, where it lies in the same intervals."""
        holdout = self.plan.params.get("holdout")
        found = None if holdout is None else Holdout.model_validate(holdout)
        return found if found is not None and found.by_row else None

    def teaching(
        self, split: Split, columns: list[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray[Any, Any] | None, dict[str, int]]]:
        """Batches, the places of the rows that may teach (None: all), and the numbers of the others by reason.

        Columns of text come as they are stored.
        """
        label = self.plan.pipeline.label
        if columns is not None:
            filters = [label] if label is not None else []
            filters += ["source_file", "row_id", INTERVAL] if self.holdout is not None else []
            columns = list(dict.fromkeys([*columns, *filters])) or ["row_id"]
        for batch in read_part(split, columns, encoded=True):
            left_out: dict[str, int] = {}
            teaches = np.ones(batch.num_rows, np.bool_)
            if label is not None and batch.column(label).null_count:
                left_out["unlabelled"] = batch.column(label).null_count
                teaches = flags(batch.column(label).is_valid())
            if self.holdout is not None:
                held = flags(self.holdout.mask(batch))
                left_out["holdout"] = int((teaches & held).sum())
                teaches &= ~held
            yield batch, None if not any(left_out.values()) else np.flatnonzero(teaches), left_out


class CountPopulation(TeachingRows):
    """Counts what a sample is drawn from: params "by", the stratum column, if any."""

    _population: Population | None = None

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """Nothing; the split's rows go into the task's count."""
        pipeline = self.plan.pipeline
        if self._population is None:
            by = self.plan.params.get("by")
            # days are for recent sampling, which has no strata: strata × days would be a large state for nothing
            self._population = Population(by, pipeline.label, None if by else time_column(pipeline))
        for batch, places, _ in self.teaching(split, self._population.columns()):
            self._population.update(batch if places is None else batch.take(array_of(places)))
        yield from ()

    def map_end(self) -> Iterator[tuple[str, Any]]:
        """("population", counts) of the task."""
        if self._population is not None:
            yield POPULATION, self._population.to_json()

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        """("population", counts) of all rows."""
        merged: Population | None = None
        for value in values:
            population = Population.from_json(value)
            merged = population if merged is None else merged.merge(population)
        if merged is not None:
            yield key, merged.to_json()


class SampleRows(TeachingRows):
    """Draws the rows of a SamplePlan; see the module for what it reads and emits."""

    _writer: ShuffleWriter | None = None
    _seen: np.ndarray[Any, np.dtype[np.int64]] | None = None
    _kept = 0

    @cached_property
    def sample(self) -> SamplePlan:
        """How rows are drawn."""
        return SamplePlan.model_validate(self.plan.params["sample"])

    @cached_property
    def groups(self) -> list[int]:
        """The reduce key of every stratum."""
        takes = np.cumsum([0, *(stratum.take for stratum in self.sample.strata)][:-1])
        return [int(place) for place in takes // ROWS_PER_GROUP]

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """("ledger", rows left out by reason); the references to candidates follow in `map_end`."""
        plan, time = self.sample, time_column(self.plan.pipeline)
        others: dict[str, int] = {}
        for batch, places, left_out in self.teaching(split):
            for reason, count in left_out.items():
                others[reason] = others.get(reason, 0) + count
            ranked = batch.select(columns_ranked(plan, batch.schema.names, time))
            ranked = ranked if places is None else ranked.take(array_of(places))
            strata, drawn, seen = candidates(ranked, plan, time)
            kept = batch.take(array_of(drawn if places is None else places[drawn]))
            self._seen = seen.astype(np.int64) if self._seen is None else self._seen + seen
            self._kept += kept.num_rows
            if kept.num_rows:
                if self._writer is None:
                    self._writer = ShuffleWriter(self.plan.params["shuffle"])
                    self._intervals: list[str] = []
                if not plan.exact:
                    strata = np.full(kept.num_rows, self._place(str(split.interval)), np.int32)
                self._writer.write(strata, kept)
        yield LEDGER, {"others": others}

    def _place(self, interval: str) -> int:
        if interval not in self._intervals:
            self._intervals.append(interval)
        return self._intervals.index(interval)

    def map_end(self) -> Iterator[tuple[str, Any]]:
        """(group of strata, or interval; stratum and reference), and ("ledger", rows seen by stratum, and kept)."""
        if self._seen is not None:
            yield LEDGER, {"seen": self._seen.tolist(), "kept": self._kept}
        for ref in self._writer.close() if self._writer is not None else []:
            if self.sample.exact:
                yield f"{self.groups[ref.partition]:05d}", {"stratum": ref.partition, "ref": ref.to_json()}
            else:
                yield self._intervals[ref.partition], {"stratum": 0, "ref": ref.to_json()}

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        """(interval, {"part", "ledger"}) for each interval of the key's rows; ("ledger", …) of the rows not sampled."""
        if key == LEDGER:
            yield key, {"part": None, "ledger": self._not_sampled(list(values)).model_dump(mode="json")}
            return
        refs: dict[int, list[Ref]] = {}
        for value in values:
            refs.setdefault(value["stratum"], []).append(Ref.from_json(value["ref"]))
        tables = []
        time = time_column(self.plan.pipeline)
        for stratum in sorted(refs):
            rows = pa.Table.from_batches(list(read_refs(refs[stratum])))
            tables.append(finish(rows, self.sample, stratum, time))
        drawn = pa.concat_tables(tables)
        intervals = sorted(pc.unique(drawn.column(INTERVAL)).to_pylist())
        for interval in intervals:
            here = drawn if len(intervals) == 1 else drawn.filter(pc.equal(drawn.column(INTERVAL), scalar(interval)))
            ledger = Ledger(rows_in=here.num_rows, rows_out=here.num_rows)
            part = self._write(interval, key, here)
            yield interval, {"part": part, "ledger": ledger.model_dump(mode="json")}

    def _write(self, interval: str, key: str, rows: pa.Table) -> dict[str, Any]:
        plan = self.plan
        schema = sample_schema(plan.pipeline)
        with PartWriter(plan.out, {INTERVAL: interval}, schema, key) as writer:
            writer.write(rows.select(schema.names))
            return writer.close().model_dump(mode="json")

    def _not_sampled(self, counts: list[dict[str, Any]]) -> Ledger:
        """The ledger of all rows that weren't drawn. Refuses other rows than those that were counted."""
        seen = sum(np.array(count["seen"]) for count in counts if "seen" in count)
        kept = sum(count.get("kept", 0) for count in counts)
        others: dict[str, int] = {}
        for count in counts:
            for reason, rows in count.get("others", {}).items():
                others[reason] = others.get(reason, 0) + rows
        plan = self.sample
        expected = [stratum.rows for stratum in plan.strata] if plan.exact else [plan.population]
        found = np.atleast_1d(seen).tolist()
        if found != expected:
            raise WorkError("the rows aren't those that were counted", expected=f"{expected} rows", found=str(found))
        left = sum(stratum.rows - stratum.take for stratum in plan.strata) if plan.exact else plan.population - kept
        return Ledger(rows_in=left + sum(others.values()), not_sampled=left, other=others)


if __name__ == "__main__":
    from millrace.script import run_script

    run_script(SampleRows)
