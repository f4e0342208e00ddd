"""The verdict equals Great Expectations', run in memory on the same rows: every type offered, any split of the rows."""

from __future__ import annotations

import json
import math
import os
import random
import warnings
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest

from millrace.data.check import CheckState, to_pandas
from millrace.data.check_verdict import Outcome, Verdict, plain
from millrace.data.convert import TYPES as TYPED
from millrace.data.expectations import EXPECTATIONS, moment, validate_expectation
from millrace.spec import Column, Expectation
from millrace.without_pyspark import without_pyspark

SCHEMA = pa.schema(
    {
        "n": pa.int64(),
        "m": pa.int8(),
        "x": pa.float64(),
        "f": pa.float32(),
        "s": pa.string(),
        "t": pa.timestamp("us"),
        "u": pa.timestamp("us"),
        "d": pa.date32(),
        "b": pa.bool_(),
        "k": pa.string(),
    }
)
TYPES = {"n": "int64", "m": "int8", "x": "float64", "f": "float32", "s": "string", "t": "timestamp", "u": "timestamp"}
TYPES |= {"d": "date", "b": "bool", "k": "string"}
COLUMNS = {name: Column(type=kind, role="ignore") for name, kind in TYPES.items()}  # type: ignore[arg-type]


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2018, 1, number, hour)


MIXED = pa.table(
    {
        "n": [3, 1, None, 2, 2, 7, -4, 2, 11, 2],
        "m": [3, 2, None, 1, None, 7, 0, 2, 11, 4],
        "x": [1.5, None, -2.0, 0.25, 1.5, 9.0, 0.1, -0.0, 0.0, 1e-3],
        "f": [0.5, 0.25, None, 0.1, 0.1, 3.0, -1.0, 2.0, 8.0, 2.5],
        "s": ["a", "bb", None, "ccc", "a", "12", "", "ä\n", "2018-01-02", '{"a": 1}'],
        "t": [day(1), day(2), None, day(4, 5), day(5), day(5), day(9), day(1), day(3), day(3)],
        "u": [day(1), day(3), day(2), None, day(4), day(5), day(8), day(2), day(3), day(3)],
        "d": [date(2018, 1, 1), None, date(2018, 1, 2), *[date(2018, 1, 3)] * 7],
        "b": [True, False, None, True, True, True, False, True, True, False],
        "k": ["p", "q", "p", None, "q", "p", "p", "p", "q", "q"],
    },
    schema=SCHEMA,
)
FRAMES = {
    "mixed": MIXED,
    "one row": MIXED.slice(0, 1),
    "all null": pa.Table.from_pylist([dict.fromkeys(SCHEMA.names)] * 3, schema=SCHEMA),
    "no rows": SCHEMA.empty_table(),
}


def expect(name: str, **arguments: Any) -> Expectation:
    return Expectation(expect=name, **arguments)


