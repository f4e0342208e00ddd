"""The shuffle: what is read is what was written, grouped by partition, in order inside each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import CorruptData
from millrace.mapreduce.shuffle import Ref, ShuffleWriter, read_refs

SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string()), ("t", pa.timestamp("us"))])


def batch(rows: list[Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"n": n, "s": s, "t": None} for n, s in rows], schema=SCHEMA)


def test_one_file_with_one_ref_per_partition(tmp_path: Path) -> None:
    writer = ShuffleWriter(str(tmp_path / "new"))
    writer.write(np.array([2, 0, 2]), batch([(1, "a"), (2, None), (3, "c")]))
    writer.write(np.array([0], np.int32), batch([(4, "d")]))
    refs = writer.close()
    assert [(ref.partition, ref.rows) for ref in refs] == [(0, 2), (2, 2)]
    assert [Ref.from_json(ref.to_json()) for ref in refs] == refs
    assert [row["n"] for found in read_refs(refs) for row in found.to_pylist()] == [2, 4, 1, 3]
    assert len(list((tmp_path / "new").iterdir())) == 1
    assert refs[-1].offset + refs[-1].length == Path(writer.path).stat().st_size


def test_nothing_written_is_no_file(tmp_path: Path) -> None:
    assert ShuffleWriter(str(tmp_path)).close() == []
    assert list(tmp_path.iterdir()) == []


def test_changed_bytes_are_noticed(tmp_path: Path) -> None:
    writer = ShuffleWriter(str(tmp_path))
    writer.write(np.zeros(1000, np.int64), batch([(n, str(n)) for n in range(1000)]))
    [ref] = writer.close()
    data = bytearray(Path(ref.path).read_bytes())
    for change in (slice(500, 501), slice(900, None)):
        broken = data.copy()
        broken[change] = b"" if change.stop is None else bytes([broken[500] ^ 1])
        Path(ref.path).write_bytes(broken)
        with pytest.raises(CorruptData, match=r"shuffled rows changed on disk: .*bytes 0-"):
            list(read_refs([ref]))


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    writer = ShuffleWriter(str(tmp_path), buffer=1)
    writer.write(np.zeros(1, np.int64), batch([(1, "a")]))
    writer.discard()
    assert list(tmp_path.iterdir()) == []


rows = st.lists(st.tuples(st.integers(0, 4), st.integers(), st.text(max_size=3)), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), rows), max_size=6), st.sampled_from([1, 200, 1 << 20]))
def test_reading_all_refs_is_a_grouped_permutation(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[bool, list[tuple[int, int, str]]]], buffer: int
) -> None:
    written = [[(p, n % 2**62, s) for p, n, s in part] for _, part in parts]
    writer = ShuffleWriter(str(tmp_path_factory.mktemp("shuffle")), buffer=buffer)
    for (encoded, _), part in zip(parts, written, strict=True):
        rows = batch([(n, s) for _, n, s in part])
        rows = rows.set_column(1, "s", rows["s"].dictionary_encode()) if encoded else rows
        writer.write(np.array([p for p, _, _ in part], np.int64), rows)
    refs = writer.close()
    for partition in range(5):
        mine = [ref for ref in refs if ref.partition == partition]
        batches = list(read_refs(mine))
        assert {one.schema for one in batches} <= {SCHEMA}
        found = [(row["n"], row["s"]) for one in batches for row in one.to_pylist()]
        assert found == [(n, s) for part in written for p, n, s in part if p == partition]
        assert sum(ref.rows for ref in mine) == len(found)
