"""Cleaning: raw batches flow in, clean rows and quarantined rows of each data interval flow out, with their counts.

For each column, in this order: trim, case, map, spelling, unit (`clean_text`), type (`convert`), range, allowed values,
outliers (`clean_limits`), missing. Every cell is cleaned by itself with limits that were decided before (`CleanPlan`),
so a file cut into any splits gives the same rows.

A row leaves for the quarantine, with the first reason that holds:

- the reader couldn't read it (``ragged``, ``encoding`` …);
- a cell breaks a rule whose answer is `quarantine`;
- the raw typed row doesn't meet an expectation with severity `quarantine`;
- its time is missing where the time names the interval (``no_interval``);
- with `late_rows: quarantine`, its time lies outside the interval that its file's name tells (``other_interval``); by
  default such a row stays with its file.

A missing label stays: rows to be scored have none yet. An unreadable label is an error of its type, so that by default
its row is quarantined.

Clipping makes sense for ranges and outliers; a value that isn't among the allowed ones becomes null instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from millrace.buffers import array_of, flags, repeated, scalar, text_array
from millrace.data.check import violations
from millrace.data.check_masks import columns_read
from millrace.data.clean_column import ColumnCleaner, Found
from millrace.data.clean_plan import CleanPlan
from millrace.data.clean_rejects import first_reasons, quarantine
from millrace.data.convert import convert, typed_schema
from millrace.data.hashing import hash_rows
from millrace.data.row_intervals import name_intervals
from millrace.data.split import RawBatch, Split
from millrace.errors import InputError
from millrace.intervals import ALL, UNKNOWN
from millrace.spec import Pipeline

ROW_ID, SOURCE_FILE, DATA_INTERVAL = "row_id", "source_file", "data_interval"


class Counts(BaseModel):
    """Rows in and where they went, and the changed cells of the rows that stayed, by column and rule."""

    rows_in: int = 0
    rows_out: int = 0
    quarantined: dict[str, int] = {}
    changes: dict[str, dict[str, int]] = {}

    def merge(self, other: Counts) -> Counts:
        """The counts of both together."""
        names = sorted({*self.changes, *other.changes})
        return Counts(
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            quarantined=_added(self.quarantined, other.quarantined),
            changes={name: _added(self.changes.get(name, {}), other.changes.get(name, {})) for name in names},
        )


@dataclass(frozen=True)
class Cleaned:
    """What became of the raw rows of one data interval: the clean rows, the quarantined ones, and the counts."""

    interval: str
    batch: pa.RecordBatch
    quarantine: pa.Table
    counts: Counts


def clean_schema(pipeline: Pipeline) -> pa.Schema:
    """The schema of the clean table: the kept columns, row_id, source_file, and the partition column data_interval."""
    added = [(ROW_ID, pa.int64()), (SOURCE_FILE, pa.string()), (DATA_INTERVAL, pa.string())]
    return pa.schema([*typed_schema(pipeline, pipeline.kept()), *(pa.field(name, kind) for name, kind in added)])


def clean_batch(raw: RawBatch, split: Split, plan: CleanPlan, pipeline: Pipeline) -> list[Cleaned]:
    """One raw batch, cleaned; see `Cleaner`, which is made once for many batches.

    >>> pipeline = Pipeline.model_validate({"name": "p", "source": {"uri": "x", "interval": "none"},
    ...     "columns": {"a": {"type": "int8", "role": "numeric"}}, "clean": {"a": {"range": [0, 9]}}})
    >>> raw = RawBatch(pa.record_batch({"a": ["7", "x", "99"]}), pa.array([1, 2, 3]), [])
    >>> split = Split("a.csv", "csv", 0, 9, 1, None, None, 9)
    >>> [cleaned] = clean_batch(raw, split, CleanPlan(), pipeline)
    >>> cleaned.batch["a"].to_pylist(), cleaned.quarantine["reason"].to_pylist(), cleaned.counts.changes
    ([7, None], ["expected int8, found 'x'"], {'a': {'range': 1}})
    """
    return Cleaner(plan, pipeline)(raw, split)


class Cleaner:
    """The rules of a pipeline with what its plan learned, ready to clean batch after batch.

    Raises RequestError where a rule's range, values or fill value doesn't fit the column's type.
    """

    def __init__(self, plan: CleanPlan, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.kept = pipeline.kept()
        self.schema = pa.schema([field for field in clean_schema(pipeline) if field.name != DATA_INTERVAL])
        self.needed = {*self.kept, *(pipeline.rule(name).missing.by for name in self.kept), pipeline.source.time}
        names = [name for name in pipeline.columns if name in self.needed]
        self.columns = [ColumnCleaner(name, pipeline, plan.column(name)) for name in names]
        self.expectations = [expectation for expectation in pipeline.check if expectation.severity == "quarantine"]
        self.judged = list(dict.fromkeys(name for each in self.expectations for name in columns_read(each)))

    def __call__(self, raw: RawBatch, split: Split) -> list[Cleaned]:
        """The clean and the quarantined rows of a raw batch, one entry for each data interval in it, by name."""
        found = Found(raw)
        for column in self.columns:
            column.read(found)
        for column in self.columns:
            if column.kept:
                column.fill(found)
        self._expect(found)
        intervals, unreadable = self._intervals(found, split)
        first = first_reasons(found.rejections, found.rows)
        rejected = quarantine(raw, split.path, found.rejections, first, intervals, unreadable)
        names = sorted({*pc.unique(intervals).to_pylist(), *pc.unique(rejected[DATA_INTERVAL]).to_pylist()})
        return [self._part(found, split, name, first < 0, intervals, rejected) for name in names]

    def _expect(self, found: Found) -> None:
        """Rejects the rows that don't meet an expectation with severity `quarantine`, before any cleaning."""
        if self.expectations:
            typed = convert(found.raw.batch.select(self.judged), self.pipeline, trimmed=found.raw.trimmed).batch
            for expectation in self.expectations:
                for name, mask in violations(typed, [expectation]).items():
                    column = expectation.arguments.get("column")
                    found.reject(column if isinstance(column, str) else None, name, name, mask)

    def _intervals(self, found: Found, split: Split) -> tuple[pa.Array, str]:
        """The interval of every row, and that of unreadable rows; rejects rows whose time names none."""
        source, rows = self.pipeline.source, found.rows
        if source.interval == "none":
            return repeated(ALL, rows), ALL
        named = name_intervals(found.typed[source.time], source.interval) if source.time else None
        if split.interval is not None:
            if named is not None and source.late_rows == "quarantine":
                late = pc.and_(pc.not_equal(named, scalar(split.interval)), pc.not_equal(named, scalar(UNKNOWN)))
                found.reject(source.time, "other_interval", f"a time in {split.interval}", late)
            return repeated(split.interval, rows), split.interval
        if named is None:
            raise InputError(
                "a file belongs to no data interval",
                expected=f"a date like {source.file_date} in its name",
                found=split.path,
                hint="rename it, or give `source.time`",
            )
        found.reject(source.time, "no_interval", "a time", pc.equal(named, scalar(UNKNOWN)))
        return named, UNKNOWN

    def _part(
        self,
        found: Found,
        split: Split,
        name: str,
        kept: npt.NDArray[np.bool_],
        intervals: pa.Array,
        rejected: pa.Table,
    ) -> Cleaned:
        """The rows of one interval."""
        inside = flags(pc.equal(intervals, scalar(name)))
        stays = kept & inside
        columns = [found.typed[column] for column in self.kept]
        if not stays.all():
            mask = array_of(stays)
            columns = [column.filter(mask) for column in columns]
        rows = int(stays.sum())
        batch = pa.RecordBatch.from_arrays(columns, schema=typed_schema(self.pipeline, self.kept))
        row_ids = array_of(hash_rows(batch, self.kept).view(np.int64))
        path = pa.DictionaryArray.from_arrays(array_of(np.zeros(rows, np.int32)), text_array([split.path]))
        batch = pa.RecordBatch.from_arrays([*columns, row_ids, path], self.schema.names)
        part = rejected.filter(pc.equal(rejected[DATA_INTERVAL], scalar(name)))
        unreadable = part.num_rows - int((inside & ~kept).sum())
        counts = Counts(
            rows_in=int(inside.sum()) + unreadable,
            rows_out=rows,
            quarantined=_reasons(part),
            changes=found.count_changes(stays),
        )
        return Cleaned(name, batch, part, counts)


def _reasons(rejected: pa.Table) -> dict[str, int]:
    """Quarantined rows by column and rule: ``fare:range``, ``ragged``."""
    rules = rejected.column("rule")
    names = pc.coalesce(pc.binary_join_element_wise(rejected.column("column"), rules, scalar(":")), rules)
    return dict(sorted((each["values"], each["counts"]) for each in pc.value_counts(names).to_pylist()))


def _added(mine: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: mine.get(name, 0) + other.get(name, 0) for name in sorted({*mine, *other})}
