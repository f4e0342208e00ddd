"""Splits: where files are cut, which interval they belong to, and what is refused before any task runs."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.data import native
from millrace.data.raw import Split, read_split
from millrace.errors import InputError, UncertainCut
from millrace.mapreduce.cuts import find_cuts
from millrace.mapreduce.splits import plan_splits
from millrace.spec import Column, Pipeline, Source
from millrace.storage.files import list_files


def pipeline(**source: Any) -> Pipeline:
    columns = {name: Column(type="string", role="categorical") for name in ("a", "b")}
    return Pipeline(name="p", source=Source(**{"uri": "x", "interval": "none", **source}), columns=columns)


def write(folder: Path, name: str, data: bytes) -> list[Any]:
    (folder / name).write_bytes(data)
    return list_files(str(folder))


@dataclass(frozen=True)
class RawBytes:
    size: int
    path: str = "x.csv"


def cuts(splits: list[Split]) -> list[tuple[int, int, int]]:
    return [(split.start, split.length, split.first_row) for split in splits]


def test_cut_at_the_first_record_end_behind_the_split_size(tmp_path: Path) -> None:
    files = write(tmp_path, "x.csv", b'a,b\n1,2\n"3\n\n4",5\n\n6,7\n8,9')
    assert cuts(plan_splits(files, pipeline(), 8)) == [(0, 8, 1), (8, 9, 2), (17, 8, 3)]
    assert cuts(plan_splits(files, pipeline(), 9)) == [(0, 17, 1), (17, 8, 3)]
    assert cuts(plan_splits(files, pipeline(), 1000)) == [(0, 25, 1)]


def test_files_are_cut_where_the_system_tells_no_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sched_getaffinity")
    files = write(tmp_path, "x.csv", b"a,b\n1,2\n3,4\n5,6\n")
    assert cuts(plan_splits(files, pipeline(), 10)) == [(0, 8, 1), (8, 8, 2)]  # no small one at the end


LINE = st.sampled_from(["1,2\n", '"3\n\n4",5\n', "\n", '"\n","\n","\n"', "6,7", '",', "a,é\r\n", "\r"])


@given(st.lists(LINE, max_size=60), st.integers(1, 100))
@settings(deadline=None)
def test_pieces_read_side_by_side_give_the_cuts_of_one_pass(lines: list[str], size: int) -> None:
    text = ("a,b\n" + "".join(lines)).encode()

    def found() -> list[tuple[int, int]]:
        return list(find_cuts("x.csv", len(text), pipeline(), size, lambda _: io.BytesIO(text)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("millrace.mapreduce.cuts.PIECE", 16)
        side_by_side = found()
        patch.setattr("millrace.data.native.kernels", None)
        assert side_by_side == found()


@given(st.lists(LINE, max_size=40), st.integers(1, 60))
@settings(deadline=None)
def test_guessed_splits_give_the_rows_of_the_file_or_are_refused(lines: list[str], size: int) -> None:
    text = ("a,b\n" + "".join(lines)).encode()
    file = RawBytes(len(text))

    def rows(splits: list[Split]) -> list[dict[str, str]]:
        raws = [raw for split in splits for raw in read_split(split, pipeline(), lambda _: io.BytesIO(text))]
        return [row for raw in raws for row in raw.batch.to_pylist()] + [bad.text for raw in raws for bad in raw.bad]

    guessed = plan_splits([file], pipeline(), size, numbered=False, open_file=lambda _: io.BytesIO(text))
    with contextlib.suppress(UncertainCut):
        assert rows(guessed) == rows(plan_splits([file], pipeline(), 1 << 20, open_file=lambda _: io.BytesIO(text)))


@given(st.lists(LINE, max_size=40), st.integers(1, 60))
@settings(deadline=None)
def test_records_counted_by_who_read_guessed_splits_number_them(lines: list[str], size: int) -> None:
    text = ("a,b\n" + "".join(lines)).encode()
    file, opened = RawBytes(len(text)), lambda _: io.BytesIO(text)

    def numbers(splits: list[Split]) -> list[int]:
        raws = [raw for split in splits for raw in read_split(split, pipeline(), opened)]
        return sorted(n for raw in raws for n in [*raw.rows.to_pylist(), *(bad.row for bad in raw.bad)])

    counted = []
    try:
        for split in plan_splits([file], pipeline(), size, numbered=False, open_file=opened):
            counted.append((split.start, split.length, len(numbers([split]))))
    except UncertainCut:
        return
    splits = plan_splits([file], pipeline(), size, cuts={file.path: counted[::-1]}, open_file=opened)
    assert cuts(splits)[0][0] == 0
    assert numbers(splits) == numbers(plan_splits([file], pipeline(), 1 << 20, open_file=opened))


def test_cuts_of_a_part_of_a_file_are_not_taken(tmp_path: Path) -> None:
    files = write(tmp_path, "x.csv", b"a,b\n1,2\n3,4\n5,6\n")
    known = [(0, 8, 1), (8, 8, 2)]
    assert cuts(plan_splits(files, pipeline(), cuts={files[0].path: known})) == [(0, 8, 1), (8, 8, 2)]
    for pieces in (known[:1], known[1:], []):
        assert cuts(plan_splits(files, pipeline(), cuts={files[0].path: pieces})) == [(0, 16, 1)]


@pytest.mark.skipif(not native.available(), reason="left out: guessed cuts, as nothing compiled the kernels in C")
def test_a_cut_in_a_quoted_field_is_noticed() -> None:
    text = b'a,b\n1,2\n"\n","\n"\n3,4\n'
    splits = plan_splits([RawBytes(len(text))], pipeline(), 10, numbered=False, open_file=lambda _: io.BytesIO(text))
    assert [split.start for split in splits] == [0, 10]
    with pytest.raises(UncertainCut, match=r"x\.csv, bytes 0-10"):
        list(read_split(splits[0], pipeline(), lambda _: io.BytesIO(text)))


@pytest.mark.parametrize("size", range(1, 21))
def test_a_header_of_several_lines_is_never_cut(size: int) -> None:
    text = b'"a\nname",b\n1,2\n3,4\n'
    names = {"a": Column(type="string", role="categorical", source="a\nname"), "b": pipeline().columns["b"]}
    two_lines = pipeline().model_copy(update={"columns": names})
    splits = plan_splits([RawBytes(len(text))], two_lines, size, numbered=False, open_file=lambda _: io.BytesIO(text))
    raws = [raw for split in splits for raw in read_split(split, two_lines, lambda _: io.BytesIO(text))]
    assert [row for raw in raws for row in raw.batch.to_pylist()] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.skipif(not native.available(), reason="left out: guessed cuts, as nothing compiled the kernels in C")
def test_little_is_read_to_guess() -> None:
    text = b"a,b\n" + b"1,2\n" * 1_000_000
    read: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            read.append(len(data))
            return data

    splits = plan_splits([RawBytes(len(text))], pipeline(), 1 << 20, numbered=False, open_file=lambda _: Counted(text))
    assert len(splits) == 4
    assert sum(read) < len(text) / 10


def test_compressed_and_wide_files_are_whole(tmp_path: Path) -> None:
    text = b"a,b\n" + b"1,2\n" * 100
    assert len(plan_splits(write(tmp_path, "x.csv.gz", gzip.compress(text, 0)), pipeline(), 50)) == 1
    wide = write(tmp_path, "x.csv.gz", text.decode().encode("utf-16"))
    assert len(plan_splits(wide, pipeline(encoding="utf-16"), 50)) == 1


def test_the_interval_is_in_the_files_name(tmp_path: Path) -> None:
    files = write(tmp_path, "clicks-2026-01-05.csv", b"a,b\n")
    source = {"interval": "daily", "file_date": "%Y-%m-%d"}
    assert [split.interval for split in plan_splits(files, pipeline(**source))] == ["2026-01-05"]
    assert [split.interval for split in plan_splits(files, pipeline())] == [None]
    with pytest.raises(InputError, match=r"no date in the name of .*/undated\.csv: expected a date like %Y-%m-%d"):
        plan_splits(write(tmp_path, "undated.csv", b"a,b\n"), pipeline(**source))


def test_a_large_file_with_another_header_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing column 'b'"):
        plan_splits(write(tmp_path, "x.csv", b"a,c\n" + b"1,2\n" * 50), pipeline(), 10)


def test_real_files(real_data: Callable[[str], Path]) -> None:
    path = real_data("fraud_daily")
    splits = plan_splits(list_files(str(path)), pipeline(interval="daily", file_date="%Y-%m-%d"))
    assert splits[0].interval == "2018-04-01"
    assert all(split.start == 0 and split.length == split.size for split in splits)