SINGLE = [
    *[expect("column_values_to_not_be_null", column=name, mostly=0.9) for name in SCHEMA.names],
    *[expect("column_values_to_be_null", column=name, mostly=0.1) for name in ("n", "s", "t")],
    expect("column_values_to_be_of_type", column="n", type_="int64"),
    expect("column_values_to_be_of_type", column="n", type_="int"),
    expect("column_values_to_be_of_type", column="m", type_="int"),
    expect("column_values_to_be_of_type", column="m", type_="int8"),
    expect("column_values_to_be_of_type", column="x", type_="float"),
    expect("column_values_to_be_of_type", column="f", type_="float64"),
    expect("column_values_to_be_of_type", column="s", type_="str"),
    expect("column_values_to_be_of_type", column="s", type_="int"),
    expect("column_values_to_be_of_type", column="s", type_="object"),
    expect("column_values_to_be_of_type", column="b", type_="bool"),
    expect("column_values_to_be_of_type", column="t", type_="datetime64"),
    expect("column_values_to_be_in_type_list", column="n", type_list=["Int64Dtype", "str"]),
    expect("column_values_to_be_in_type_list", column="n", type_list=["float64"]),
    expect("column_values_to_be_in_type_list", column="s", type_list=["str", "int"]),
    expect("column_values_to_be_in_type_list", column="s", type_list=["int"]),
    expect("column_values_to_be_in_type_list", column="x", type_list=["float"]),
    expect("column_values_to_be_in_type_list", column="b", type_list=["BooleanDtype"]),
    expect("column_values_to_be_in_type_list", column="t", type_list=["datetime64[ns]"]),
    expect("column_values_to_be_in_type_list", column="t", type_list=["datetime64"]),
    expect("column_values_to_be_in_set", column="n", value_set=[1, 2, 2.5]),
    expect("column_values_to_be_in_set", column="x", value_set=[1.5, 9, 0], mostly=0.3),
    expect("column_values_to_be_in_set", column="s", value_set=["a", "bb"]),
    expect("column_values_to_be_in_set", column="t", value_set=["2018-01-01", "2018-01-04T05:00:00"]),
    expect("column_values_to_be_in_set", column="b", value_set=[True]),
    expect("column_values_to_not_be_in_set", column="n", value_set=[2, 100]),
    expect("column_values_to_not_be_in_set", column="s", value_set=["zz"]),
    expect("column_values_to_not_be_in_set", column="t", value_set=["2018-01-05"]),
    expect("column_values_to_be_between", column="n", min_value=1, max_value=3, mostly=0.75),
    expect("column_values_to_be_between", column="x", min_value=0, strict_min=True),
    expect("column_values_to_be_between", column="f", max_value=0.1),
    expect("column_values_to_be_between", column="t", min_value="2018-01-02", max_value="2018-01-05T00:00:00"),
    expect("column_values_to_be_between", column="d", min_value="2018-01-02", strict_min=True),
    expect("column_value_lengths_to_be_between", column="s", min_value=1, max_value=2),
    expect("column_value_lengths_to_be_between", column="n", min_value=1, max_value=2, strict_max=True),
    expect("column_value_lengths_to_equal", column="s", value=1),
    expect("column_value_lengths_to_equal", column="n", value=2),
    expect("column_values_to_match_regex", column="s", regex="^[a-z]+$"),
    expect("column_values_to_match_regex", column="s", regex=r"^\w$"),
    expect("column_values_to_match_regex", column="s", regex=r"(?i)A"),
    expect("column_values_to_match_regex", column="n", regex="^[12]$"),
    expect("column_values_to_not_match_regex", column="s", regex=r"\d"),
    expect("column_values_to_match_regex_list", column="s", regex_list=["^a", r"\d"], match_on="any"),
    expect("column_values_to_match_regex_list", column="s", regex_list=["1", "2"], match_on="all"),
    expect("column_values_to_not_match_regex_list", column="s", regex_list=["^a", r"\d"]),
    expect("column_values_to_match_strftime_format", column="s", strftime_format="%Y-%m-%d"),
    expect("column_values_to_be_json_parseable", column="s"),
    *[expect("column_values_to_be_unique", column=name, mostly=0.5) for name in ("n", "x", "s", "t", "b")],
    expect("column_min_to_be_between", column="n", min_value=-4, max_value=0),
    expect("column_min_to_be_between", column="n", min_value=-4, strict_min=True),
    expect("column_min_to_be_between", column="t", min_value="2017-01-01T00:00:00"),
    expect("column_max_to_be_between", column="x", max_value=9),
    expect("column_max_to_be_between", column="t", max_value="2018-01-05T00:00:00"),
    *[expect("column_mean_to_be_between", column=name, min_value=0, max_value=2) for name in ("n", "x", "f")],
    *[expect("column_median_to_be_between", column=name, min_value=1, max_value=2) for name in ("n", "x", "f")],
    *[expect("column_stdev_to_be_between", column=name, min_value=1, max_value=4) for name in ("n", "x", "f")],
    *[expect("column_sum_to_be_between", column=name, min_value=0, max_value=26) for name in ("n", "m", "x", "f")],
    *[expect("column_unique_value_count_to_be_between", column=name, max_value=6) for name in SCHEMA.names],
    *[expect("column_proportion_of_unique_values_to_be_between", column=name, min_value=0.6) for name in ("n", "s")],
    expect("column_proportion_of_non_null_values_to_be_between", column="n", min_value=0.9),
    *[
        expect(
            "column_quantile_values_to_be_between",
            column=name,
            quantile_ranges={"quantiles": [0, 0.1, 0.45, 0.5, 0.9, 1], "value_ranges": [[None, 2]] * 5 + [[9, None]]},
            **({"allow_relative_error": method} if method else {}),
        )
        for name in ("n", "x")
        for method in ("", "linear", "lower", "higher", "midpoint", "nearest")
    ],
    expect("column_distinct_values_to_be_in_set", column="n", value_set=[1, 2, 3, 7, 11, -4]),
    expect("column_distinct_values_to_be_in_set", column="s", value_set=["a"]),
    expect("column_distinct_values_to_equal_set", column="k", value_set=["p", "q"]),
    expect("column_distinct_values_to_equal_set", column="t", value_set=["2018-01-01", "2018-02-01"]),
    expect("column_distinct_values_to_equal_set", column="b", value_set=[True, False]),
    expect("column_distinct_values_to_contain_set", column="n", value_set=[1, 9]),
    expect("column_distinct_values_to_contain_set", column="x", value_set=[0, 1.5]),
    expect("column_most_common_value_to_be_in_set", column="n", value_set=[2, 5]),
    expect("column_most_common_value_to_be_in_set", column="m", value_set=[2]),
    expect("column_most_common_value_to_be_in_set", column="m", value_set=[2], ties_okay=True),
    expect("column_most_common_value_to_be_in_set", column="k", value_set=["p"], ties_okay=True),
    expect("column_values_to_be_between", column="n", min_value=2, row_condition='col("k") == "p"'),
    expect("column_values_to_be_between", column="n", min_value=2, row_condition='col("k") != "p"'),
    expect("column_values_to_be_between", column="n", min_value=2, row_condition='col("m") != 3'),
    expect("column_values_to_be_between", column="n", min_value=2, row_condition='col("x") != 1.5'),
    expect("column_mean_to_be_between", column="x", min_value=1, row_condition='col("n").notNull()'),
    expect("column_values_to_be_unique", column="n", row_condition='col("x") > 0'),
    expect("column_unique_value_count_to_be_between", column="s", max_value=4, row_condition='col("m") <= 3'),
    expect("table_row_count_to_be_between", min_value=1, max_value=10),
    expect("table_row_count_to_equal", value=10),
    expect("table_row_count_to_equal", value=5, row_condition='col("k") == "p"'),
    expect("table_column_count_to_equal", value=10),
    expect("table_column_count_to_be_between", max_value=9),
    expect("table_columns_to_match_ordered_list", column_list=["n", "m", "f", "x"]),
    expect("table_columns_to_match_ordered_list", column_list=SCHEMA.names),
    expect("table_columns_to_match_set", column_set=["n", "nosuch"]),
    expect("table_columns_to_match_set", column_set=["n", "m"], exact_match=False),
    expect("table_columns_to_match_set", column_set=SCHEMA.names),
    expect("column_to_exist", column="n"),
    expect("column_to_exist", column="m", column_index=2),
    expect("column_to_exist", column="nosuch"),
]
SEVERAL = [
    expect("column_value_z_scores_to_be_less_than", column="n", threshold=1.0, double_sided=True),
    expect("column_value_z_scores_to_be_less_than", column="x", threshold=0.5, double_sided=False),
    *[
        expect("column_pair_values_to_be_equal", column_A=a, column_B=b, **ignore)
        for a, b in (("n", "m"), ("x", "f"), ("t", "u"), ("s", "k"))
        for ignore in ({}, {"ignore_row_if": "either_value_is_missing"}, {"ignore_row_if": "neither"})
    ],
    expect("column_pair_values_a_to_be_greater_than_b", column_A="n", column_B="m", or_equal=True),
    expect("column_pair_values_a_to_be_greater_than_b", column_A="n", column_B="x", mostly=0.5),
    expect(
        "column_pair_values_a_to_be_greater_than_b",
        column_A="t",
        column_B="u",
        ignore_row_if="either_value_is_missing",
        row_condition='col("k") == "p"',
    ),
    expect("column_pair_values_to_be_in_set", column_A="n", column_B="m", value_pairs_set=[[3, 3], [1, 2], [2, None]]),
    expect("column_pair_values_to_be_in_set", column_A="s", column_B="n", value_pairs_set=[["a", 3], ["a", 2.0]]),
    expect("multicolumn_sum_to_equal", column_list=["n", "m"], sum_total=6),
    expect("multicolumn_sum_to_equal", column_list=["n", "x"], sum_total=4.5, ignore_row_if="any_value_is_missing"),
    expect("multicolumn_values_to_be_equal", column_list=["n", "m", "x"]),
    expect("multicolumn_values_to_be_equal", column_list=["t", "u"], ignore_row_if="never"),
    expect("select_column_values_to_be_unique_within_record", column_list=["n", "m"]),
    expect("select_column_values_to_be_unique_within_record", column_list=["n", "m", "x"], ignore_row_if="never"),
    expect("select_column_values_to_be_unique_within_record", column_list=["s", "k"], mostly=0.8),
    expect("compound_columns_to_be_unique", column_list=["n", "k"]),
    expect("compound_columns_to_be_unique", column_list=["b", "k"], ignore_row_if="any_value_is_missing"),
    expect("compound_columns_to_be_unique", column_list=["d", "b", "k"], ignore_row_if="never"),
    expect("compound_columns_to_be_unique", column_list=["x", "k"], mostly=0.5, row_condition='col("s").notNull()'),
]


