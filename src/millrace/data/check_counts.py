"""How often each value occurs: the exact answer to uniqueness, distinct values, the most common one and quantiles.

Values flow in; a table of distinct values and their counts, sorted by value, is kept. It grows with the number of
distinct values, at most the rows of the split. Where that is too much to shuffle or to hold (millions of ids), the
table leaves the state as a *run*, a sorted table in a file, and `merge_runs` reads all runs side by side: in order,
one block each, so that a reduce task holds blocks, not values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.check_masks import members

Runs = Callable[[], Iterator[pa.Table]]
BLOCK = 65_536  # values
SEPARATOR, NULL_TEXT = "\x1f", "\\N"
_ESCAPED = {"u": SEPARATOR, "\\": "\\"}


class ValueCounts:
    """Counts of distinct non-null values: a table (value, count), sorted by value.

    >>> counts = ValueCounts(pa.string())
    >>> counts.update(pa.array(["b", "a", None, "b"]))
    >>> counts.table.to_pydict()
    {'value': ['a', 'b'], 'count': [1, 2]}
    """

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = kind
        self._parts: list[pa.Table] = []
        self._waiting = 0

    def update(self, values: pa.Array) -> None:
        """Count these values as well."""
        counted = values.drop_null().value_counts()
        self.add(pa.table({"value": counted.field("values"), "count": counted.field("counts")}))

    def merge(self, other: ValueCounts) -> None:
        """Count the values of `other` as well."""
        self.add(other.table)

    @property
    def table(self) -> pa.Table:
        """The counts, sorted by value."""
        if len(self._parts) != 1 or self._waiting:
            self._parts = [fold(self._parts, self.kind)]
            self._waiting = 0
        return self._parts[0]

    def take(self) -> pa.Table:
        """The counts, which leave this state: it is empty afterwards."""
        table = self.table
        self._parts = []
        return table

    def add(self, table: pa.Table) -> None:
        """Count the values of a (value, count) table as well."""
        if not table.num_rows:
            return
        self._parts.append(table)
        self._waiting += table.num_rows
        if self._waiting > max(1 << 20, 2 * self._parts[0].num_rows):
            self._parts, self._waiting = [fold(self._parts, self.kind)], 0


def fold(tables: Sequence[pa.Table], kind: pa.DataType) -> pa.Table:
    """Several (value, count) tables as one, sorted by value."""
    schema = pa.schema([("value", kind), ("count", pa.int64())])
    whole = pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])
    summed = whole.group_by("value").aggregate([("count", "sum")]).rename_columns(["value", "count"])
    return summed.select(["value", "count"]).sort_by("value").combine_chunks()


def merge_runs(runs: Sequence[Iterable[pa.Table]], kind: pa.DataType) -> Iterator[pa.Table]:
    """Sorted runs, each an iterable of sorted (value, count) blocks, as one sorted stream of blocks.

    All counts of a value come in one block. Holds one block of each run at a time.

    >>> one, two = ValueCounts(pa.int64()), ValueCounts(pa.int64())
    >>> one.update(pa.array([1, 5])), two.update(pa.array([2, 5]))
    (None, None)
    >>> [block.to_pydict() for block in merge_runs([[one.table], [two.table]], pa.int64())]
    [{'value': [1, 2, 5], 'count': [1, 1, 2]}]
    """
    sources = [iter(run) for run in runs]
    heads: list[pa.Table | None] = [_next(source) for source in sources]
    while True:
        live = [place for place, head in enumerate(heads) if head is not None]
        if not live:
            return
        last = [_tail(heads[place]) for place in live]
        bound = pc.min(pa.array(last, kind))
        taken: list[pa.Table] = []
        for place in live:
            head = heads[place]
            assert head is not None
            below = pc.sum(pc.less_equal(head["value"], bound)).as_py() or 0
            if below:
                taken.append(head.slice(0, below))
            heads[place] = head.slice(below) if below < head.num_rows else _next(sources[place])
        yield fold(taken, kind)


def blocks(table: pa.Table) -> Iterator[pa.Table]:
    """A sorted table in blocks of `BLOCK` values."""
    for start in range(0, table.num_rows, BLOCK):
        yield table.slice(start, BLOCK)


def _next(source: Iterator[pa.Table]) -> pa.Table | None:
    return next((block for block in source if block.num_rows), None)


def _tail(table: pa.Table | None) -> object:
    assert table is not None
    return table["value"][table.num_rows - 1].as_py()


def row_keys(columns: Sequence[pa.Array]) -> pa.Array:
    r"""One text per row that is equal where all columns are; a missing value is ``\N``.

    >>> row_keys([pa.array([1, None]), pa.array(["a", "b"])]).to_pylist()
    ['1\x1fa', '\\N\x1fb']
    """
    texts = []
    for column in columns:
        text = column if pa.types.is_string(column.type) else column.cast(pa.string())
        escaped = pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), SEPARATOR, "\\u")
        texts.append(pc.fill_null(escaped, NULL_TEXT))
    return pc.binary_join_element_wise(*texts, SEPARATOR)


def key_values(key: str, kinds: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """The row that `row_keys` made a key of, by column.

    >>> key_values("1\\x1fa", {"n": pa.int64(), "s": pa.string()})
    {'n': 1, 's': 'a'}
    """
    row: dict[str, Any] = {}
    for text, (name, kind) in zip(key.split(SEPARATOR), kinds.items(), strict=True):
        plain = None if text == NULL_TEXT else re.sub(r"\\(.)", lambda found: _ESCAPED[found[1]], text)
        row[name] = pa.scalar(plain, pa.string()).cast(kind).as_py()
    return row


class Counted:
    """Figures of a stream of sorted (value, count) blocks; each figure reads the stream once."""

    def __init__(self, runs: Runs, kind: pa.DataType) -> None:
        self.runs = runs
        self.kind = kind

    def distinct(self) -> int:
        """How many different values there are."""
        return sum(block.num_rows for block in self.runs())

    def rows(self, chosen: Callable[[pa.Table], pa.BooleanArray], limit: int) -> tuple[int, list[tuple[Any, int]]]:
        """How many rows hold the values that `chosen` picks of a block, and the first `limit` of these with counts."""
        total, sample = 0, list[tuple[Any, int]]()
        for block in self.runs():
            picked = block.filter(chosen(block))
            total += pc.sum(picked["count"]).as_py() or 0
            first = picked.slice(0, limit - len(sample))
            sample += zip(first["value"].to_pylist(), first["count"].to_pylist(), strict=True)
        return total, sample

    def repeated(self, limit: int) -> tuple[int, list[tuple[Any, int]]]:
        """Rows whose value occurs more than once."""
        return self.rows(lambda block: pc.greater(block["count"], 1), limit)

    def outside(self, center: float, spread: float, threshold: float, double_sided: bool, limit: int) -> Any:
        """Rows whose z-score (x − center) / spread is not below the threshold."""

        def chosen(block: pa.Table) -> pa.BooleanArray:
            scores = pc.divide(pc.subtract(block["value"].cast(pa.float64(), safe=False), center), spread)
            return pc.invert(pc.less(pc.abs(scores) if double_sided else scores, threshold))

        return self.rows(chosen, limit)

    def against(self, values: Sequence[object], limit: int) -> tuple[int, list[Any], list[Any]]:
        """Distinct values outside a set: their number and the first of them; and the set's members never seen."""
        wanted = pc.unique(members(values, self.kind))
        seen, strange, first = [wanted.slice(0, 0)], 0, list[Any]()
        for block in self.runs():
            known = pc.is_in(block["value"], wanted)
            unknown = block["value"].filter(pc.invert(known))
            strange += len(unknown)
            first += unknown.slice(0, limit - len(first)).to_pylist()
            seen += block["value"].filter(known).chunks
        missing = wanted.filter(pc.invert(pc.is_in(wanted, pa.chunked_array(seen).combine_chunks())))
        return strange, first, missing.sort().to_pylist()

    def most_common(self, values: Sequence[object], limit: int) -> tuple[int, int, list[Any]]:
        """How many values share the highest count, how many of these are in a set, and the first `limit` of them."""
        wanted, highest = members(values, self.kind), 0
        number, inside, first = 0, 0, list[Any]()
        for block in self.runs():
            top = pc.max(block["count"]).as_py() or 0
            if top < highest or not block.num_rows:
                continue
            if top > highest:
                highest, number, inside, first = top, 0, 0, []
            modes = block["value"].filter(pc.equal(block["count"], top))
            number += len(modes)
            inside += pc.sum(pc.is_in(modes, wanted)).as_py() or 0
            first += modes.slice(0, limit - len(first)).to_pylist()
        return number, inside, first

    def at(self, ranks: Sequence[int]) -> dict[int, Any]:
        """The values at these 0-based ranks of the sorted rows."""
        found: dict[int, Any] = {}
        before = 0
        for block in self.runs():
            ends = before + np.cumsum(block["count"].to_numpy())
            for rank in ranks:
                if before <= rank < ends[-1]:
                    found[rank] = block["value"][int(np.searchsorted(ends, rank, side="right"))].as_py()
            before = int(ends[-1])
        return found

    def quantiles(self, fractions: Sequence[float], total: int, method: str) -> list[float | int | None]:
        """Quantiles of `total` values as `numpy.percentile` defines the method: linear, lower, higher, midpoint,
        nearest."""
        if not total:
            return [None] * len(fractions)
        # pandas hands numpy percents, which numpy divides by 100 again: the same rounding here keeps the same rank
        places = [(total - 1) * (fraction * 100.0 / 100.0) for fraction in fractions]
        bounds = [_neighbours(place, method) for place in places]
        found = self.at(sorted({rank for pair in bounds for rank in pair}))
        return [
            found[low]
            if low == high
            else _between(found[low], found[high], 0.5 if method == "midpoint" else place - low)
            for (low, high), place in zip(bounds, places, strict=True)
        ]

    def median(self, total: int) -> float | None:
        """The middle value, or the mean of the two middle ones; None of no values."""
        if not total:
            return None
        middle = self.at([(total - 1) // 2, total // 2])
        low, high = middle[(total - 1) // 2], middle[total // 2]
        return float(low) if low == high else (float(low) + float(high)) / 2


def _neighbours(place: float, method: str) -> tuple[int, int]:
    low, high = int(np.floor(place)), int(np.ceil(place))
    if method == "nearest":
        low = high = int(np.around(place))
    return {"lower": (low, low), "higher": (high, high)}.get(method, (low, high))


def _between(low: float, high: float, part: float) -> float:
    """Linear interpolation, from the nearer end as numpy does."""
    step = float(high) - float(low)
    return float(high) - step * (1 - part) if part >= 0.5 else float(low) + step * part
