"""The kernels in C give what Python gives without them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data import native
from millrace.data.clean import Cleaner
from millrace.data.clean_plan import CleanPlan
from millrace.data.convert import convert
from millrace.data.encoding import encode, kind_of
from millrace.data.hashing import hash_rows, hash_texts
from millrace.data.raw import Split, read_split
from millrace.data.records import Dialect, scan
from millrace.data.sketches import Distinct
from millrace.data.states import hash_keys
from millrace.spec import Pipeline

PIECES = ["a", "bc", ",", '"', '""', '",', ',"', '"\n', "\n", "\r", "\r\n", " ", "\0", "é", "\u00a0", "\u3000", "7"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
CELLS = "0 1 -1 +7 42 3.0 1e3 0x1f 1e400 inf nan NaN -0.0 .5 5. 128 99999999999999999999 NA x 1e5"
CELLS += " 007 - -. 1e 1e-22 1E+23 1e4294967301 9007199254740991 9007199254740993.0 0.000000000000000000012"
TIMES = ["2018-04-01", "2018-04-01 10:00:00", "2018-02-30", "0000-01-01", "2018-04-01T10:00:00Z"]
TIMES += [
    "2000-02-29T23:59:59.5",
    "1900-02-29",
    "0001-01-01 00:00:00.000001",
    "9999-12-31 23:59:60",
    "2018-04-01 10:00",
]
CELL = st.sampled_from([*CELLS.split(), *TIMES, "", " 4", "4 ", "\u00a05"])
PIPELINE = Pipeline.model_validate(
    {
        "name": "p",
        "source": {"uri": "x", "interval": "none", "null_values": ["", "NA", "nan"]},
        "columns": {
            "i": {"type": "int8", "role": "numeric"},
            "l": {"type": "int64", "role": "numeric"},
            "f": {"type": "float64", "role": "numeric"},
            "t": {"type": "timestamp", "role": "ignore"},
            "s": {"type": "string", "role": "categorical"},
            "d": {"type": "int8", "role": "numeric", "derive": {"column": "l", "matches": "^4"}},
        },
        "clean": {"l": {"range": [0, 50], "on_violation": "quarantine"}, "f": {"on_type_error": "null"}},
    }
)


pytestmark = pytest.mark.skipif(
    not native.available() and os.environ.get("CI") != "true", reason="left out: kernels in C, as nothing compiled them"
)


def without_kernels(function: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "kernels", None)
        return function()


def test_this_environment_has_them() -> None:
    """Without them, the rest of this file would compare Python with itself."""
    assert native.available()


@given(TEXT, st.booleans(), st.sampled_from([Dialect(), Dialect(quote=None), Dialect(9)]))
@settings(max_examples=400)
def test_records_begin_and_end_where_python_says(text: str, final: bool, dialect: Dialect) -> None:
    data = text.encode()

    def found() -> Any:
        block, used = scan(data, dialect, final=final)
        starts, ends = block.bounds()
        return block.data, used, starts.tolist(), ends.tolist(), block.flaws

    assert found() == without_kernels(found)


@given(TEXT)
@settings(max_examples=300)
def test_what_a_scan_notices(text: str) -> None:
    scanned = native.scan(text.encode(), 44, 34, final=True)
    if scanned is not None:
        assert scanned.has(native.NUL) == ("\0" in text)
        assert scanned.has(native.WIDE) == (not text.isascii())


@given(st.lists(st.sampled_from(["", "a", " a", "a ", "\t", "a\u00a0", "\u3000a", "\u2009", "é", "ア", "\u2028a"])))
def test_text_said_to_be_trimmed_is(cells: list[str]) -> None:
    data = "".join(f'"{cell}",\n' for cell in cells).encode()
    scanned = native.scan(data, 44, 34, final=True)
    assert scanned is not None
    found = native.parse(data, scanned, (44, 34), {"a": pa.string(), "b": None}, [])
    assert found is not None
    assert ("a" in found.trimmed) == all(cell == cell.strip() for cell in cells)


@given(st.lists(st.tuples(CELL, CELL, CELL, CELL, st.sampled_from(["a", "", " b ", "0x1", "NA"])), max_size=6))
@settings(max_examples=100, deadline=None)
def test_cells_are_read_as_without_kernels(rows: list[tuple[str, ...]]) -> None:
    data = ("i,l,f,t,s\n" + "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows)).encode()
    split = Split("x.csv", "csv", 0, len(data), 1, None, None, len(data))

    def found() -> Any:
        result: list[Any] = []
        cleaner = Cleaner(CleanPlan(), PIPELINE)
        for raw in read_split(split, PIPELINE, lambda _: io.BytesIO(data), typed=True, batch_rows=2):
            typed = convert(raw.batch, PIPELINE, trimmed=raw.trimmed)
            result.append((repr(typed.batch.to_pydict()), {name: m.to_pylist() for name, m in typed.invalid.items()}))
            for part in cleaner(raw, split):
                result.append((repr(part.batch.to_pydict()), part.quarantine.to_pylist(), part.counts.model_dump()))
        return result

    assert found() == without_kernels(found)


def test_a_null_word_with_a_quote_is_found() -> None:
    pipeline = PIPELINE.model_copy(update={"source": PIPELINE.source.model_copy(update={"null_values": ['"']})})
    data = b'i,l,f,t,s\n1,2,3,2018-04-01,""""\n1,2,3,2018-04-01,a\n'
    split = Split("x.csv", "csv", 0, len(data), 1, None, None, len(data))
    [raw] = read_split(split, pipeline, lambda _: io.BytesIO(data), columns=["s"], typed=True)
    assert raw.batch["s"].to_pylist() == [None, "a"]