def great_expectations_verdict(frame: Any, expectations: list[Expectation], times: set[str]) -> list[tuple[bool, dict]]:
    """Success and result of each expectation from Great Expectations itself."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with without_pyspark():
            import great_expectations as gx
            from great_expectations.expectations.registry import get_expectation_impl

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        suite = gx.ExpectationSuite(name="check")
        ids = []
        for each in expectations:
            arguments = {name: as_time(each, name, value, times) for name, value in each.arguments.items()}
            if "row_condition" in arguments:
                arguments["condition_parser"] = "great_expectations"
            notes = {"place": len(ids)}
            suite.expectations.append(get_expectation_impl(f"expect_{each.expect}")(**arguments, meta=notes))
            ids.append(notes)
        results = batch.validate(suite, result_format="SUMMARY").results
    found: dict[int, tuple[bool, dict]] = {}
    for result in results:
        raised = json.dumps(result.exception_info, default=str)
        broken = "exception_message" in raised and '"raised_exception": false' not in raised
        assert not broken or frame["n"].isna().all(), result  # quantiles of no integers raise: not met
        found[result.expectation_config.meta["place"]] = (bool(result.success), dict(result.result))
    return [found[place] for place in range(len(expectations))]


def as_time(expectation: Expectation, name: str, value: Any, times: set[str]) -> Any:
    """Limits and sets of time columns as times: Great Expectations reads only some of their texts so."""
    if expectation.arguments.get("column") not in times:
        return value
    if name in ("min_value", "max_value"):
        return moment(value)
    return [moment(each) for each in value] if name == "value_set" else value


def simple(value: Any) -> Any:
    """Numpy and pandas values as plain ones; every missing value as None."""
    if isinstance(value, dict):
        return {key: simple(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [simple(each) for each in value]
    if hasattr(value, "dtype") and str(value.dtype).startswith("datetime64"):
        return None if str(value) == "NaT" else str(value)[:19]
    value = value.item() if hasattr(value, "item") else value
    if value is None or str(value) in ("<NA>", "NaT") or value != value:
        return None
    return plain(value)


def ordered(values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))


def same(ours: Any, theirs: Any) -> bool:
    """Equal, floats to 12 digits: theirs are rounded at each step."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)
    return ours == theirs


