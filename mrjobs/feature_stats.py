"""Take feature statistics: rows of the sharded (or clean) table flow in, one mergeable state per data interval out.

    python mrjobs/feature_stats.py -r inline --pipeline pipelines/clicks.yaml data/clicks/clicks-2026-03-31.csv.gz
    python mrjobs/feature_stats.py -r local --pipeline pipelines/clicks.yaml --table data/clicks/*.csv.gz

The first prints what it would write as JSON records; with ``--table`` the statistics are committed to the pipeline's
stats table, one row per interval, column and label class:

    input    a manifest, one split a line: files of the sharded (or clean) table
    params   "raw": true where the splits are those of raw files, whose cells are converted to the declared types
             "records": true where records are wanted, for people, instead of mergeable bytes
    map      "2026-03-31" → statistics of the interval's rows in one split: bytes of `Stats`, base64
    reduce   "2026-03-31" → the same of all rows of the interval; or its rows and records, each as JSON text

A record: {"data_interval": "2026-03-31", "column": "bid", "kind": "float", "rows": 7164, "nulls": 92, …}.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from millrace.data.split import Split
from millrace.intervals import ALL
from millrace.mapreduce.job import ColumnJob

if TYPE_CHECKING:  # what only tasks need is imported where they use it: a small job takes as long as its imports
    import pyarrow as pa

    from millrace.data.stats import Stats

ROWS_AT_ONCE = 1 << 18


class FeatureStats(ColumnJob):
    """Measures the columns that cleaning keeps; see the module for what it reads and emits."""

    preload = ("millrace.data.row_intervals", "millrace.data.stats", "millrace.mapreduce.part_splits")

    @cached_property
    def schema(self) -> pa.Schema:
        """The measured columns in their declared types."""
        from millrace.data.convert import typed_schema

        return typed_schema(self.plan.pipeline, self.plan.pipeline.kept())

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """(interval, statistics of its rows in this split).

        One for each split, not for each task: floating sums depend on their order, and the splits of a task on the
        engine. The engine sorts the values of a key, so that they are always merged in the same order.
        """
        from millrace.data.stats import Stats

        found: dict[str, _Gathered] = {}
        for interval, batch in self._batches(split):
            if interval not in found:
                found[interval] = _Gathered(Stats.empty(self.schema, self._label))
            found[interval].add(batch)
        for interval, gathered in sorted(found.items()):
            yield interval, base64.b64encode(gathered.close().to_bytes()).decode()

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        """(interval, statistics of all its rows)."""
        from millrace.data.stats import Stats

        merged = Stats.merged(Stats.from_bytes(base64.b64decode(value)) for value in values)
        if self.plan.params.get("records"):
            columns = merged.columns.items()
            records = [{"data_interval": key, "column": name, **column.to_dict()} for name, column in columns]
            yield key, {"rows": merged.rows, "records": [json.dumps(record, default=str) for record in records]}
            return
        yield key, base64.b64encode(merged.to_bytes()).decode()

    @property
    def _label(self) -> str | None:
        label = self.plan.pipeline.label
        return label if label in self.schema.names else None

    def _batches(self, split: Split) -> Iterator[tuple[str, pa.RecordBatch]]:
        from millrace.data.convert import convert
        from millrace.data.row_intervals import by_interval, name_intervals
        from millrace.mapreduce.part_splits import read_part

        if not self.plan.params.get("raw"):
            for batch in read_part(split, self.schema.names):
                yield split.interval or ALL, batch
            return
        source = self.plan.pipeline.source
        for raw in self.read(split, batch_rows=ROWS_AT_ONCE):
            batch = convert(raw.batch, self.plan.pipeline, trimmed=raw.trimmed, encoded=True).batch
            if split.interval or source.interval == "none" or source.time is None:
                yield split.interval or ALL, batch
            else:
                yield from by_interval(batch, name_intervals(batch.column(source.time), source.interval))


@dataclass
class _Gathered:
    """Statistics that take in batches together: some work is done once for each, and isn't worth it for few rows."""

    stats: Stats
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if not self.batches and 2 * batch.num_rows >= ROWS_AT_ONCE:
            self.stats.update(batch)
            return
        self.batches.append(batch)
        self.rows += batch.num_rows
        if self.rows >= ROWS_AT_ONCE:
            self.close()

    def close(self) -> Stats:
        if self.batches:
            import pyarrow as pa

            self.stats.update(pa.Table.from_batches(self.batches).combine_chunks())
            self.batches, self.rows = [], 0
        return self.stats


if __name__ == "__main__":
    from millrace.script import run_script

    run_script(FeatureStats)
