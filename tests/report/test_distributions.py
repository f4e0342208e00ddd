"""Bars of distributions: worked examples, and the law that a sample of every row is its population."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.data.states import ColumnState
from millrace.data.stats import Stats
from millrace.report.distributions import OTHERS, SampleCounts, distribution


def state(values: pa.Array) -> ColumnState:
    return Stats.empty(pa.schema([("x", values.type)])).update(pa.record_batch({"x": values})).columns["x"].state


def test_texts_get_a_bar_each() -> None:
    sides = {"before": state(pa.array(["a", "a", "b", None])), "recent": state(pa.array(["a", "c"]))}
    found = distribution("x", sides)
    assert {bar.label: dict(bar.shares) for bar in found.bars} == {
        "a": {"before": 0.5, "recent": 0.5},
        "b": {"before": 0.25, "recent": 0.0},
        "c": {"before": 0.0, "recent": 0.5},
    }
    assert found.missing == {"before": 0.25, "recent": 0.0}


def test_rare_values_share_a_bar() -> None:
    values = pa.array([letter for place, letter in enumerate("abcdefghijklmn") for _ in range(20 - place)])
    found = distribution("x", {"recent": state(values)})
    assert [bar.label for bar in found.bars] == [*"abcdefghijkl", OTHERS]
    assert found.bars[-1].shares["recent"] == pytest.approx((8 + 7) / 189)


def test_whole_numbers_get_bins_of_equally_many() -> None:
    found = distribution("x", {"recent": state(pa.array(np.arange(600)))})
    assert found.numbers
    widths = {bar.high - bar.low for bar in found.bars if bar.low is not None and bar.high is not None}
    assert widths == {20.0}


def test_numbers_over_orders_of_magnitude_get_equal_ratios() -> None:
    found = distribution("x", {"recent": state(pa.array(np.geomspace(0.001, 1000, 2000) ** 2))})
    assert found.log
    assert found.bars[5].shares["recent"] == pytest.approx(1 / 30, abs=0.01)


def test_codes_are_values_even_where_they_are_numbers() -> None:
    found = distribution("x", {"recent": state(pa.array([7] * 50 + list(range(100, 120))))}, codes=True)
    assert found.bars[0].label == "7"


def test_nothing_has_no_bars() -> None:
    found = distribution("x", {"recent": state(pa.array([], pa.string()))})
    assert not found.pictured
    assert found.missing == {"recent": 0.0}


VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.text("ab<", max_size=2)), min_size=1).map(
        lambda each: pa.array(each, pa.string())
    ),
    st.lists(st.one_of(st.none(), st.integers(-50, 1000)), min_size=1).map(lambda each: pa.array(each, pa.int64())),
    st.lists(st.one_of(st.none(), st.floats(width=32).map(lambda x: x + 0.0)), min_size=1).map(
        lambda each: pa.array(each, pa.float64())
    ),
    st.lists(st.one_of(st.none(), st.booleans()), min_size=1).map(lambda each: pa.array(each, pa.bool_())),
)


@given(VALUES)
def test_a_sample_of_every_row_is_its_population(values: pa.Array) -> None:
    counts = SampleCounts("x", state(values))
    counts.update(values, np.full(len(values), 3.0))
    found = counts.result()
    assert found.distance("population", "drawn") == pytest.approx(0, abs=1e-9)
    assert found.distance("population", "weighted") == pytest.approx(0, abs=1e-9)
    total = sum(bar.shares["population"] for bar in found.bars) + found.missing["population"]
    assert total == pytest.approx(1)
