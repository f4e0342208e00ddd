"""What a sample is drawn from, counted exactly: rows by stratum, label and day. A mergeable state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.hashing import canonical_text
from millrace.errors import RequestError

if TYPE_CHECKING:
    import polars as pl

MOST_STRATA = 10_000
Cell = tuple[str | None, str | None, int | None]  # stratum, label, day since 1970


class Population:
    """Rows by (stratum, label, day), for the stratum column `by`, the `label` and the `time` column, each if given.

    Raises RequestError from `update` where `by` or `label` has more than 10,000 values.

    >>> population = Population(by="site", label="clicked")
    >>> population.update(pa.record_batch({"site": ["a", "b", "a", None], "clicked": [0, 1, 0, 0]}))
    >>> population.rows, population.strata(), population.labels()
    (4, {None: 1, 'a': 2, 'b': 1}, {'0': 3, '1': 1})
    """

    def __init__(self, by: str | None = None, label: str | None = None, time: str | None = None) -> None:
        self.by, self.label, self.time = by, label, time
        self.cells: Counter[Cell] = Counter()

    def columns(self) -> list[str]:
        """The columns that `update` needs."""
        return list(dict.fromkeys(name for name in (self.by, self.label, self.time) if name is not None))

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Count the rows of a batch."""
        import polars as pl

        rows = batch.num_rows
        frame = pl.DataFrame(
            {
                "stratum": _text(batch, self.by, rows),
                "label": _text(batch, self.label, rows),
                "day": _days(batch, self.time, rows),
            }
        )
        counts = frame.group_by(frame.columns).len()
        for name in ("stratum", "label"):
            if counts[name].n_unique() > MOST_STRATA:
                column = self.by if name == "stratum" else self.label
                raise RequestError(
                    f"column {column!r} has too many values to stratify by",
                    expected=f"at most {MOST_STRATA:,}",
                    found=f"{counts[name].n_unique():,} in one batch",
                    hint="give sample.by another column, or sample.method cluster",
                )
        self.cells.update({(stratum, label, day): count for stratum, label, day, count in counts.iter_rows()})

    def merge(self, other: Population) -> Population:
        """Both populations' rows in one; returns self."""
        self.cells.update(other.cells)
        return self

    @property
    def rows(self) -> int:
        """All rows."""
        return self.cells.total()

    def strata(self) -> dict[str | None, int]:
        """Rows by stratum, in order of the stratum's text, null first."""
        return self._sums(0)

    def labels(self) -> dict[str | None, int]:
        """Rows by label."""
        return self._sums(1)

    def days(self) -> dict[int | None, int]:
        """Rows by day since 1970."""
        return self._sums(2)

    def spreads(self) -> list[float]:
        """The standard deviation of the label inside every stratum, in the order of `strata`: sqrt(1 - Σ pₖ²)."""
        totals = self.strata()
        squares: Counter[str | None] = Counter()
        inner: Counter[tuple[str | None, str | None]] = Counter()
        for (stratum, label, _), count in self.cells.items():
            inner[stratum, label] += count
        for (stratum, _), count in inner.items():
            squares[stratum] += count**2  # exact integers, so that the order of counting can't matter
        return [max(0.0, 1 - squares[stratum] / total**2) ** 0.5 for stratum, total in totals.items()]

    def label_rate(self) -> float | None:
        """The share of the rarest label where there are two labels; None otherwise."""
        counts = [count for label, count in self.labels().items() if label is not None]
        return min(counts) / sum(counts) if len(counts) == 2 else None

    def _sums(self, place: int) -> dict[Any, int]:
        sums: Counter[Any] = Counter()
        for cell, count in self.cells.items():
            sums[cell[place]] += count
        return {key: sums[key] for key in sorted(sums, key=lambda key: (key is not None, key or ""))}

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values: equal states are equal."""
        cells = sorted(self.cells.items(), key=lambda item: [(key is not None, key or 0) for key in item[0]])
        named = {"by": self.by, "label": self.label, "time": self.time}
        return named | {"cells": [[*cell, count] for cell, count in cells]}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Population:
        """The state that `to_json` wrote."""
        population = cls(state["by"], state["label"], state["time"])
        cells: Iterable[list[Any]] = state["cells"]
        population.cells.update({(cell[0], cell[1], cell[2]): cell[3] for cell in cells})
        return population


def _text(batch: pa.RecordBatch | pa.Table, name: str | None, rows: int) -> pl.Series:
    import polars as pl

    if name is None:
        return pl.Series([None], dtype=pl.String).new_from_index(0, rows)
    return stratum_text(batch.column(name))


def stratum_text(column: pa.Array | pa.ChunkedArray) -> pl.Series:
    """The canonical text of a column's values, by which strata are named."""
    import polars as pl

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    plain = [chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk for chunk in chunks]
    series = pl.from_arrow(pa.chunked_array([canonical_text(chunk) for chunk in plain], pa.string()))
    assert isinstance(series, pl.Series)
    return series


def _days(batch: pa.RecordBatch | pa.Table, name: str | None, rows: int) -> pl.Series:
    import polars as pl

    if name is None:
        return pl.Series([None], dtype=pl.Int32).new_from_index(0, rows)
    series = pl.from_arrow(pc.cast(batch.column(name), pa.date32(), safe=False).cast(pa.int32()))
    assert isinstance(series, pl.Series)
    return series
