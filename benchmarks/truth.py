"""Exact statistics of the events, by which every contender's answer is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

STEPS = 2_000
"""Quantiles are kept at multiples of 1 / STEPS."""


def truth(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Nulls, distinct values, mean, deviation, bounds, quantiles and most frequent values of every column, exactly."""
    found: dict[str, dict[str, Any]] = {}
    scan = pl.scan_parquet(files)
    for name, kind in scan.collect_schema().items():
        values = scan.select(name).collect()[name]
        counts = values.drop_nulls().value_counts(sort=True)
        found[name] = {
            "rows": len(values),
            "nulls": values.null_count(),
            "distinct": len(counts),
            "top": [[value, count] for value, count in counts.head(30).rows()] if kind != pl.Datetime else [],
        }
        if kind == pl.Datetime:
            values = values.dt.timestamp("us")
        found[name] |= {"min": values.min(), "max": values.max()}
        if kind != pl.String:
            ordered = values.drop_nulls().sort()
            places = [round(step * (len(ordered) - 1) / STEPS) for step in range(STEPS + 1)]
            found[name] |= {"mean": values.mean(), "std": values.std(), "grid": ordered[places].to_list()}
    return found
