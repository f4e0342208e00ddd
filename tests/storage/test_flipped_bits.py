"""One flipped bit, anywhere: it is noticed before the data is used, or it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from millrace.data.lookup import KeyIndex, index_path, lookup
from millrace.data.shard import ShardPlan
from millrace.data.split import Split
from millrace.errors import CorruptData
from millrace.mapreduce.part_splits import read_part
from millrace.storage.commits import Commit
from millrace.storage.parts import Part, PartWriter
from millrace.storage.tables import Table

DAYS = ("2026-01-05", "2026-01-06")
COLUMNS = {
    "key": pa.array([3, 1, 2] * 8, pa.int64()),
    "text": pa.array(["a", "bb", None, "a"] * 6),
    "value": pa.array([0.5, -1.25, None] * 8),
    "small": pa.array([0, 1] * 12, pa.int8()),
}
SCHEMA = pa.schema([*((name, values.type) for name, values in COLUMNS.items()), ("data_interval", pa.string())])


def written(uri: str, day: str) -> Part:
    with PartWriter(uri, {"data_interval": day}, SCHEMA) as writer:
        writer.write(pa.table(COLUMNS))
        return writer.close()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Two days, the second of them committed twice."""
    table = Table(str(tmp_path / "t"))
    for number, day in enumerate((*DAYS, DAYS[1])):
        table.commit(Commit([written(table.uri, day)], SCHEMA, str(number), replace=[day], details={"limit": 100}))
    return table


def flips(path: Path, places: range, read: Callable[[], object]) -> dict[str, list[int]]:
    """Which bytes, each with a bit flipped, are noticed, harmless, or change what is read without a word."""
    content, expected = path.read_bytes(), read()
    found: dict[str, list[int]] = {"noticed": [], "harmless": [], "silent": []}
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            found["harmless" if read() == expected else "silent"].append(place)
        except CorruptData:
            found["noticed"].append(place)
    path.write_bytes(content)
    return found


def test_in_a_part_that_a_task_reads(table: Table) -> None:
    part = table.parts()[0]
    path = Path(table.uri, part.path)
    split = Split(str(path), "parquet", 0, 0, 1, None, DAYS[0], part.size)
    found = flips(path, range(part.size), lambda: [batch.to_pylist() for batch in read_part(split)])
    assert found["silent"] == []
    footer = part.size - 8 - int.from_bytes(path.read_bytes()[-8:-4], "little")
    assert set(range(footer, part.size)) <= set(found["noticed"])


def test_in_a_part_that_the_driver_reads(table: Table) -> None:
    part = table.parts()[0]
    path = Path(table.uri, part.path)
    read = lambda: [table.read().to_pylist(), table.read(columns=["small"], where=pc.field("key") >= 2).to_pylist()]  # noqa: E731
    found = flips(path, range(0, part.size, 5), read)
    assert found["silent"] == []


def test_a_damaged_page_header_that_passes_for_the_end_of_the_column(table: Table) -> None:
    part = table.parts()[0]
    path = Path(table.uri, part.path)
    start = pq.ParquetFile(path).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start + 1] ^= 2
    path.write_bytes(content)
    with pytest.raises(CorruptData):
        list(read_part(Split(str(path), "parquet", 0, 0, 1, None, DAYS[0], part.size)))


@pytest.mark.parametrize("version", [0, 1, 2])
def test_in_the_log(table: Table, version: int) -> None:
    path = Path(table.uri, "_delta_log", f"{version:020d}.json")

    def read() -> object:
        return [table.read().to_pylist(), table.details(), table.ledger(), [part.path for part in table.parts()]]

    assert flips(path, range(0, path.stat().st_size, 11), read)["silent"] == []


def test_a_part_whose_line_is_lost_from_the_log_is_missed(table: Table) -> None:
    path = Path(table.uri, "_delta_log", f"{0:020d}.json")
    path.write_text(path.read_text().replace('{"add":', '{"axd":'))
    with pytest.raises(CorruptData, match="the files and columns that a stage committed"):
        table.read()


def test_in_a_lookup_index(table: Table) -> None:
    plan = ShardPlan.model_validate({"by": "key", "key_type": "int64", "method": "hash", "shards": 1})
    part = table.parts()[0]
    path = Path(table.uri, index_path(part.path))
    path.parent.mkdir(parents=True)
    index = KeyIndex()
    index.update(pa.array([1, 1, 2, 3, 3, 3]))
    path.write_bytes(index.to_bytes())

    def find() -> object:
        open_file = lambda name: pa.OSFile(str(Path(table.uri, name)))  # noqa: E731
        return [lookup([part], plan, key, open_file) for key in (1, 2, 3, 4)]

    assert flips(path, range(path.stat().st_size), find) == {
        "noticed": list(range(path.stat().st_size)),
        "harmless": [],
        "silent": [],
    }
