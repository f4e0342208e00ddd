"""Delta's statistics of a part: rows, and per column the least and greatest value and the count of nulls.

Readers leave a file out when these prove that no row can match, so a bound may be loose, never tight on the wrong side.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = 32  # Delta's own limit (delta.dataSkippingNumIndexedCols)
TEXT_LENGTH = 32


class PartStats:
    """Collects the statistics batch by batch."""

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = 0
        self._nulls = {field.name: 0 for field in list(schema)[:COLUMNS]}
        self._bounded = [field.name for field in list(schema)[:COLUMNS] if _ordered(field.type)]
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}
        self._unbounded: set[str] = set()  # NaN was seen: it has no place in an order

    def update(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        self.rows += table.num_rows
        for name in self._nulls:
            self._nulls[name] += table[name].null_count
        for name in self._bounded:
            column = table[name]
            if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
                self._unbounded.add(name)
            bounds = pc.min_max(column)
            least, greatest = bounds["min"].as_py(), bounds["max"].as_py()
            if least is None:
                continue
            self._least[name] = min(self._least.get(name, least), least)
            self._greatest[name] = max(self._greatest.get(name, greatest), greatest)

    def to_json(self) -> str:
        """The statistics as Delta's JSON."""
        least = {name: _lower(value) for name, value in self._least.items() if name not in self._unbounded}
        greatest = {name: _upper(value) for name, value in self._greatest.items() if name not in self._unbounded}
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: value for name, value in least.items() if value is not None},
                "maxValues": {name: value for name, value in greatest.items() if value is not None},
                "nullCount": self._nulls,
            },
            allow_nan=False,
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
