"""What flows from the planner to a reader and on: a `Split` of a raw file in, `RawBatch`es with their `BadRow`s out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import: a `Split` needs neither
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

BATCH_ROWS = 131_072
"""Rows of a `RawBatch`, where nothing else is asked for."""

TEXT_LIMIT = 500
"""Characters of an unreadable row that a `BadRow` keeps."""

COMPRESSED_WEIGHT = 4
"""Bytes of text behind a byte of a compressed file or of Parquet, about."""

OpenFile = Callable[[str], Any]
"""Opens a path or URI for random access and returns a binary file (`millrace.storage.files.open_input`)."""


@dataclass(frozen=True)
class Split:
    """The part of one raw file that one map call reads.

    `start` and `length` are bytes (of the compressed file, where it is compressed; both 0 with `row_groups`);
    `first_row` is the 1-based number of its first record, a header not counted; `row_groups` is given for Parquet
    alone; `interval` is the data interval that the file's name tells; `size` is what balances tasks, in bytes.
    `guessed`: it begins behind a line end that may lie in a quoted field, and its first record's number isn't known.

    >>> split = Split("clicks.csv", "csv", 0, 120, 1, None, "2026-01-05", 120)
    >>> Split.from_json(split.to_json()) == split
    True
    """

    path: str
    format: str
    start: int
    length: int
    first_row: int
    row_groups: tuple[int, ...] | None
    interval: str | None
    size: int
    guessed: bool = False

    def to_json(self) -> str:
        """One line of a manifest, without its line end."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> Split:
        """The split that `to_json` wrote."""
        values = json.loads(line)
        groups = values["row_groups"]
        return cls(**{**values, "row_groups": None if groups is None else tuple(groups)})

    def __str__(self) -> str:
        """The file with its byte range or row groups, for messages.

        >>> str(Split("clicks.csv", "csv", 0, 120, 1, None, None, 120))
        'clicks.csv, bytes 0-120'
        """
        if self.row_groups is not None:
            return f"{self.path}, row groups {', '.join(map(str, self.row_groups))}"
        return f"{self.path}, bytes {self.start}-{self.start + self.length}"


@dataclass(frozen=True)
class BadRow:
    """A record that can't be read: its number, the reason, and the beginning of its text.

    Reasons: ragged, encoding, unbalanced_quotes, nul_byte, too_long, truncated, corrupt, not_json.
    """

    row: int
    reason: str
    text: str


@dataclass(frozen=True)
class RawBatch:
    """Records of a split in file order: `batch` has the pipeline's columns, `rows` the number of each record in its
    file (int64, as long as `batch`), `bad` the unreadable records between them.

    `trimmed` names columns of which no cell has white space at an end. `written` gives some rows' cells as the file has
    them, where the batch holds them in their declared types.
    """

    batch: pa.RecordBatch
    rows: pa.Int64Array
    bad: list[BadRow] = field(default_factory=list)
    trimmed: frozenset[str] = frozenset()
    written: Callable[[NDArray[np.int64]], pa.RecordBatch] | None = None

    def cells(self, rows: NDArray[np.int64]) -> pa.RecordBatch:
        """The cells of some rows of the batch as the file has them, for people to read."""
        from millrace.buffers import array_of

        return self.batch.take(array_of(rows)) if self.written is None else self.written(rows)

    def slice(self, start: int, length: int) -> RawBatch:
        """Some of the records; the bad ones go with the first."""
        written = self.written
        return replace(
            self,
            batch=self.batch.slice(start, length),
            rows=self.rows.slice(start, length),
            bad=self.bad if start == 0 else [],
            written=None if written is None else lambda rows: written(rows + start),
        )