def compare(outcome: Outcome, theirs: tuple[bool, dict]) -> None:
    success, result = theirs
    told = (
        f"{outcome.expect} {outcome.arguments}\nours:   {outcome.success} {outcome.result}\ntheirs: {success} {result}"
    )
    assert outcome.success == success, told
    for name, value in result.items():
        if name in ("partial_unexpected_index_list", "partial_unexpected_counts", "unexpected_index_query"):
            continue
        ours, other = outcome.result[name], simple(value)
        if name in ("partial_unexpected_list", "partial_missing_list") and len(other) < 20:
            ours, other = ordered(ours), ordered(other)
        elif name.startswith("partial_"):
            assert len(ours) == len(other), told
            continue
        assert same(ours, other), f"{name}\n{told}"


def verdict_of_split(table: pa.Table, expectations: list[Expectation], pieces: int, seed: int) -> Verdict:
    """The verdict from states of `pieces` parts of the shuffled rows, sent as bytes and merged in a random order."""
    source = random.Random(seed)
    order = list(range(table.num_rows))
    source.shuffle(order)
    states = []
    for piece in range(pieces):
        state = CheckState(expectations, table.schema)
        for batch in table.take(pa.array(sorted(order[piece::pieces]), pa.int64())).to_batches(
            max_chunksize=max(4, table.num_rows // 20)
        ):
            state.update(batch)
        states.append(state.to_bytes())
    source.shuffle(states)
    merged = CheckState(expectations, table.schema)
    for data in states:
        merged.merge(CheckState.from_bytes(data, expectations, table.schema))
    return merged.verdict()


def test_every_type_offered_is_compared() -> None:
    assert {each.expect for each in SINGLE + SEVERAL} == set(EXPECTATIONS)


def test_compared_expectations_are_valid() -> None:
    mistakes = [words for each in SINGLE + SEVERAL for words in validate_expectation(each, COLUMNS)]
    assert mistakes == []


@pytest.mark.parametrize("name", FRAMES)
def test_verdict_is_great_expectations_own(name: str) -> None:
    table = FRAMES[name]
    for expectations, numbers in ((SINGLE, False), (SEVERAL, True)):
        theirs = great_expectations_verdict(to_pandas(table, numbers=numbers), expectations, {"t", "u", "d"})
        for pieces in (1, 4):
            verdict = verdict_of_split(table, expectations, pieces, seed=pieces)
            for outcome, other in zip(verdict.outcomes, theirs, strict=True):
                compare(outcome, other)


FRAUD = {
    "TRANSACTION_ID": "int64",
    "TX_DATETIME": "timestamp",
    "CUSTOMER_ID": "int32",
    "TERMINAL_ID": "string",
    "TX_AMOUNT": "float64",
    "TX_TIME_SECONDS": "int64",
    "TX_TIME_DAYS": "int16",
    "TX_FRAUD": "int8",
    "TX_FRAUD_SCENARIO": "int8",
}
FRAUD_SINGLE = [
    *[expect("column_values_to_not_be_null", column=name) for name in FRAUD],
    expect("column_values_to_be_unique", column="TRANSACTION_ID"),
    expect("column_values_to_be_unique", column="CUSTOMER_ID", mostly=0.2),
    expect("column_values_to_be_in_set", column="TX_FRAUD", value_set=[0]),
    expect("column_distinct_values_to_equal_set", column="TX_FRAUD_SCENARIO", value_set=[0, 1, 2, 3]),
    expect("column_values_to_be_between", column="TX_AMOUNT", min_value=1, max_value=200, mostly=0.99),
    expect("column_values_to_be_between", column="TX_DATETIME", min_value="2018-04-01T06:00:00", strict_min=True),
    expect("column_values_to_match_regex", column="TERMINAL_ID", regex="^[1-9][0-9]{2,3}$"),
    expect("column_value_lengths_to_be_between", column="TERMINAL_ID", min_value=3, max_value=4, mostly=0.98),
    expect("column_values_to_match_strftime_format", column="TERMINAL_ID", strftime_format="%Y"),
    expect("column_min_to_be_between", column="TX_DATETIME", min_value="2018-04-01T00:00:00"),
    expect("column_max_to_be_between", column="TX_AMOUNT", max_value=500),
    expect("column_mean_to_be_between", column="TX_AMOUNT", min_value=50, max_value=55),
    expect("column_median_to_be_between", column="TX_AMOUNT", min_value=40, max_value=45),
    expect("column_stdev_to_be_between", column="TX_AMOUNT", min_value=40, max_value=42),
    expect("column_sum_to_be_between", column="TX_AMOUNT", min_value=500_000),
    expect("column_sum_to_be_between", column="TX_TIME_SECONDS", max_value=420_000_000),
    *[
        expect(
            "column_quantile_values_to_be_between",
            column="TX_AMOUNT",
            quantile_ranges={"quantiles": [0.05, 0.5, 0.95, 0.999], "value_ranges": [[1, 10]] + [[None, 150]] * 3},
            allow_relative_error=method,
        )
        for method in ("linear", "nearest", "midpoint")
    ],
    expect("column_unique_value_count_to_be_between", column="CUSTOMER_ID", min_value=4000),
    expect("column_proportion_of_unique_values_to_be_between", column="CUSTOMER_ID", max_value=0.4),
    expect("column_most_common_value_to_be_in_set", column="TX_FRAUD", value_set=[0]),
    expect("column_mean_to_be_between", column="TX_AMOUNT", min_value=100, row_condition='col("TX_FRAUD") == 1'),
    expect("table_row_count_to_be_between", min_value=9000, max_value=10_000),
]
FRAUD_SEVERAL = [
    expect("column_value_z_scores_to_be_less_than", column="TX_AMOUNT", threshold=3, double_sided=True, mostly=0.99),
    expect("column_pair_values_a_to_be_greater_than_b", column_A="TX_TIME_SECONDS", column_B="TX_TIME_DAYS"),
    expect("compound_columns_to_be_unique", column_list=["CUSTOMER_ID", "TERMINAL_ID", "TX_DATETIME"]),
    expect("compound_columns_to_be_unique", column_list=["CUSTOMER_ID", "TERMINAL_ID"], mostly=0.9),
    expect("multicolumn_sum_to_equal", column_list=["TX_FRAUD", "TX_FRAUD_SCENARIO"], sum_total=0),
]


@pytest.mark.realdata
def test_verdict_on_a_day_of_real_transactions(real_data: Callable[[str], Path]) -> None:
    types = {name: TYPED[kind] for name, kind in FRAUD.items()}
    options = pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(FRAUD))
    table = pyarrow.csv.read_csv(real_data("fraud_daily") / "2018-04-01.csv.gz", convert_options=options)
    for expectations, numbers in ((FRAUD_SINGLE, False), (FRAUD_SEVERAL, True)):
        theirs = great_expectations_verdict(to_pandas(table, numbers=numbers), expectations, {"TX_DATETIME"})
        verdict = verdict_of_split(table, expectations, 7, seed=1)
        for outcome, other in zip(verdict.outcomes, theirs, strict=True):
            compare(outcome, other)
