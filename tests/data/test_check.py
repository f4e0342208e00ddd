"""Check states: laws of merging, exact figures, values that leave the state, violations, errors."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.data.check import CheckState, violations
from millrace.data.check_counts import Counted, ValueCounts, blocks
from millrace.data.check_moments import Moments
from millrace.data.check_text import matches
from millrace.data.expectations import EXPECTATIONS, validate_expectation
from millrace.errors import CheckFailed, CorruptData
from millrace.spec import Column, Expectation

SCHEMA = pa.schema({"n": pa.int64(), "x": pa.float64(), "s": pa.string(), "t": pa.timestamp("us"), "b": pa.bool_()})


def expect(name: str, severity: str = "fail", **arguments: Any) -> Expectation:
    return Expectation(expect=name, severity=severity, **arguments)  # type: ignore[arg-type]


ONE_OF_EACH_STATE = [
    expect("column_values_to_not_be_null", column="n"),
    expect("column_values_to_be_between", column="x", min_value=0),
    expect("column_values_to_match_regex", column="s", regex="^a"),
    expect("column_values_to_be_unique", column="s", row_condition='col("n") > 0'),
    expect("column_mean_to_be_between", column="x", max_value=1),
    expect("column_stdev_to_be_between", column="n", max_value=1),
    expect("column_min_to_be_between", column="t", min_value="2018-01-01"),
    expect("column_median_to_be_between", column="x", min_value=0),
    expect("column_most_common_value_to_be_in_set", column="b", value_set=[True]),
    expect("column_distinct_values_to_equal_set", column="n", value_set=[1, 2]),
    expect("column_value_z_scores_to_be_less_than", column="n", threshold=1, double_sided=True),
    expect("column_pair_values_a_to_be_greater_than_b", column_A="n", column_B="x"),
    expect("compound_columns_to_be_unique", column_list=["s", "b"]),
    expect("table_row_count_to_equal", value=3),
]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
            "x": st.none() | st.sampled_from([0.0, -0.0, 0.1, 1e308, -1e308, 5e-324]) | st.floats(allow_nan=False),
            "s": st.none() | st.text("ab\\\x1fé\n", max_size=3),
            "t": st.none() | st.datetimes(),
            "b": st.none() | st.booleans(),
        }
    ),
    max_size=12,
)


def state_of(rows: list[dict[str, Any]]) -> CheckState:
    state = CheckState(ONE_OF_EACH_STATE, SCHEMA)
    state.update(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
    return state


def merged(*states: CheckState) -> bytes:
    whole = CheckState(ONE_OF_EACH_STATE, SCHEMA)
    for state in states:
        whole.merge(CheckState.from_bytes(state.to_bytes(), ONE_OF_EACH_STATE, SCHEMA))
    return whole.to_bytes()


def rows_with_x(*numbers: float | None) -> list[dict[str, Any]]:
    return [{"n": None, "x": number, "s": None, "t": None, "b": None} for number in numbers]


@given(ROWS, ROWS, ROWS)
@example([], rows_with_x(*range(9, 21)), rows_with_x(None, None, *range(9)))  # one more than the sample holds
@settings(max_examples=12, deadline=None)
def test_merging_is_associative_commutative_and_split_invariant(a: list, b: list, c: list) -> None:
    whole = state_of(a + b + c).to_bytes()
    one, two, three = state_of(a), state_of(b), state_of(c)
    left = CheckState.from_bytes(merged(one, two), ONE_OF_EACH_STATE, SCHEMA)
    right = CheckState.from_bytes(merged(three, two), ONE_OF_EACH_STATE, SCHEMA)
    assert merged(left, three) == merged(right, one) == merged(three, one, two) == whole


@given(ROWS)
@settings(max_examples=15, deadline=None)
def test_the_empty_state_is_neutral(rows: list) -> None:
    state = state_of(rows)
    empty = CheckState(ONE_OF_EACH_STATE, SCHEMA)
    empty.column_lists = state.column_lists
    assert merged(state, empty) == merged(empty, state) == state.to_bytes()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=30))
@settings(max_examples=50, deadline=None)
def test_mean_and_deviation_are_correctly_rounded(numbers: list[float]) -> None:
    moments = Moments.of(pa.array(numbers[:3])).merge(Moments.of(pa.array(numbers[3:], pa.float64())))
    exact = [Fraction(number) for number in numbers]
    mean = sum(exact) / len(exact)
    assert moments.mean() == float(mean)
    variance = sum((number - mean) ** 2 for number in exact) / (len(exact) - 1)
    if variance < Fraction(1e300):
        assert moments.deviation() == math.sqrt(float(variance))


def test_sums_of_integers_have_no_bound() -> None:
    moments = Moments.of(pa.array([2**63 - 1, 2**63 - 1, -5]))
    assert moments.whole_sum() == 2**64 - 7


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_are_numpys(method: str) -> None:
    source = np.random.default_rng(7)
    for size in (1, 2, 3, 10, 101, 1000):
        numbers = source.normal(size=size).round(1)
        counts = ValueCounts(pa.float64())
        counts.update(pa.array(numbers + 0.0))
        fractions = [0.0, 0.05, 0.25, 0.3, 0.5, 0.75, 0.95, 1.0]
        found = Counted(partial(blocks, counts.table), pa.float64()).quantiles(fractions, size, method)
        percents = np.array(fractions) * 100.0
        assert found == pytest.approx(np.percentile(numbers, percents, method=method).tolist(), rel=1e-15, abs=1e-15)


def test_values_that_left_the_state_give_the_same_verdict() -> None:
    source = np.random.default_rng(3)
    states, whole = [], CheckState(ONE_OF_EACH_STATE, SCHEMA)
    runs: dict[str, list[Any]] = {}
    for _ in range(4):
        rows = {
            "n": source.integers(0, 500, 400).tolist(),
            "x": source.normal(size=400).round(2).tolist(),
            "s": [f"a{number}" for number in source.integers(0, 900, 400)],
            "t": [None] * 400,
            "b": (source.random(400) < 0.5).tolist(),
        }
        batch = pa.record_batch(rows, schema=SCHEMA)
        whole.update(batch)
        state = CheckState(ONE_OF_EACH_STATE, SCHEMA)
        state.update(batch)
        for key, table in state.detach(limit=50).items():
            runs.setdefault(key, []).append(lambda table=table: iter([table.slice(0, 100), table.slice(100)]))
        states.append(state)
    assert len(runs) == 4  # n, s under its condition, x, and the compound key; b has two values only
    left = CheckState(ONE_OF_EACH_STATE, SCHEMA)
    for state in states:
        left.merge(state)
    assert left.verdict(runs) == whole.verdict()


PLAIN = st.sampled_from(["^a", "b$", "[ab]+c?", r"\d{2}", r"\w-\w", "a|b", "(ab)*c", ".", r"\.", "[^a]", "^$", "a.*?b"])


@given(st.lists(st.none() | st.text("abc1-. \né_", max_size=6), max_size=8), PLAIN)
@settings(max_examples=150, deadline=None)
def test_regular_expressions_are_pythons(texts: list, pattern: str) -> None:
    expected = [None if text is None else re.search(pattern, text) is not None for text in texts]
    assert matches(pa.array(texts, pa.string()), pattern).to_pylist() == expected


def test_violations_are_the_rows_to_quarantine() -> None:
    batch = pa.record_batch({"fare": [1.0, None, -2.0, 9.0], "kind": ["a", "a", "b", None]})
    rules = [
        expect("column_values_to_not_be_null", "quarantine", column="fare", mostly=0.1),
        expect(
            "column_values_to_be_between", "quarantine", column="fare", min_value=0, row_condition='col("kind")=="b"'
        ),
        expect("column_values_to_be_in_set", "warn", column="kind", value_set=["a"]),
    ]
    found = {name: mask.to_pylist() for name, mask in violations(batch, rules).items()}
    assert found == {
        "column_values_to_not_be_null(fare)": [False, True, False, False],
        "column_values_to_be_between(fare)": [False, False, True, False],
    }


def test_failure_names_expectation_column_figures_and_samples() -> None:
    rules = [
        expect("column_values_to_be_between", column="fare", min_value=0, mostly=0.9),
        expect("column_mean_to_be_between", column="fare", max_value=0),
        expect("column_values_to_be_unique", "warn", column="fare"),
    ]
    state = CheckState(rules, pa.schema({"fare": pa.float64()}))
    state.update(pa.record_batch({"fare": [1.0, 1.0, -2.0, 9.0]}))
    with pytest.raises(CheckFailed) as caught:
        state.verdict().raise_failed("2018-04-01")
    assert str(caught.value) == (
        "check failed for 2018-04-01, column_values_to_be_between(fare): expected min_value 0, mostly 0.9; "
        "found 1 of 4 rows (25 %) not so, such as -2.0; also failed: column_mean_to_be_between(fare)"
    )


def test_bytes_of_another_check_are_refused() -> None:
    with pytest.raises(CorruptData):
        CheckState.from_bytes(state_of([]).to_bytes(), ONE_OF_EACH_STATE[:2], SCHEMA)


COLUMNS = {
    "n": Column(type="int64", role="numeric"),
    "s": Column(type="string", role="ignore"),
    "t": Column(type="timestamp", role="time"),
}


@pytest.mark.parametrize(
    ("expectation", "mistakes"),
    [
        (
            expect("column_mean_to_be_betwen", column="n"),
            ["expected an expectation, found 'column_mean_to_be_betwen'; did you mean 'column_mean_to_be_between'?"],
        ),
        (
            expect("column_values_to_be_between", column="n", min_valu=1),
            [
                "expected an argument of column_values_to_be_between, found 'min_valu'; did you mean 'min_value'?",
                "expected at least one of min_value and max_value, found none",
            ],
        ),
        (
            expect("column_values_to_match_regex", column="s", regex="("),
            ["expected regex to be a regular expression, found '('"],
        ),
        (
            expect("column_mean_to_be_between", column="s", min_value=0),
            [
                "expected a column of type float32, float64, int16, int32, int64, int8 for column_mean_to_be_between, "
                "found 's' of string"
            ],
        ),
        (
            expect("column_values_to_be_in_set", column="n", value_set=["1"]),
            ["expected value_set to be numbers for a column of type int64, found '1'"],
        ),
        (
            expect("column_values_to_be_unique", "quarantine", column="n"),
            [
                "expected severity to be fail or warn, because column_values_to_be_unique does not judge single rows, "
                "found 'quarantine'"
            ],
        ),
        (
            expect("column_values_to_not_be_null", column="n", row_condition="s == 'a'"),
            [
                'expected row_condition to be a condition such as col("fare") > 0 or col("city").notNull(), '
                "found \"s == 'a'\""
            ],
        ),
        (expect("column_values_to_be_between", column="t", min_value="2018-01-01", mostly=0.5), []),
    ],
)
def test_mistakes_in_the_pipeline_file(expectation: Expectation, mistakes: list[str]) -> None:
    assert validate_expectation(expectation, COLUMNS) == mistakes


def test_at_least_25_types_are_offered() -> None:
    assert len(EXPECTATIONS) >= 25
