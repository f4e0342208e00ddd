"""Statistics of a table: one mergeable state per column and label class.

Record batches flow in (`Stats.update`), statistics of several intervals merge into those of a window (`Stats.merge`,
`Stats.merged`), and results come out by column (`Stats.columns`), as JSON (`Stats.to_dict`), bytes, or the rows of the
`stats` table (`to_table`, `from_table`, `outlines_from_table`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.data.column_stats import ColumnStats, TopValue, finite
from millrace.data.encoding import Codes, encode, kind_of
from millrace.data.hashing import canonical_text
from millrace.data.states import ColumnState, Kind, pack, state_of, unpack
from millrace.errors import CorruptData, InputError

__all__ = ["TABLE_SCHEMA", "ColumnStats", "Stats", "TopValue", "from_table", "outlines_from_table", "to_table"]

MAX_CLASSES = 20  # a label with more values has no classes: its column is described like any other

TABLE_SCHEMA = pa.schema(
    [
        pa.field("data_interval", pa.string(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("label", pa.string()),  # name of the label column, if any
        pa.field("label_class", pa.string()),  # null: the label is missing, or there are no classes
        pa.field("classes", pa.bool_(), nullable=False),  # whether rows are split by label class
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("nulls", pa.int64(), nullable=False),
        pa.field("distinct", pa.int64(), nullable=False),
        pa.field("mean", pa.float64()),
        pa.field("stddev", pa.float64()),
        pa.field("min", pa.string()),
        pa.field("median", pa.float64()),
        pa.field("max", pa.string()),
        pa.field("outline", pa.binary()),  # of all classes together, in a column's first row: what drift compares
        pa.field("state", pa.binary(), nullable=False),
    ]
)


@dataclass
class Stats:
    """Statistics of a table's rows, mergeable.

    `update` changes the statistics in place; `merge` returns new ones. The empty statistics are neutral.

    >>> batch = pa.record_batch({"fare": [1.0, 2.0, None], "city": ["a", "b", "a"], "paid": [1, 0, 1]})
    >>> one = Stats.empty(batch.schema, label="paid").update(batch)
    >>> both = one.merge(one)
    >>> both.rows, both.columns["fare"].nulls, both.columns["fare"].mean, both.columns["fare"].quantile(0.5)
    (6, 2, 1.5, 1.0)
    >>> both.columns["city"].top(1)
    [TopValue(value='a', count=4, share=0.6666666666666666, at_least=4, at_most=4, label_rates={'0': 0.0, '1': 1.0})]
    """

    kinds: dict[str, Kind]
    label: str | None = None
    classes: bool = False  # whether rows are split by label class
    states: dict[str | None, dict[str, ColumnState]] = field(default_factory=dict)
    rows_by_class: dict[str | None, int] = field(default_factory=dict)
    _columns: dict[str, ColumnStats] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def empty(cls, schema: pa.Schema, label: str | None = None) -> Stats:
        """No rows yet, for the columns of `schema`; with a `label` column, states are kept by its value.

        A label with more than 20 values (a number to predict, say) has no classes. Raises InputError where a type has
        no statistics or the label isn't a column.
        """
        if label is not None and label not in schema.names:
            raise InputError("the label isn't a column", expected=f"one of {', '.join(schema.names)}", found=label)
        return cls({item.name: kind_of(item.type, item.name) for item in schema}, label, label is not None)

    @property
    def rows(self) -> int:
        """Rows seen."""
        return sum(self.rows_by_class.values())

    @property
    def columns(self) -> dict[str, ColumnStats]:
        """Results by column name, over all label classes."""
        if self._columns is None:
            self._columns = {}
            for name, kind in self.kinds.items():
                by_class = {key: states[name] for key, states in self.states.items() if name in states}
                total = reduce(ColumnState.merge, by_class.values()) if by_class else ColumnState(kind)
                self._columns[name] = ColumnStats(name, total, by_class)
        return self._columns

    def update(self, batch: pa.RecordBatch | pa.Table) -> Stats:
        """Add the rows of a batch, in place; returns self. Columns that are not in the schema are passed over.

        Raises InputError where a column is missing or its type isn't the schema's.
        """
        for part in batch.to_batches() if isinstance(batch, pa.Table) else [batch]:
            if part.num_rows:
                self._absorb(self._of(part))
        return self

    def merge(self, other: Stats) -> Stats:
        """The statistics of the rows of both; neither is changed."""
        return Stats.merged([self, other])

    @classmethod
    def merged(cls, parts: Iterable[Stats]) -> Stats:
        """The statistics of all rows of `parts`, at least one."""
        total: Stats | None = None
        for part in parts:
            if total is None:
                total = cls(dict(part.kinds), part.label, part.classes)
            total._absorb(part)
        if total is None:
            raise InputError("no statistics to merge", expected="at least one interval")
        return total

    def _absorb(self, other: Stats) -> None:
        if self.label != other.label:
            raise InputError(
                "statistics with different labels don't merge", expected=str(self.label), found=str(other.label)
            )
        for name, kind in other.kinds.items():
            self.kinds.setdefault(name, kind)
        self.classes = self.classes and other.classes
        if len({*self.rows_by_class, *other.rows_by_class}) > MAX_CLASSES:
            self.classes = False
        for key, rows in other.rows_by_class.items():
            self._add(key, rows, other.states[key])
        if self.label is not None and not self.classes:
            for key in [key for key in self.rows_by_class if key is not None]:
                self._add(None, self.rows_by_class.pop(key), self.states.pop(key))
        self._columns = None

    def _add(self, key: str | None, rows: int, states: Mapping[str, ColumnState]) -> None:
        mine = self.states.setdefault(key, {})
        for name, state in states.items():
            mine[name] = mine[name].merge(state) if name in mine else state
        self.rows_by_class[key] = self.rows_by_class.get(key, 0) + rows

    def _of(self, batch: pa.RecordBatch) -> Stats:
        """The statistics of one batch: each column is encoded once, then its codes are counted by class."""
        missing = [name for name in self.kinds if name not in batch.schema.names]
        if missing:
            raise InputError("a batch lacks columns", expected=", ".join(self.kinds), found=f"no {', '.join(missing)}")
        part = Stats(self.kinds, self.label, self.classes)
        names: list[str | None] = [None]
        codes: Codes | None = None
        if self.label is not None and self.classes:
            encoded = encode(batch.column(self.label), self.kinds[self.label])
            if len(encoded.values) > MAX_CLASSES:
                part.classes = False
            else:
                names = [None, *canonical_text(encoded.values).to_pylist()]
                codes = encoded.places + 1
        sizes = [batch.num_rows] if codes is None else np.bincount(codes, minlength=len(names)).tolist()
        part.rows_by_class = {name: size for name, size in zip(names, sizes, strict=True) if size}
        part.states = {name: {} for name in part.rows_by_class}
        for column, kind in self.kinds.items():
            found = encode(batch.column(column), kind)
            slots = found.places + 1 if codes is None else (found.places + 1) * len(names) + codes
            counts = np.bincount(slots, minlength=(len(found.values) + 1) * len(names)).reshape(-1, len(names))
            for place, name in enumerate(names):
                if name in part.states:
                    nulls, mine = int(counts[0, place]), counts[1:, place]
                    seen = found.only(np.flatnonzero(mine))
                    part.states[name][column] = state_of(kind, seen.values, mine[mine > 0], nulls, seen.hashes)
        return part

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        """All results as JSON values, for reports: rows, rows by label class, and each column's results."""
        return {
            "rows": self.rows,
            "label": self.label,
            "classes": {"null" if key is None else key: rows for key, rows in self.rows_by_class.items()},
            "columns": {name: column.to_dict(top) for name, column in self.columns.items()},
        }

    def to_bytes(self) -> bytes:
        """The statistics as checked, compressed bytes."""
        entries = [(key, name) for key, states in self.states.items() for name in states]
        header = {
            "kinds": self.kinds,
            "label": self.label,
            "classes": self.classes,
            "rows": list(self.rows_by_class.items()),
            "entries": entries,
        }
        return pack(header, [self.states[key][name].to_bytes() for key, name in entries])

    @classmethod
    def from_bytes(cls, data: bytes) -> Stats:
        """The statistics that `to_bytes` wrote; CorruptData where the bytes are damaged."""
        header, blobs = unpack(data)
        stats = cls(header["kinds"], header["label"], header["classes"])
        stats.rows_by_class = dict(header["rows"])
        stats.states = {key: {} for key in stats.rows_by_class}
        for (key, name), blob in zip(header["entries"], blobs, strict=True):
            stats.states[key][name] = ColumnState.from_bytes(blob)
        return stats


