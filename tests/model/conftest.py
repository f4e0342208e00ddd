"""Small pipelines and samples for the tests of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.spec import Column, Pipeline, Source

TYPES: dict[str, tuple[str, str]] = {
    "amount": ("float64", "numeric"),
    "city": ("string", "categorical"),
    "shop": ("int64", "categorical"),
    "at": ("timestamp", "time"),
    "bought": ("int8", "label"),
}


@pytest.fixture(scope="session")
def shop_pipeline() -> Callable[..., Pipeline]:
    """A pipeline of a number, a category of few values, one of many, a time and a label; keywords set its sections."""

    def make(name: str = "shop", **sections: Any) -> Pipeline:
        columns = {name: Column(type=kind, role=role) for name, (kind, role) in TYPES.items()}  # type: ignore[arg-type]
        return Pipeline(name=name, source=Source(uri="x", time="at"), columns=columns, **sections)

    return make


@pytest.fixture(scope="session")
def shop() -> Callable[..., pa.Table]:
    """Rows whose log-odds are amount + the city's effect + the shop's effect - 2, a tenth of each missing."""

    def make(rows: int = 4000, seed: int = 0) -> pa.Table:
        draw = np.random.default_rng(seed)
        effects = np.random.default_rng(99)  # the same shops and cities in every table
        cities, shops = effects.normal(size=5), effects.normal(size=200)
        amount, city, shop = draw.normal(size=rows), draw.integers(0, 5, rows), draw.integers(0, 200, rows)
        odds = amount + cities[city] + shops[shop] - 2
        label = (draw.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int8)
        micros = np.sort(draw.integers(0, 20 * 86_400_000_000, rows)) + 1_520_000_000_000_000
        return pa.table(
            {
                "amount": pa.array(amount, mask=draw.random(rows) < 0.1),
                "city": pa.array([f"c{value}" for value in city], mask=draw.random(rows) < 0.1),
                "shop": pa.array(shop, mask=draw.random(rows) < 0.1),
                "at": pa.array(micros, pa.timestamp("us")),
                "bought": pa.array(label),
                "row_id": pa.array(draw.permutation(rows).astype(np.int64)),
            }
        )

    return make
