"""Rows that were judged one by one, counted: how many, how many not as expected, and a sample of these.

The sample is the first values in value order with their counts, so that it doesn't depend on splits: a value among
the smallest of all is among the smallest of each part that holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of
from millrace.data.check_masks import Judged
from millrace.data.expectations import Domain

SAMPLE = 20  # values; Great Expectations' own default


@dataclass
class RowState:
    """Counts of rows in the domain, considered, and unexpected; `sample`: the columns' values and ``count``."""

    elements: int
    considered: int
    unexpected: int
    sample: pa.Table

    @classmethod
    def empty(cls, schema: pa.Schema) -> RowState:
        """No rows of these columns."""
        return cls(0, 0, 0, schema.append(pa.field("count", pa.int64())).empty_table())

    def update(self, batch: pa.RecordBatch, judged: Judged) -> None:
        """Count the judged rows of a batch, which has the sample's columns among its own."""
        self.elements += pc.sum(judged.domain).as_py() or 0
        self.considered += pc.sum(judged.considered).as_py() or 0
        unexpected = pc.sum(judged.unexpected).as_py() or 0
        if unexpected:
            self.unexpected += unexpected
            names = self.sample.schema.names[:-1]
            rows = pa.Table.from_batches([batch.select(names).filter(judged.unexpected)])
            self._add(rows.append_column("count", pa.repeat(pa.scalar(1), unexpected)))

    def merge(self, other: RowState) -> None:
        """Count the rows of `other` as well."""
        self.elements += other.elements
        self.considered += other.considered
        self.unexpected += other.unexpected
        self._add(other.sample)

    def _add(self, rows: pa.Table) -> None:
        names = self.sample.schema.names[:-1]
        whole = pa.concat_tables([self.sample, rows.cast(self.sample.schema)])
        summed = whole.group_by(names).aggregate([("count", "sum")]).rename_columns([*names, "count"])
        ordered = summed.sort_by([(name, "ascending") for name in names])
        # taken, not sliced: a slice keeps what lies behind it, and equal states would give other bytes
        self.sample = ordered.take(array_of(np.arange(min(SAMPLE, ordered.num_rows)))).combine_chunks()

    def values(self, domain: Domain) -> list[tuple[Any, int]]:
        """The sample: a value (a list for a pair, a dict for several columns) and its count."""
        counts = self.sample["count"].to_pylist()
        rows: list[Any] = self.sample.drop_columns("count").to_pylist()
        if domain == "column":
            rows = [next(iter(row.values())) for row in rows]
        elif domain == "pair":
            rows = [list(row.values()) for row in rows]
        return list(zip(rows, counts, strict=True))