def to_table(interval: str, stats: Stats, outlined: Collection[str] = ()) -> pa.Table:
    """One interval's rows of the `stats` table: one per column and label class (see `TABLE_SCHEMA`).

    With outlines of the columns `outlined`: drift then needs neither the other columns nor the states of each class.
    """
    rows = []
    outlines = {
        name: column.state.outline(counted=name == stats.label).to_bytes()
        for name, column in stats.columns.items()
        if name in outlined
    }
    for key, states in stats.states.items():
        for name, state in states.items():
            column = ColumnStats(name, state, {})
            shown = [column.shown(value) for value in (column.min, column.max)]
            row = {
                "data_interval": interval,
                "column": name,
                "kind": state.kind,
                "label": stats.label,
                "label_class": key,
                "classes": stats.classes,
                "rows": state.count,
                "nulls": state.nulls,
                "distinct": column.distinct(),
                "mean": None if state.kind == "time" else finite(column.mean),
                "stddev": None if state.kind == "time" else finite(column.stddev),
                "min": None if shown[0] is None else str(shown[0]),
                "median": column.quantile(0.5),
                "max": None if shown[1] is None else str(shown[1]),
                "outline": outlines.pop(name, None),
                "state": state.to_bytes(),
            }
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=TABLE_SCHEMA)