def test_nothing_of_the_memory_shows_where_a_cell_is_missing() -> None:
    data = b"NA,NA,NA,NA\n" * 1000
    scanned = native.scan(data, 44, 34, final=True)
    assert scanned is not None
    types = {"a": pa.int8(), "b": pa.int64(), "c": pa.float64(), "d": pa.timestamp("us")}
    found = native.parse(data, scanned, (44, 34), types, ["NA"])
    assert found is not None
    for column in found.columns.values():
        assert column is not None
        assert column.null_count == 1000
        assert not any(column.buffers()[1].to_pybytes())


TWO = Pipeline.model_validate(
    {
        "name": "p",
        "source": {"uri": "x", "interval": "none", "header": False, "null_values": [""]},
        "columns": {"a": {"type": "string", "role": "ignore"}, "b": {"type": "string", "role": "ignore"}},
    }
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a,b", '"a","b"', '"a,""b\n",', ",", '""', "a", "a,b,c", '"é', "x,\0", "", "\r"])))
def test_any_dirt_is_read_as_without_kernels(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    split = Split("x.csv", "csv", 0, len(data), 1, None, None, len(data))

    def found() -> Any:
        raws = list(read_split(split, TWO, lambda _: io.BytesIO(data)))
        return [(raw.batch.to_pylist(), raw.rows.to_pylist(), raw.bad) for raw in raws]

    assert found() == without_kernels(found)


@given(st.lists(st.none() | st.sampled_from(["", "a", "é", "b" * 31, "b" * 32, "b" * 33, "c" * 70])), st.integers(0, 3))
@settings(deadline=None)
def test_texts_have_the_specified_hashes(texts: list[str | None], start: int) -> None:
    array = pa.array(texts, pa.string())[start:]
    found = encode(array, "string")
    plain = without_kernels(lambda: encode(array, "string"))
    assert found.places.tolist() == plain.places.tolist()
    assert found.values.equals(plain.values)
    assert found.hashes is not None
    assert found.hashes.tolist() == without_kernels(lambda: hash_texts(plain.values)).tolist()


NUMBERS = {
    "int64": st.lists(st.none() | st.sampled_from([0, 1, -1, 2**62, -(2**63)]) | st.integers(-5, 5)),
    "uint64": st.lists(st.none() | st.integers(2**63 - 2, 2**64 - 1)),
    "float64": st.lists(st.none() | st.sampled_from([0.0, -0.0, 1.5]) | st.floats(allow_nan=False)),
}


@given(st.data(), st.integers(0, 3))
@settings(deadline=None)
def test_numbers_are_encoded_as_without_kernels(data: st.DataObject, start: int) -> None:
    kind = data.draw(st.sampled_from(sorted(NUMBERS)))
    array = pa.array(data.draw(NUMBERS[kind]), pa.type_for_alias(kind))[start:]
    name = kind_of(array.type, "")
    found, plain = encode(array, name), without_kernels(lambda: encode(array, name))
    assert found.places.tolist() == plain.places.tolist()
    assert found.values.equals(plain.values)
    assert found.hashes is not None
    assert found.hashes.tolist() == hash_keys(name, plain.values.to_pylist()).tolist()


FIELDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats() | st.just(-0.0),
    pa.timestamp("s"): st.integers(0, 2**33),
    pa.date32(): st.integers(-1000, 2**20),
    pa.string(): st.text(max_size=40),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["", "a", "bc"]),
    pa.dictionary(pa.int8(), pa.int64()): st.integers(0, 3),
    pa.null(): st.none(),
}


@given(st.data(), st.integers(0, 3))
@settings(deadline=None)
def test_rows_have_the_specified_hashes(data: st.DataObject, start: int) -> None:
    rows = data.draw(st.integers(0, 40))
    kinds = data.draw(st.lists(st.sampled_from(list(FIELDS)), max_size=4))
    cells = [data.draw(st.lists(st.none() | FIELDS[kind], min_size=rows, max_size=rows)) for kind in kinds]
    columns = [pa.array(each, kind)[start:] for each, kind in zip(cells, kinds, strict=True)]
    batch = pa.RecordBatch.from_arrays(columns, [str(place) for place in range(len(columns))])
    found = hash_rows(batch, batch.schema.names)
    assert found.tolist() == without_kernels(lambda: hash_rows(batch, batch.schema.names)).tolist()


def test_many_distinct_values() -> None:
    numbers = np.random.default_rng(1).integers(0, 40_000, 100_000)
    found = encode(pa.array(numbers), "integer")
    assert len(found.values) == len(np.unique(numbers))
    assert (found.values.to_numpy()[found.places] == numbers).all()


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 2**15 - 1)))
def test_registers(hashes: list[int]) -> None:
    array = np.array(hashes, np.uint64)
    assert (Distinct.of(array).registers == without_kernels(lambda: Distinct.of(array)).registers).all()
