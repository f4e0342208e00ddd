"""Delta's statistics of a part: rows, and per column the least and greatest value and the count of nulls.

Readers leave a file out when these prove that no row can match, so a bound may be loose, never tight on the wrong side.
Bounds are those that the Parquet writer found: another look at each value would take as long as a fifth of the writing.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = 32  # Delta's own limit (delta.dataSkippingNumIndexedCols)
TEXT_LENGTH = 32


class PartStats:
    """Collects the statistics batch by batch; bounds come with the footer of the file that was written."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._nulls = {field.name: 0 for field in list(schema)[:COLUMNS]}
        self._floats = [field.name for field in list(schema)[:COLUMNS] if pa.types.is_floating(field.type)]
        self._bounded = {field.name for field in list(schema)[:COLUMNS] if _ordered(field.type)}

    def update(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        self.rows += table.num_rows
        for name in self._nulls:
            self._nulls[name] += table[name].null_count
        for name in self._floats:
            if pc.any(pc.is_nan(table[name])).as_py():
                self._bounded.discard(name)  # NaN has no place in an order

    def to_json(self, footer: pq.FileMetaData | None) -> str:
        """The statistics as Delta's JSON; without a footer, of a part without rows."""
        least, greatest = self._bounds(footer) if footer is not None else ({}, {})
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: value for name, value in least.items() if value is not None},
                "maxValues": {name: value for name, value in greatest.items() if value is not None},
                "nullCount": self._nulls,
            },
            allow_nan=False,
        )

    def _bounds(self, footer: pq.FileMetaData) -> tuple[dict[str, Any], dict[str, Any]]:
        least: dict[str, list[Any]] = {}
        greatest: dict[str, list[Any]] = {}
        unknown: set[str] = set()
        for group in map(footer.row_group, range(footer.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                name, stats = column.path_in_schema, column.statistics
                if name not in self._bounded:
                    continue
                if stats is None or (stats.num_values and not stats.has_min_max):
                    unknown.add(name)  # a very long text has no bounds
                elif stats.has_min_max:
                    try:
                        low, high = stats.min, stats.max
                    except OverflowError:  # a time that Python has no word for
                        unknown.add(name)
                    else:  # each for itself: of zeros, the writer gives -0.0 and 0.0, and readers tell them apart
                        least.setdefault(name, []).append(low)
                        greatest.setdefault(name, []).append(high)
        return (
            {name: _lower(min(values)) for name, values in least.items() if name not in unknown},
            {name: _upper(max(values)) for name, values in greatest.items() if name not in unknown},
        )


def _ordered(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_timestamp(kind)
        or pa.types.is_date(kind)
    )


def _lower(value: Any) -> Any:
    return value[:TEXT_LENGTH] if isinstance(value, str) else _plain(value)


def _upper(value: Any) -> Any:
    """A cut text is followed by the last code point, so that it stays above every text that begins like it."""
    if isinstance(value, str):
        return value if len(value) <= TEXT_LENGTH else value[:TEXT_LENGTH] + "\U0010ffff"
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{text}Z" if value.tzinfo else text
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
