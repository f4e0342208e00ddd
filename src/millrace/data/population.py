"""What a sample is drawn from, counted exactly: rows by stratum, label and day. A mergeable state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, flags, stored_numbers
from millrace.data.hashing import canonical_text
from millrace.errors import RequestError

MOST_STRATA = 10_000
Cell = tuple[str | None, str | None, int | None]  # stratum, label, day since 1970
Places = npt.NDArray[np.int64]


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
        columns: list[tuple[Places, list[Any]]] = []
        for name in (self.by, self.label):
            places, texts = texts_of(batch.column(name)) if name is not None else _nowhere(batch.num_rows)
            distinct = len({texts[place] for place in np.unique(places)}) if len(texts) > MOST_STRATA else 0
            if distinct > MOST_STRATA:
                raise RequestError(
                    f"column {name!r} has too many values to stratify by",
                    expected=f"at most {MOST_STRATA:,}",
                    found=f"{distinct:,} in one batch",
                    hint="give sample.by another column, or sample.method cluster",
                )
            columns.append((places, texts))
        columns.append(_days(batch.column(self.time)) if self.time is not None else _nowhere(batch.num_rows))
        cells = np.zeros(batch.num_rows, np.int64)
        for places, values in columns:
            cells = cells * len(values) + places
        counted = pc.value_counts(array_of(cells))
        for cell, count in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True):
            named: list[Any] = []
            for _, values in reversed(columns):
                cell, place = divmod(cell, len(values))
                named.append(values[place])
            day, label, stratum = named
            self.cells[stratum, label, day] += count

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


def texts_of(column: pa.Array | pa.ChunkedArray) -> tuple[Places, list[str | None]]:
    """Each row's place in a list of canonical texts, by which strata are named; a text may stand there twice.

    >>> places, texts = texts_of(pa.array([7, None, 8, 7]))
    >>> places.tolist(), texts
    ([0, 2, 1, 0], ['7', '8', None])
    """
    places, values = _distinct(column)
    return places, [*canonical_text(values).cast(pa.string()).to_pylist(), None]


def _days(column: pa.Array | pa.ChunkedArray) -> tuple[Places, list[int | None]]:
    places, values = _distinct(pc.cast(column, pa.date32(), safe=False))
    return places, [*values.cast(pa.int32()).to_pylist(), None]


def _distinct(column: pa.Array | pa.ChunkedArray) -> tuple[Places, pa.Array]:
    """Each row's place among the distinct values; that of a null is their number."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    places = stored_numbers(values.indices).astype(np.int64)
    if values.indices.null_count:
        places[flags(values.indices.is_null())] = len(values.dictionary)
    return places, values.dictionary


def _nowhere(rows: int) -> tuple[Places, list[Any]]:
    return np.zeros(rows, np.int64), [None]
