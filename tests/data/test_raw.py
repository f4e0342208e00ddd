"""Readers: each kind of file and of dirt by hand, then the law that cutting a file never changes what is read."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import millrace.data.records as records
from millrace.data import bytestream
from millrace.data.raw import BadRow, RawBatch, Split, read_split
from millrace.errors import InputError
from millrace.mapreduce.splits import plan_splits
from millrace.spec import Column, Pipeline, Source
from millrace.storage.files import SourceFile


def pipeline(*columns: str, raw: dict[str, str] | None = None, **source: Any) -> Pipeline:
    return Pipeline(
        name="p",
        source=Source(uri="x", interval="none", **source),
        columns={name: Column(type="string", role="categorical", source=(raw or {}).get(name)) for name in columns},
    )


def batches(data: bytes, path: str = "x.csv", pipe: Pipeline | None = None, **options: Any) -> list[RawBatch]:
    pipe = pipe or pipeline("a", "b")
    split = Split(path, pipe.source.format, 0, len(data), 1, None, None, len(data))
    return list(read_split(split, pipe, lambda _: io.BytesIO(data), **options))


def flat(found: list[RawBatch]) -> tuple[list[tuple[Any, ...]], list[int], list[BadRow]]:
    rows = [tuple(row.values()) for one in found for row in one.batch.to_pylist()]
    return rows, [number for one in found for number in one.rows.to_pylist()], [bad for one in found for bad in one.bad]


def read(data: bytes, path: str = "x.csv", pipe: Pipeline | None = None, **options: Any) -> Any:
    return flat(batches(data, path, pipe, **options))


GOOD = ([("1", "2"), ("3", "4")], [1, 2], [])


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n3,4\n",
        b"a,b\n1,2\n3,4",
        b"a,b\r\n1,2\r\n3,4\r\n",
        b"a,b\r1,2\r3,4\r",
        b"\xef\xbb\xbfa,b\n1,2\n3,4\n",
        b'\xef\xbb\xbf"a",b\n1,"2"\n"3",4\n',
        b"\na,b\n\n1,2\n\n\n3,4\n\n",
        b" a , b \n1,2\n3,4\n",
    ],
)
def test_line_ends_byte_order_mark_quotes_and_blank_lines(data: bytes) -> None:
    assert read(data) == GOOD


@pytest.mark.parametrize(
    ("path", "pack"),
    [("x.csv.gz", gzip.compress), ("x.csv.bz2", bz2.compress), ("x.csv.xz", lzma.compress), ("x", gzip.compress)],
)
def test_compressed(path: str, pack: Callable[[bytes], bytes]) -> None:
    assert read(pack(b"a,b\n1,2\n") + pack(b"3,4\n"), path) == GOOD


def test_zstd() -> None:
    assert read(bytes(pa.Codec("zstd").compress(b"a,b\n1,2\n3,4\n", asbytes=True)), "x.csv.zst") == GOOD


def test_tsv_other_delimiter_and_no_quote() -> None:
    assert read(b"a\tb\n1\t2\n3\t4\n", pipe=pipeline("a", "b", format="tsv")) == GOOD
    assert read(b"a|b\n1|2\n3|4\n", pipe=pipeline("a", "b", delimiter="|")) == GOOD
    quoted = read(b'a\tb\n"1\t2"\n', pipe=pipeline("a", "b", format="tsv", quote=""))
    assert quoted == ([('"1', '2"')], [1], [])


def test_columns_by_name_source_and_position() -> None:
    assert read(b"b,a\n2,1\n4,3\n") == GOOD
    assert read(b"..ip,b\n1,2\n3,4\n", pipe=pipeline("a", "b", raw={"a": "..ip"})) == GOOD
    assert read(b"1,2\n3,4\n", pipe=pipeline("a", "b", header=False)) == GOOD
    assert read(b"a,b\n1,2\n3,4\n", columns=["b"]) == ([("2",), ("4",)], [1, 2], [])


def test_null_values_quoted_or_not() -> None:
    assert read(b'a,b\n,""\nNA,"NA"\nx,y\n')[0] == [(None, None), (None, None), ("x", "y")]
    assert read(b"a,b\n,?\n", pipe=pipeline("a", "b", null_values=["?"]))[0] == [("", None)]


def test_quoted_cells() -> None:
    data = b'a,b\n"x\ny","p""q"\n"1,2",5" pipe\n'
    assert read(data)[0] == [("x\ny", 'p"q'), ("1,2", '5" pipe')]


def test_ragged_rows_are_numbered_exactly() -> None:
    rows, numbers, bad = read(b'a,b\n1,2\n\n3\n4,5,6\n"x\ny",7\n8,9,\n1,2\n')
    assert rows == [("1", "2"), ("x\ny", "7"), ("1", "2")]
    assert numbers == [1, 4, 6]
    assert bad == [
        BadRow(2, "ragged", "[1 fields, not 2] 3"),
        BadRow(3, "ragged", "[3 fields, not 2] 4,5,6"),
        BadRow(5, "ragged", "[3 fields, not 2] 8,9,"),
    ]


def test_ragged_is_ragged_whatever_columns_are_wanted() -> None:
    assert [bad.row for bad in read(b"a,b\n1,2\n3\n", columns=["a"])[2]] == [2]


def test_wrong_bytes_and_nul_take_their_row_alone() -> None:
    rows, numbers, bad = read(b"a,b\n1,2\n\xff,2\n3,\x004\n3,4\n")
    assert (rows, numbers) == ([("1", "2"), ("3", "4")], [1, 4])
    assert bad == [BadRow(2, "encoding", "\ufffd,2"), BadRow(3, "nul_byte", "3,␀4")]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift_jis", "utf-8-sig"])
def test_other_encodings(encoding: str) -> None:
    text = "é" if encoding in ("latin-1", "cp1252") else "日本" if encoding == "shift_jis" else "é日😀"
    data = f"a,b\n{text},2\n3,4\n".encode(encoding)
    assert read(data, pipe=pipeline("a", "b", encoding=encoding)) == ([(text, "2"), ("3", "4")], [1, 2], [])


def test_bytes_that_another_encoding_lacks() -> None:
    rows, numbers, bad = read(b"a,b\n\x81,2\n\xe9,4\n", pipe=pipeline("a", "b", encoding="cp1252"))
    assert (rows, numbers, [(one.row, one.reason) for one in bad]) == ([("é", "4")], [2], [(1, "encoding")])


@pytest.mark.parametrize(
    ("data", "rows", "bad"),
    [
        (b'a,b\n1,"open\n3,4\n5,6\n', [("3", "4"), ("5", "6")], [1]),  # never closed
        (b'a,b\n1,"open\n3,"4"\n5,6\n', [("3", "4"), ("5", "6")], [1]),  # closed by the next row's quote
        (b'a,b\n1,"x"y\n3,4\n', [("3", "4")], [1]),  # letters behind the closing quote
        (b'a,b\n"1","2"\n"a"b","c\n3,4\n5,"', [("1", "2"), ("3", "4")], [2, 4]),
        (b'a,b\n"1\n2",x\n5,"6"7\n"8"",9\n3,4', [("1\n2", "x"), ("3", "4")], [2, 3]),
    ],
)
def test_unbalanced_quotes_never_swallow_the_file(data: bytes, rows: list[Any], bad: list[int]) -> None:
    found, _, flawed = read(data)
    assert found == rows
    assert [(one.row, one.reason) for one in flawed] == [(row, "unbalanced_quotes") for row in bad]


def test_row_of_ten_megabytes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _, bad = read(b"a,b\n1," + b"x" * 10_000_000 + b"\n3,4\n")
    assert [len(row[1]) for row in rows] == [10_000_000, 1]
    assert bad == []


@pytest.mark.parametrize("chunk", [64, 1000, 8 << 20])
def test_longer_than_the_limit_is_a_bad_row(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(records, "MAX_RECORD", 500)
    monkeypatch.setattr(bytestream, "CHUNK", chunk)
    long = b"x" * 2000
    for data in (b"1," + long, b'1,"' + long + b'"', b'1,"' + long):
        rows, numbers, bad = read(b"a,b\n1,2\n" + data + b"\n3,4\n")
        assert (rows, numbers) == ([("1", "2"), ("3", "4")], [1, 3])
        assert [(one.row, one.reason, len(one.text)) for one in bad] == [(2, "too_long", 500)]
    lines = b"\n".join(b"3,4" for _ in range(300))
    rows, numbers, bad = read(b'a,b\n1,"2\n' + lines + b"\n")
    assert (len(rows), numbers[0], [(one.row, one.reason) for one in bad]) == (300, 2, [(1, "unbalanced_quotes")])


BIG = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(50_000))


def test_truncated_gzip_gives_the_rows_before_the_cut_and_one_bad_row() -> None:
    rows, numbers, bad = read(gzip.compress(BIG)[:-3000], "x.csv.gz")
    assert 40_000 < len(rows) < 50_000
    assert numbers == list(range(1, len(rows) + 1))
    assert [(one.row, one.reason) for one in bad] == [(len(rows) + 1, "truncated")]
    assert "ends inside" in bad[0].text


def test_gzip_that_lacks_only_its_checksum() -> None:
    rows, _, bad = read(gzip.compress(BIG)[:-4], "x.csv.gz")
    assert (len(rows), [one.reason for one in bad]) == (50_000, ["truncated"])


@pytest.mark.parametrize("pipe", [pipeline("a", "b"), pipeline("a", "b", header=False)])
def test_not_gzip_at_all(pipe: Pipeline) -> None:
    rows, _, bad = read(b"this is no gzip", "x.csv.gz", pipe)
    assert (rows, [(one.row, one.reason) for one in bad]) == ([], [(1, "corrupt")])


def test_gzip_with_a_wrong_checksum() -> None:
    packed = bytearray(gzip.compress(BIG))
    packed[-6] ^= 1
    rows, _, bad = read(bytes(packed), "x.csv.gz")
    assert (len(rows), [one.reason for one in bad]) == (50_000, ["corrupt"])


def test_a_file_that_became_shorter_is_noticed() -> None:
    split = Split("x.csv", "csv", 0, 100, 1, None, None, 100)
    found = flat(list(read_split(split, pipeline("a", "b"), lambda _: io.BytesIO(b"a,b\n1,2\n3,4\n"))))
    assert found[0] == GOOD[0]
    assert [(one.row, one.reason) for one in found[2]] == [(3, "truncated")]


@pytest.mark.parametrize(("data", "path"), [(b"", "x.csv"), (b"", "x.csv.gz"), (b"\n\n", "x"), (b"a,b\n", "x.csv")])
def test_empty_and_header_only_are_zero_rows(data: bytes, path: str) -> None:
    assert batches(data, path) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,c\n1,2\n", ["missing column 'b' in x.csv", "expected 2 columns 'a', 'b'", "found 2 columns 'a', 'c'"]),
        (b"a,bb\n1,2\n", ["'b' may be 'bb'"]),
        (b"a,b,c\n1,2,3\n", ["column 'c' too many in x.csv"]),
        (b"a,b,a\n1,2,3\n", ["column 'a' is there twice in x.csv"]),
        (b"PAR1....", ["not a text file: x.csv", "a Parquet file", "source.format: parquet"]),
        (bytes(range(256)) * 10, ["not a text file: x.csv", "control bytes"]),
        (bytes(257) + b"ustar", ["a tar archive"]),
        ("a,b\n1,2".encode("utf-16"), ["utf-16 text", "source.encoding: utf-16"]),
    ],
)
def test_a_file_that_cannot_be_this_pipelines(data: bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read(data)
    assert all(word in str(caught.value) for word in words), str(caught.value)


JSON = pipeline("a", "b", format="jsonl")


def test_json_lines() -> None:
    data = b'{"a": "x", "b": 1}\nnot json\n\n{"b": {"k": [1, 2]}, "z": 0}\r\n[1]\n{"a": "NA", "b": true}\n{"a": 1.5'
    rows, numbers, bad = read(data, "x.jsonl", JSON)
    assert rows == [("x", "1"), (None, '{"k": [1, 2]}'), (None, "true")]
    assert numbers == [1, 3, 5]
    assert [(one.row, one.reason, one.text) for one in bad] == [
        (2, "not_json", "not json"),
        (4, "not_json", "[1]"),
        (6, "not_json", '{"a": 1.5'),
    ]


def test_json_lines_gzip_truncated_and_wrong_bytes() -> None:
    data = b"".join(b'{"a": %d, "b": "x"}\n' % i for i in range(20_000))
    rows, _, bad = read(gzip.compress(data)[:-100], "x.jsonl.gz", JSON)
    assert 15_000 < len(rows) < 20_000
    assert [one.reason for one in bad] == ["truncated"]
    assert read(b'{"a": "\xff"}\n{"a": "x"}\n', "x", JSON)[1:] == ([2], [BadRow(1, "encoding", '{"a": "\ufffd"}')])


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def test_parquet_by_row_groups_keeps_types() -> None:
    data = parquet(pa.table({"b": ["x", "y", None], "a": [1, 2, 3]}), row_group_size=1)
    pipe = pipeline("a", "b", format="parquet")
    splits = plan_splits([SourceFile("x", len(data), "")], pipe, 60, open_file=lambda _: io.BytesIO(data))
    assert [(split.row_groups, split.first_row) for split in splits] == [((0,), 1), ((1,), 2), ((2,), 3)]
    found = [flat(list(read_split(split, pipe, lambda _: io.BytesIO(data)))) for split in splits]
    assert found == [([(1, "x")], [1], []), ([(2, "y")], [2], []), ([(3, None)], [3], [])]


def test_parquet_with_other_columns_or_damaged() -> None:
    pipe = pipeline("a", "b", format="parquet")
    data = parquet(pa.table({"a": list(range(1000)), "c": list(range(1000))}))
    with pytest.raises(InputError, match=r"missing column 'b' in x: expected 2 columns 'a', 'b'; found 2 columns"):
        read(data, "x", pipe)
    with pytest.raises(InputError, match="not a Parquet file: x"):
        read(data[:-10], "x", pipe)
    damaged = bytearray(parquet(pa.table({"a": list(range(1000)), "b": list(range(1000))})))
    damaged[4:200] = bytes(196)
    with pytest.raises(InputError, match="damaged Parquet file: x, from row 1 on"):
        read(bytes(damaged), "x", pipe)


def test_batches_have_at_most_batch_rows() -> None:
    found = batches(BIG, batch_rows=20_000)
    assert [len(one.rows) for one in found] == [20_000, 20_000, 10_000]


def test_split_is_one_line_of_json() -> None:
    split = Split("x\n.parquet", "parquet", 0, 0, 7, (1, 2), "2026-01-05", 10)
    assert Split.from_json(split.to_json()) == split
    assert "\n" not in split.to_json()


def cut(data: bytes, size: int, pipe: Pipeline) -> Iterator[RawBatch]:
    for split in plan_splits([SourceFile("x", len(data), "")], pipe, size, open_file=lambda _: io.BytesIO(data)):
        yield from read_split(split, pipe, lambda _: io.BytesIO(data))


cells = st.text(st.sampled_from('ab"\n\r, é日😀\t') | st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
tables = st.lists(st.tuples(cells, cells), max_size=30)


@settings(max_examples=300, deadline=None)
@given(tables, st.integers(1, 200), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from([1, 7, 64]))
@example([('"', "\n"), ("\r", ",")], 1, "\n", True, 1)
def test_any_table_cut_anywhere_reads_back(
    rows: list[tuple[str, str]], size: int, end: str, all_quoted: bool, chunk: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    if end == "\n" and not all_quoted:  # this writer leaves a lone CR unquoted
        rows = [(a.replace("\r", ""), b.replace("\r", "")) for a, b in rows]
    writer.writerows([("a", "b"), *rows])
    data = text.getvalue().encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bytestream, "CHUNK", chunk)
        found, numbers, bad = flat(list(cut(data, size, pipeline("a", "b", null_values=[]))))
    assert found == rows
    assert numbers == list(range(1, len(rows) + 1))
    assert bad == []


dirty = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", b'"x"', b'""', b"\xff", b"\0"]), max_size=60)


@settings(max_examples=200, deadline=None)
@given(dirty.map(b"".join), st.integers(1, 40), st.sampled_from([1, 2, 5, 64]), st.sampled_from([20, 1 << 24]))
def test_any_dirt_cut_anywhere_is_the_same(data: bytes, size: int, chunk: int, limit: int) -> None:
    pipe = pipeline("a", "b", header=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_RECORD", limit)
        whole = read(data, "x", pipe)
        patch.setattr(bytestream, "CHUNK", chunk)
        pieces = flat(list(cut(data, size, pipe)))
    assert pieces[:2] == whole[:2]
    assert [(bad.row, bad.reason) for bad in pieces[2]] == [(bad.row, bad.reason) for bad in whole[2]]
    numbers = sorted([*whole[1], *(bad.row for bad in whole[2])])
    assert numbers == list(range(1, len(numbers) + 1))  # every record is a row or a bad row


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), cells | st.integers() | st.none())), st.integers(1, 99))
def test_any_json_lines_cut_anywhere_read_back(rows: list[dict[str, Any]], size: int) -> None:
    pipe = pipeline("a", "b", format="jsonl", null_values=[])
    data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    found, numbers, bad = flat(list(cut(data, size, pipe)))
    text = [tuple(None if row.get(name) is None else str(row[name]) for name in "ab") for row in rows]
    assert (found, numbers, bad) == (text, list(range(1, len(rows) + 1)), [])


def test_real_files_cut_small_equal_the_csv_module(real_data: Callable[[str], Any]) -> None:
    path = real_data("clicks_talkingdata") / "train_sample.csv"
    data = path.read_bytes()
    header, *rows = csv.reader(io.StringIO(data.decode()))
    pipe = pipeline(*header, null_values=[])
    found, numbers, bad = flat(list(cut(data, 1 << 20, pipe)))
    assert found == [tuple(row) for row in rows]
    assert (numbers, bad) == (list(range(1, len(rows) + 1)), [])


def test_a_derived_column_tells_whether_the_text_of_another_matches() -> None:
    pipe = Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "interval": "none"},
            "columns": {
                "cancelled": {"type": "int8", "role": "label", "derive": {"column": "invoice", "matches": "^C"}},
                "invoice": {"type": "string", "role": "leak"},
            },
        }
    )
    [found] = batches(b'invoice\nC1\n2\n""\n', pipe=pipe)
    assert found.batch.to_pydict() == {"cancelled": ["1", "0", None], "invoice": ["C1", "2", None]}
    [alone] = batches(b"invoice\nC1\n", pipe=pipe, columns=["cancelled"])
    assert alone.batch.to_pydict() == {"cancelled": ["1"]}