def outlines_from_table(table: pa.Table) -> dict[str, Stats]:
    """The outlines of columns by interval, in order of time, as statistics without label classes, for `compare`."""
    found: dict[str, Stats] = {}
    for row in table.select(["data_interval", "column", "label", "outline"]).to_pylist():
        stats = found.setdefault(row["data_interval"], Stats({}, row["label"]))
        if row["outline"] is not None:
            state = ColumnState.from_bytes(row["outline"])
            stats.kinds[row["column"]] = state.kind
            stats.states.setdefault(None, {})[row["column"]] = state
            stats.rows_by_class[None] = state.count
    return dict(sorted(found.items()))


def from_table(table: pa.Table) -> dict[str, Stats]:
    """The statistics by interval, in order of time, from rows of the `stats` table."""
    wanted = ["data_interval", "column", "kind", "label", "label_class", "classes", "rows", "state"]
    found: dict[str, Stats] = {}
    for row in table.select(wanted).to_pylist():
        stats = found.setdefault(row["data_interval"], Stats({}, row["label"], row["classes"]))
        key = row["label_class"]
        states = stats.states.setdefault(key, {})
        if row["column"] in states:
            raise CorruptData(
                "the stats table holds a column twice", found=f"{row['column']!r} of {row['data_interval']}"
            )
        stats.kinds[row["column"]] = row["kind"]
        states[row["column"]] = ColumnState.from_bytes(row["state"])
        stats.rows_by_class[key] = max(stats.rows_by_class.get(key, 0), row["rows"])
    return dict(sorted(found.items()))
