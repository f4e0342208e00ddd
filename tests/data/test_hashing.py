"""The specified hashes: literal values that may never change, and equality over types, encodings and chunks."""

from __future__ import annotations

import math
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from millrace.data.hashing import NULL_HASH, canonical_text, hash_rows, hash_values, mix, seed_of, unit
from millrace.errors import InputError


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([42, -7, None]), ["42", "-7", None]),
        (pa.array([42, 255], pa.uint8()), ["42", "255"]),
        (pa.array([42.0, -0.0, 0.1, 1e300, 2.0**63]), ["42", "0", "0.1", "1e+300", "9.223372036854776e+18"]),
        (pa.array([math.nan, math.inf, -math.inf, None]), ["nan", "inf", "-inf", None]),
        (pa.array([0.5, 3.0], pa.float32()), ["0.5", "3"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([datetime(2018, 4, 1, 5, 30)], pa.timestamp("us")), ["2018-04-01T05:30:00.000000"]),
        (pa.array([datetime(2018, 4, 1, 5, 30)], pa.timestamp("s", "UTC")), ["2018-04-01T05:30:00.000000"]),
        (pa.array([date(2018, 4, 1)]), ["2018-04-01"]),
        (pa.array(["é", "", None], pa.large_string()), ["é", "", None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_canonical_text(values: pa.Array, text: list[str | None]) -> None:
    assert canonical_text(values).to_pylist() == text


def test_values_literal() -> None:
    """xxh64 of "", "a", "42" and 40 bytes, from the reference implementation."""
    hashes = hash_values(pa.array(["", "a", "42", "0123456789" * 4, None])).tolist()
    assert hashes == [0xEF46DB3751D8E999, 0xD24EC4F1A98C6E5B, 0x6DE6F5D076D742B9, 0xCA6FC80CBDE1A931, NULL_HASH]


@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=80))
def test_values_are_xxh64_in_every_encoding(values: list[str | None]) -> None:
    expected = [NULL_HASH if value is None else xxhash.xxh64_intdigest(value.encode()) for value in values]
    plain = pa.array(values, pa.string())
    chunked = pa.chunked_array([plain[: len(values) // 3], plain[len(values) // 3 :]], pa.string())
    for array in (
        plain,
        plain.cast(pa.large_string()),
        plain.dictionary_encode(),
        chunked,
        chunked.dictionary_encode(),
    ):
        assert hash_values(array).tolist() == expected


def test_equal_numbers_meet_whatever_their_type() -> None:
    texts = hash_values(pa.array(["1", "300", None]))
    for kind in (pa.int16(), pa.int64(), pa.float32(), pa.float64()):
        assert (hash_values(pa.array([1, 300, None], kind)) == texts).all()


ROWS = pa.table(
    {
        "n": pa.array([1, 1, None, -5]),
        "f": pa.array([0.0, -0.0, 1.5, math.nan]),
        "s": pa.array(["a", "a", None, "日本"]),
        "t": pa.array([datetime(2018, 4, 1), datetime(2018, 4, 1), None, datetime(1960, 1, 1)], pa.timestamp("us")),
        "b": pa.array([True, True, None, False]),
    }
)


def test_rows_literal() -> None:
    assert [hex(value) for value in hash_rows(ROWS, ROWS.column_names).tolist()] == [
        "0x706bd7c3cddda7fc",
        "0x706bd7c3cddda7fc",
        "0x135b203dafa9278d",
        "0x41b07dd41bdd35e5",
    ]


def test_rows_do_not_depend_on_encoding_or_chunks() -> None:
    expected = hash_rows(ROWS, ["s", "n"])
    again = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])
    assert (hash_rows(again, ["s", "n"]) == expected).all()
    encoded = again.set_column(2, "s", again["s"].dictionary_encode()).set_column(
        0, "n", again["n"].dictionary_encode()
    )
    assert (hash_rows(encoded, ["s", "n"]) == expected).all()
    large = ROWS.set_column(2, "s", ROWS["s"].cast(pa.large_string())).to_batches()[0]
    assert (hash_rows(large, ["s", "n"]) == expected).all()


def test_rows_depend_on_order_and_place() -> None:
    batch = pa.table({"a": pa.array([1, 2, None]), "b": pa.array([2, 1, 3]), "c": pa.array([3, 3, None])})
    assert len({*hash_rows(batch, ["a", "b"]).tolist(), *hash_rows(batch, ["b", "a"]).tolist()}) == 4
    assert len(set(hash_rows(batch, ["a", "c"]).tolist())) == 3


def test_ranks_and_units_are_uniform() -> None:
    hashes = hash_values(pa.array(np.arange(20_000)))
    for values in (
        unit(hashes),
        unit(mix(hashes, 1)),
        unit(mix(hashes, 2)),
        unit(hash_rows(pa.table([np.arange(20_000)], ["a"]), ["a"])),
    ):
        largest_gap = np.abs(np.sort(values) - (np.arange(20_000) + 0.5) / 20_000).max()
        assert largest_gap < 2.23 / math.sqrt(20_000)  # Kolmogorov-Smirnov at 0.01 %
    assert abs(np.corrcoef(unit(mix(hashes, 1)), unit(mix(hashes, 2)))[0, 1]) < 0.03


def test_seed_is_pinned() -> None:
    assert seed_of("clicks", "sample", "2018-04-01") == 2317828401570484916
    assert seed_of("ab", "c") != seed_of("a", "bc")


def test_unhashable_type() -> None:
    with pytest.raises(InputError, match="list"):
        hash_values(pa.array([[1]]))
