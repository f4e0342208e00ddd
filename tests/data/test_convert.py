"""Raw cells as typed cells: what each type accepts and refuses, and that no cell depends on its neighbours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data.convert import convert, convert_column, typed_schema
from millrace.errors import InputError
from millrace.spec import Column, Pipeline

BAD = "bad"


def pipeline(clean: dict[str, Any] | None = None, **columns: Any) -> Pipeline:
    declared = {
        name: {"role": "ignore", **({"type": kind} if isinstance(kind, str) else kind)}
        for name, kind in columns.items()
    }
    source = {"uri": "x", "interval": "none"}
    return Pipeline.model_validate({"name": "p", "source": source, "columns": declared, "clean": clean or {}})


def read(kind: str, cells: Any, formats: list[str] | None = None) -> list[Any]:
    """The cells after conversion; BAD where invalid."""
    values = cells if isinstance(cells, pa.Array) else pa.array(cells)
    typed, invalid = convert_column(values, Column(type=kind, role="ignore", formats=formats))  # type: ignore[arg-type]
    typed.validate(full=True)
    assert typed.type == typed_schema(pipeline(a=kind)).field("a").type
    pairs = zip(typed.to_pylist(), invalid.to_pylist(), strict=True)
    assert all(value is None for value, bad in zip(typed.to_pylist(), invalid.to_pylist(), strict=True) if bad)
    return [BAD if bad else value for value, bad in pairs]


def test_integers() -> None:
    cells = ["42", "+42", "-0", "42.0", "42.", "4.5", "1e3", "1,000", "1_000", "0x1f", "", "127", "128", None]
    assert read("int8", cells) == [42, 42, 0, 42, 42, BAD, BAD, BAD, BAD, BAD, BAD, 127, BAD, None]
    assert read("int64", ["9223372036854775807", "9223372036854775808"]) == [2**63 - 1, BAD]
    assert read("int16", ["0x1f"]) == [BAD], "Arrow alone would read 31"


def test_floats() -> None:
    assert read("float64", ["1.5", "1e3", "+.5", "1.", "x", "1,5", None]) == [1.5, 1000, 0.5, 1, BAD, BAD, None]
    assert read("float64", ["inf", "-Infinity", "nan", "1e400", "1e300"]) == [BAD, BAD, BAD, BAD, 1e300]
    assert read("float32", ["1e39", "0.5"]) == [BAD, 0.5]


def test_booleans() -> None:
    yes, no = ["true", "T", "YES", "y", "1", "1.0"], ["False", "f", "no", "N", "0", "0.0"]
    assert read("bool", [*yes, *no, "2", "maybe", None]) == [True] * 6 + [False] * 6 + [BAD, BAD, None]


def test_iso_times() -> None:
    moment = datetime(2018, 4, 1, 5, 30)
    cells = [
        "2018-04-01 05:30:00",
        "2018-04-01T05:30",
        "2018-04-01T05:30:00Z",
        "2018-04-01T07:30:00+02:00",
        "2018-04-01 00:00 -0530",
    ]
    assert read("timestamp", cells) == [moment] * 5
    assert read("timestamp", ["2018-04-01T05:30:00Z"] * 2) == [moment] * 2
    fraction = ["2018-04-01 05:30:00.25", "2018-04-01T05:30:00,123456789"]
    assert read("timestamp", fraction) == [moment.replace(microsecond=250_000), moment.replace(microsecond=123_456)]
    assert read("timestamp", ["2018-04-01", "2016-02-29 23"]) == [datetime(2018, 4, 1), datetime(2016, 2, 29, 23)]


def test_moments_that_do_not_exist() -> None:
    cells = [
        "2018-02-30",
        "2018-02-29",
        "2018-13-01",
        "2018-00-10",
        "2018-04-01 24:00:00",
        "2018-04-01 05:30:60",
        "0000-01-01",
    ]
    assert read("timestamp", cells) == [BAD] * 7
    assert read("date", ["02/30/2018", "4/31/2018"], ["%m/%d/%Y"]) == [BAD, BAD]


def test_three_formats_in_one_column() -> None:
    cells = ["2018-04-01", "04/02/2018", "3 Apr 2018", "04/05/18", "tomorrow", None]
    found = read("date", cells, ["iso", "%m/%d/%Y", "%d %b %Y"])
    assert found == [date(2018, 4, 1), date(2018, 4, 2), date(2018, 4, 3), BAD, BAD, None], "no year 18"
    assert read("date", ["02/03/2018"], ["%d/%m/%Y", "%m/%d/%Y"]) == [date(2018, 3, 2)], "the first format decides"
    with_zone = read("timestamp", ["05/Jan/2018:03:04:05 +0200"], ["%d/%b/%Y:%H:%M:%S %z"])
    assert with_zone == [datetime(2018, 1, 5, 1, 4, 5)]
    assert read("timestamp", ["2018-01-05 03:04:05.25"], ["%Y-%m-%d %H:%M:%S.%f"]) == [
        datetime(2018, 1, 5, 3, 4, 5, 250_000)
    ]


def test_epoch_numbers_where_declared() -> None:
    moment = datetime(2018, 4, 6, 7, 33, 20)
    assert read("timestamp", ["1523000000", "1523000000.5", "1e30"], ["epoch"]) == [
        moment,
        moment.replace(microsecond=500_000),
        BAD,
    ]
    assert read("timestamp", pa.array([1523000000000, None]), ["epoch_ms"]) == [moment, None]
    assert read("timestamp", pa.array([1523000000])) == [BAD], "not declared"
    assert read("date", pa.array([20180406]), ["%Y%m%d"]) == [date(2018, 4, 6)]


def test_types_of_parquet_files() -> None:
    assert read("int8", pa.array([1.0, 1.5, float("nan"), float("inf"), 300.0])) == [1, BAD, None, BAD, BAD]
    assert read("int64", pa.array([2**64 - 1, 5], pa.uint64())) == [BAD, 5]
    assert read("int64", pa.array([9.3e18, 2.0**62])) == [BAD, 2**62]
    assert read("float32", pa.array([1e39, 0.5])) == [BAD, 0.5]
    assert read("float64", pa.array([Decimal("1.50")])) == [1.5]
    assert read("bool", pa.array([0, 1, 2])) == [False, True, BAD]
    assert read("string", pa.array([7, None])) == ["7", None]
    assert read("string", pa.array([b"a", b"\xff"])) == ["a", BAD]
    paris = pa.array([datetime(2018, 1, 1, 12)], pa.timestamp("ns", "Europe/Paris"))
    assert read("timestamp", paris) == [datetime(2018, 1, 1, 12)], "the instant, in UTC"
    assert read("int32", pa.array(["1", "x", None, "1"]).dictionary_encode()) == [1, BAD, None, 1]
    with pytest.raises(InputError, match="column 'a' can't be read"):
        convert(pa.record_batch({"a": [[1]]}), pipeline(a="int8"))


def test_a_batch_is_trimmed_and_what_becomes_a_null_word_is_null() -> None:
    raw = pa.record_batch({"n": [" 7 ", "  ", "x"], "s": [" a ", " ", "b"], "other": ["1", "2", "3"]})
    typed = convert(raw, pipeline(n="int8", s="string"))
    assert typed.batch.to_pydict() == {"n": [7, None, None], "s": ["a", None, "b"]}
    assert {name: mask.to_pylist() for name, mask in typed.invalid.items()} == {
        "n": [False, False, True],
        "s": [False] * 3,
    }


def test_maps_and_units_make_numbers_readable_but_leave_strings_to_cleaning() -> None:
    rules = {"w": {"unit": {"kg": 1, "lb": 0.5}}, "n": {"map": {"three": "3"}}, "s": {"map": {"a": "b"}}}
    typed = convert(
        pa.record_batch({"w": ["3 LB", "2kg", "4", "5 st"], "n": ["three", "4", "x", None], "s": ["a"] * 4}),
        pipeline(rules, w="float64", n="int8", s="string"),
    )
    assert typed.batch.to_pydict() == {"w": [1.5, 2, 4, None], "n": [3, 4, None, None], "s": ["a"] * 4}


CELLS = {
    "int16": ["7", "7.0", "x", "99999", "0x1f", "+3"],
    "float64": ["1.5", "inf", "1e400", "-2", "q"],
    "bool": ["yes", "0", "q"],
    "timestamp": ["2018-04-01", "2018-02-30", "2018-04-01T05:30:00Z", "2018-04-01 05:30:00.1234567", "2018-04-01 05"],
    "date": ["2018-04-01", "2018-04-01 05:30", "x"],
}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_cell_never_depends_on_its_neighbours(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(CELLS)))
    cells = data.draw(st.lists(st.sampled_from([*CELLS[kind], None]), min_size=1, max_size=8))
    alone = [read(kind, pa.array([cell], pa.string()))[0] for cell in cells]
    assert read(kind, pa.array(cells, pa.string())) == alone
    assert read(kind, pa.array(cells, pa.string()).dictionary_encode()) == alone


@settings(deadline=None, max_examples=60)
@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_python_and_millrace_read_the_same_iso_times(moment: datetime) -> None:
    assert read("timestamp", [moment.isoformat(), moment.isoformat() + "Z", "?"]) == [moment, moment, BAD]


@pytest.mark.realdata
def test_blank_totals_of_telco_are_missing_not_invalid(real_data: Callable[[str], Path]) -> None:
    [file] = real_data("telco_churn").glob("*.csv")
    text = pa.csv.ConvertOptions(column_types={"TotalCharges": pa.string()}, include_columns=["TotalCharges"])
    table = pa.csv.read_csv(file, convert_options=text).combine_chunks()
    typed = convert(table.to_batches()[0], pipeline(TotalCharges="float64"))
    assert typed.batch["TotalCharges"].null_count == 11
    assert not any(typed.invalid["TotalCharges"].to_pylist())
