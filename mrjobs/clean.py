"""Clean raw rows: splits of raw files flow in, clean rows and quarantined rows flow out as parts of two tables.

    python mrjobs/clean.py -r inline --pipeline pipelines/clicks.yaml data/clicks/clicks-2026-03-31.csv.gz
    python mrjobs/clean.py -r local --pipeline pipelines/clicks.yaml --table data/clicks/*.csv.gz

The first prints what it would write as JSON records and its ledger on standard error; with ``--table`` the rows are
committed to the pipeline's tables. A map-only job:

    input    a manifest, one split a line: {"path": "data/clicks/clicks-2026-03-31.csv.gz", "start": 0, …}
    params   "plan": the CleanPlan (learned limits and fill values; nothing learned where absent);
             "tables": {"clean": URI, "quarantine": URI} (below `out` where absent);
             "intervals": the intervals whose rows are wanted, with those of no interval (all where absent)
    output   interval → {"path": FILE, "parts": {"clean": Part, "quarantine": Part}, "ledger": Ledger,
             "changes": {column: {rule: n}}, "example": what was wrong with the first quarantined row}
             one for each split and interval; a table without rows has no part

A record of the clean table: {"click_id": 392858, …, "clicked": 0, "row_id": -2885…, "source_file": "…",
"data_interval": "2026-03-31"}, of the quarantine: {"row": 1741, "source_file": "…", "column":
"click_time", "rule": "other_interval", "reason": "expected a time in 2026-03-31, found '2087-03-31 10:25:38'", …}.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import xxhash

from millrace.data.clean import Cleaned, Cleaner, Counts, clean_schema
from millrace.data.clean_plan import CleanPlan
from millrace.data.clean_rejects import QUARANTINE
from millrace.data.split import Split
from millrace.intervals import UNKNOWN
from millrace.mapreduce.job import ColumnJob
from millrace.storage.ledger import Ledger
from millrace.storage.parts import PartWriter

TABLES = ("clean", "quarantine")


class Clean(ColumnJob):
    """Cleans each split by itself; see the module for what it reads and emits."""

    preload = ("polars",)

    @cached_property
    def cleaner(self) -> Cleaner:
        """The rules, made once for all splits of a task."""
        return Cleaner(CleanPlan.model_validate(self.plan.params.get("plan", {})), self.plan.pipeline)

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """One pair for each interval that has rows in the split."""
        with contextlib.ExitStack() as files:
            outputs: dict[str, _Output] = {}
            for raw in self.read(split):
                for cleaned in self.cleaner(raw, split):
                    if not self.wanted(cleaned.interval):
                        continue
                    if cleaned.interval not in outputs:
                        outputs[cleaned.interval] = _Output(self, split, cleaned.interval, files)
                    outputs[cleaned.interval].write(cleaned)
            for interval, output in sorted(outputs.items()):
                yield interval, output.close()

    def wanted(self, interval: str) -> bool:
        """Whether the job was asked for the rows of an interval."""
        asked = self.plan.params.get("intervals")
        return asked is None or interval == UNKNOWN or interval in asked

    def open_part(self, table: str, split: Split, interval: str) -> PartWriter:
        """A new part of one of the two tables; parts of an interval sort by file name and record number."""
        plan = self.plan
        uri = plan.params.get("tables", {}).get(table, f"{plan.out.rstrip('/')}/{table}")
        schema: pa.Schema = clean_schema(plan.pipeline) if table == "clean" else QUARANTINE
        path = PurePosixPath(split.path)
        name = f"{path.name[:60]}-{xxhash.xxh32_hexdigest(split.path.encode())}-{split.first_row:012d}"
        return PartWriter(uri, {"data_interval": interval}, schema, name)


class _Output:
    """What one split gives one interval: a part of each table, opened when its first rows come, and the counts."""

    def __init__(self, job: Clean, split: Split, interval: str, files: contextlib.ExitStack) -> None:
        self._job, self._split, self._interval, self._files = job, split, interval, files
        self._writers: dict[str, PartWriter] = {}
        self._counts = Counts()
        self._example: str | None = None

    def write(self, cleaned: Cleaned) -> None:
        for table, rows in zip(TABLES, (cleaned.batch, cleaned.quarantine), strict=True):
            if rows.num_rows:
                if table not in self._writers:
                    writer = self._job.open_part(table, self._split, self._interval)
                    self._writers[table] = self._files.enter_context(writer)
                self._writers[table].write(rows)
        if self._example is None and cleaned.quarantine.num_rows:
            first = cleaned.quarantine.slice(0, 1).to_pylist()[0]
            self._example = f"row {first['row']} of {self._split.path}, {first['column'] or 'whole'}: {first['reason']}"
        self._counts = self._counts.merge(cleaned.counts)

    def close(self) -> dict[str, Any]:
        counts = self._counts
        ledger = Ledger(rows_in=counts.rows_in, rows_out=counts.rows_out, quarantined=counts.quarantined)
        ledger.check("clean")
        parts = {table: writer.close().model_dump(mode="json") for table, writer in self._writers.items()}
        return {
            "path": self._split.path,
            "parts": parts,
            "ledger": ledger.model_dump(mode="json"),
            "changes": counts.changes,
            "example": self._example,
        }


if __name__ == "__main__":
    from millrace.script import run_script

    run_script(Clean)
