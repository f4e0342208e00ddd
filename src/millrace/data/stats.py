"""Statistics of a table: one mergeable state per column and label class.

Record batches flow in (`Stats.update`), statistics of several intervals merge into those of a window (`Stats.merge`,
`Stats.merged`), and results come out by column (`Stats.columns`), as JSON (`Stats.to_dict`), bytes, or the rows of the
`stats` table (`to_table`, `from_table`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data.hashing import canonical_text
from millrace.data.sketches import Floats, Lengths, Value
from millrace.data.states import ColumnState, Kind, pack, state_of, unpack
from millrace.errors import CorruptData, InputError

MAX_CLASSES = 20  # a label with more values has no classes: its column is described like any other
Codes = npt.NDArray[np.int64]

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
        pa.field("state", pa.binary(), nullable=False),
    ]
)


@dataclass(frozen=True)
class TopValue:
    """A frequent value. Its true count lies in [at_least, at_most]; `label_rates`: share of each label class."""

    value: Value
    count: int
    share: float
    at_least: int
    at_most: int
    label_rates: dict[str, float]


@dataclass(frozen=True)
class ColumnStats:
    """Results for one column over all label classes, and the state of each class in `by_class`.

    Numbers: booleans count as 0 and 1, times as microseconds since 1970 (UTC). NaN and infinite numbers are counted
    and left out of all else.
    """

    name: str
    state: ColumnState
    by_class: Mapping[str | None, ColumnState]

    @property
    def kind(self) -> Kind:
        """integer, float, boolean, time or string."""
        return self.state.kind

    @property
    def count(self) -> int:
        """Rows, nulls included."""
        return self.state.count

    @property
    def nulls(self) -> int:
        """Rows without a value."""
        return self.state.nulls

    @property
    def nans(self) -> int:
        """Rows that are not a number (NaN)."""
        return self.state.nans

    @property
    def infinities(self) -> int:
        """Rows with an infinite number."""
        return self.state.infinities

    @property
    def min(self) -> Any:
        """The least value, exactly; texts by code point. None without values."""
        return self.state.moments.minimum if self.state.numeric else self.state.first

    @property
    def max(self) -> Any:
        """The greatest value, exactly."""
        return self.state.moments.maximum if self.state.numeric else self.state.last

    @property
    def mean(self) -> float | None:
        """The mean of the finite numbers; None without any."""
        return self.state.moments.mean if self.state.moments.count else None

    @property
    def sum(self) -> int | float:
        """The sum; exact for integers."""
        return self.state.moments.total

    @property
    def variance(self) -> float | None:
        """The sample variance (n - 1)."""
        return self.state.moments.variance

    @property
    def stddev(self) -> float | None:
        """The sample standard deviation."""
        variance = self.variance
        return None if variance is None or variance < 0 or math.isnan(variance) else math.sqrt(variance)

    @property
    def skewness(self) -> float | None:
        """The skewness; None where all are equal."""
        return self.state.moments.skewness

    @property
    def kurtosis(self) -> float | None:
        """The excess kurtosis; None where all are equal."""
        return self.state.moments.kurtosis

    @property
    def lengths(self) -> Lengths:
        """Lengths of texts in characters: shortest, longest, mean."""
        return self.state.lengths

    def quantile(self, fraction: float) -> float | None:
        """The least number with at least `fraction` (0 to 1) of numbers at or below it; None without numbers.

        Exact up to 2,048 distinct values, else within a rank error of 0.9 %.
        """
        return self.quantiles([fraction])[0]

    def quantiles(self, fractions: Sequence[float]) -> list[float | None]:
        """Several quantiles at once."""
        return self.state.quantiles(fractions)

    def cumulative(self, points: Sequence[float]) -> Floats:
        """The fraction of numbers at or below each of `points` (ascending, distinct)."""
        return self.state.cumulative(points)

    @property
    def rank_error(self) -> float:
        """The error of one rank at 99 % confidence: 0 where ranks are exact."""
        return self.state.ranks.rank_error if self.state.ranks else 0.0

    def distinct(self) -> int:
        """The number of distinct values (nulls, NaN and infinities aside): exact up to 2,048, else within 2 %."""
        if self.state.hashes is None:
            return len(self.state.values.counts)
        return round(self.state.hashes.estimate())

    @property
    def distinct_exact(self) -> bool:
        """Whether counts of values, distinct values and quantiles are exact."""
        return not self.state.sketched

    def top(self, k: int = 10) -> list[TopValue]:
        """The k most frequent values, most frequent first; none whose least count may be below the error."""
        found = []
        error = self.state.values.error
        for value, least in self.state.values.top(k):
            by_class = {name: state.values.estimate(value) for name, state in self.by_class.items() if name is not None}
            known = sum(by_class.values())
            rates = {name: times / known for name, times in sorted(by_class.items())} if known else {}
            shown = bool(value) if self.kind == "boolean" else value
            most = min(least + error, self.count)
            found.append(TopValue(shown, most, most / self.count, least, most, rates))
        return found

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        """All results as JSON values; times as ISO text."""
        known = {
            "kind": self.kind,
            "rows": self.count,
            "nulls": self.nulls,
            "nans": self.nans,
            "infinities": self.infinities,
            "distinct": self.distinct(),
            "exact": self.distinct_exact,
            "min": self._shown(self.min),
            "max": self._shown(self.max),
            "top": [
                {
                    "value": item.value,
                    "count": item.count,
                    "error": item.at_most - item.at_least,
                    "share": item.share,
                    "label_rates": item.label_rates,
                }
                for item in self.top(top)
            ],
        }
        if self.kind == "string":
            lengths = self.lengths
            known["lengths"] = {"shortest": lengths.shortest, "longest": lengths.longest, "mean": lengths.mean}
            return known
        fractions = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
        quantiles = zip(fractions, self.quantiles(fractions), strict=True)
        known["quantiles"] = {str(fraction): self._shown(value) for fraction, value in quantiles}
        if self.kind != "time":
            for name in ("mean", "stddev", "skewness", "kurtosis", "sum"):
                known[name] = _finite(getattr(self, name))
        return known

    def _shown(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        if self.kind == "time":
            try:
                moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(value))
            except OverflowError:
                return _finite(value)
            return moment.replace(tzinfo=None).isoformat()
        return bool(value) if self.kind == "boolean" and value in (0, 1) else _finite(value)


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
                total = reduce(ColumnState.merge, by_class.values(), ColumnState(kind))
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
            codes, labels = encode(batch.column(self.label), self.kinds[self.label])
            if len(labels) > MAX_CLASSES:
                part.classes, codes = False, None
            else:
                names = [None, *canonical_text(labels).to_pylist()]
                codes = codes + 1
        sizes = [batch.num_rows] if codes is None else np.bincount(codes, minlength=len(names)).tolist()
        part.rows_by_class = {name: size for name, size in zip(names, sizes, strict=True) if size}
        part.states = {name: {} for name in part.rows_by_class}
        for column, kind in self.kinds.items():
            places, values = encode(batch.column(column), kind)
            slots = places + 1 if codes is None else (places + 1) * len(names) + codes
            counts = np.bincount(slots, minlength=(len(values) + 1) * len(names)).reshape(-1, len(names))
            for place, name in enumerate(names):
                if name in part.states:
                    nulls, mine = int(counts[0, place]), counts[1:, place]
                    seen = np.flatnonzero(mine)
                    some = values if len(seen) == len(values) else values.take(pa.array(seen))
                    part.states[name][column] = state_of(kind, some, mine[seen], nulls=nulls)
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


def kind_of(kind: pa.DataType, name: str) -> Kind:
    """The kind of statistics that a type has; InputError where it has none."""
    types: Any = pa.types
    if types.is_dictionary(kind):
        return kind_of(kind.value_type, name)
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "float"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return "string"
    raise InputError(
        f"column {name!r} has a type without statistics", expected="number, text, boolean or time", found=str(kind)
    )


def encode(array: pa.Array, kind: Kind) -> tuple[Codes, pa.Array]:
    """The distinct values (as the kind's own type, no nulls), and for every row its value's place, -1 for null."""
    if pa.types.is_dictionary(array.type):
        inner, values = encode(array.dictionary, kind)  # entries may be null or equal
        codes = array.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
        return np.append(inner, -1)[codes], values
    encoded = _as_kind(array, kind).dictionary_encode()
    codes = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary


def _as_kind(array: pa.Array, kind: Kind) -> pa.Array:
    if kind_of(array.type, "") != kind and not pa.types.is_null(array.type):
        raise InputError("a column's type isn't the schema's", expected=kind, found=str(array.type))
    if kind == "string":
        return array.cast(pa.string())
    if kind == "float":
        return array.cast(pa.float64())
    if kind == "time":
        zone = getattr(array.type, "tz", None)
        return array.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
    if kind == "boolean":
        return array.cast(pa.int8()).cast(pa.int64())
    return array if pa.types.is_uint64(array.type) else array.cast(pa.int64())


def to_table(interval: str, stats: Stats) -> pa.Table:
    """One interval's rows of the `stats` table: one per column and label class (see `TABLE_SCHEMA`)."""
    rows = []
    for key, states in stats.states.items():
        for name, state in states.items():
            column = ColumnStats(name, state, {})
            shown = [column._shown(value) for value in (column.min, column.max)]
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
                "mean": None if state.kind == "time" else _finite(column.mean),
                "stddev": None if state.kind == "time" else _finite(column.stddev),
                "min": None if shown[0] is None else str(shown[0]),
                "median": column.quantile(0.5),
                "max": None if shown[1] is None else str(shown[1]),
                "state": state.to_bytes(),
            }
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=TABLE_SCHEMA)


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


def _finite(value: Any) -> Any:
    """JSON has no NaN: unknown is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
