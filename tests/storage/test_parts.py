"""Parts: what a worker writes, and that an attempt that fails leaves nothing."""

import datetime
import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import WorkError
from millrace.storage.part_stats import PartStats
from millrace.storage.parts import ROW_GROUP_ROWS, Part, PartWriter


def test_a_part_says_what_its_file_holds(tmp_path):
    schema = pa.schema([("id", pa.int64()), ("city", pa.string()), ("at", pa.timestamp("us")), ("day", pa.string())])
    moments = [datetime.datetime(2026, 1, 5, 1), None, datetime.datetime(2026, 1, 5, 2, 0, 0, 7)]
    cities = pa.array(["Oslo", "Rome", None]).dictionary_encode()
    with PartWriter(str(tmp_path), {"day": "5 / é"}, schema, "00007") as writer:
        writer.write(pa.record_batch({"city": cities, "at": pa.array(moments, pa.timestamp("ns")), "id": [3, 1, 2]}))
        part = writer.close()
    assert part.path.startswith("day=5____/00007-")
    assert (part.rows, part.partition) == (3, {"day": "5 / é"})
    assert json.loads(part.stats) == {
        "numRecords": 3,
        "minValues": {"id": 1, "city": "Oslo", "at": "2026-01-05T01:00:00.000000"},
        "maxValues": {"id": 3, "city": "Rome", "at": "2026-01-05T02:00:00.000007"},
        "nullCount": {"id": 0, "city": 1, "at": 1},
    }
    stored = (tmp_path / part.path).read_bytes()
    assert (len(stored), xxhash.xxh64_hexdigest(stored)) == (part.size, part.checksum)
    assert pq.read_table(tmp_path / part.path, partitioning=None)["id"].to_pylist() == [3, 1, 2]
    assert Part.model_validate_json(part.model_dump_json()) == part


def test_small_batches_fill_whole_row_groups(tmp_path):
    schema = pa.schema([("x", pa.int64())])
    with PartWriter(str(tmp_path), {}, schema) as writer:
        for _ in range(30):
            writer.write(pa.table({"x": pa.array(range(10_000), pa.int64())}))
        part = writer.close()
    groups = pq.ParquetFile(tmp_path / part.path).metadata
    sizes = [groups.row_group(index).num_rows for index in range(groups.num_row_groups)]
    assert sizes == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 300_000 - 2 * ROW_GROUP_ROWS]


def test_an_attempt_that_fails_leaves_no_file(tmp_path):
    with PartWriter(str(tmp_path), {}, pa.schema([("x", pa.int64())])) as writer:
        writer.write(pa.table({"x": pa.array(range(ROW_GROUP_ROWS), pa.int64())}))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorkError, match="the part was given up"):
        writer.close()


def test_a_part_without_rows_has_no_file(tmp_path):
    part = PartWriter(str(tmp_path), {"data_interval": "2026-01-05"}, pa.schema([("x", pa.int64())])).close()
    assert (part.rows, part.size, list(tmp_path.iterdir())) == (0, 0, [])


def test_two_attempts_of_one_task_never_meet(tmp_path):
    writers = [PartWriter(str(tmp_path), {}, pa.schema([("x", pa.int64())]), "same") for _ in range(2)]
    for writer in writers:
        writer.write(pa.table({"x": [1]}))
    assert len({writer.close().path for writer in writers}) == len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("columns", [{"y": [1]}, {"x": [1], "y": [1]}, {"x": ["one"]}, {"x": [0.5]}])
def test_a_batch_that_does_not_fit_is_refused(tmp_path, columns):
    writer = PartWriter(str(tmp_path), {}, pa.schema([("x", pa.int64())]))
    with pytest.raises(WorkError, match="a batch doesn't fit the part"):
        writer.write(pa.table(columns))


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50)
values = st.one_of(st.none(), texts), st.one_of(st.none(), st.floats(width=64)), st.one_of(st.none(), st.dates())


@given(st.lists(st.lists(st.tuples(*values), max_size=4), max_size=4))
def test_statistics_never_exclude_a_value_that_is_there(batches):
    schema = pa.schema([("text", pa.string()), ("number", pa.float64()), ("day", pa.date32())])
    stats, footers = PartStats(schema), []
    with pq.ParquetWriter(pa.BufferOutputStream(), schema, metadata_collector=footers) as writer:
        for rows in batches:
            columns = list(zip(*rows, strict=True)) or [[], [], []]
            table = pa.table([pa.array(cells, kind) for cells, kind in zip(columns, schema.types, strict=True)], schema)
            stats.update(table)
            writer.write_table(table)
    found = json.loads(stats.to_json(footers[0]))
    rows = [row for batch in batches for row in batch]
    assert found["numRecords"] == len(rows)
    for place, name in enumerate(schema.names):
        column = [row[place].isoformat() if name == "day" and row[place] else row[place] for row in rows]
        assert found["nullCount"][name] == column.count(None)
        least, greatest = found["minValues"].get(name), found["maxValues"].get(name)
        for value in column:
            if value is not None and not (isinstance(value, float) and math.isnan(value) and least is None):
                assert least is None or least <= value
                assert greatest is None or value <= greatest


words = st.lists(st.sampled_from([None, "", "a", "b", "é"]), min_size=1, max_size=6)


@given(st.lists(st.tuples(words, st.booleans()), min_size=1, max_size=5))
def test_texts_are_the_same_dictionary_encoded_or_not(batches):
    found = []
    for as_given in (True, False):
        with TemporaryDirectory() as folder, PartWriter(folder, {}, pa.schema([("x", pa.string())])) as writer:
            for cells, coded in batches:
                column = pa.array([*cells, "zzz"], pa.string())  # a word of the dictionary that no row has
                column = column.dictionary_encode() if coded and as_given else column
                writer.write(pa.table({"x": column.slice(0, len(cells))}))
            part = writer.close()
            found.append((json.loads(part.stats), pq.read_table(f"{folder}/{part.path}", partitioning=None)))
    (coded, rows), (plain, expected) = found
    assert rows == expected
    assert (coded["numRecords"], coded["nullCount"]) == (plain["numRecords"], plain["nullCount"])
    for name, value in plain["minValues"].items():  # Arrow may count a word that no row has
        assert coded["minValues"][name] <= value
        assert coded["maxValues"][name] >= plain["maxValues"][name]


def test_a_column_of_zeros_is_bounded_by_zero_on_either_side(tmp_path: Path):
    with PartWriter(str(tmp_path), {}, pa.schema([("x", pa.float64())])) as writer:
        writer.write(pa.table({"x": [0.0, 0.0]}))
        found = json.loads(writer.close().stats)
    assert (math.copysign(1, found["minValues"]["x"]), math.copysign(1, found["maxValues"]["x"])) == (-1, 1)


def test_texts_too_long_for_a_footer_and_times_beyond_the_year_9999_have_no_bounds(tmp_path: Path):
    schema = pa.schema([("text", pa.string()), ("far", pa.timestamp("us")), ("near", pa.timestamp("us"))])
    times = [pa.array(each, pa.timestamp("us")) for each in ([0, 3 * 10**17], [0, 10**15])]
    with PartWriter(str(tmp_path), {}, schema) as writer:
        writer.write(pa.table([["x" * 5_000, None], *times], schema=schema))
        found = json.loads(writer.close().stats)
    assert found["minValues"] == {"near": "1970-01-01T00:00:00.000000"}
    assert found["maxValues"] == {"near": "2001-09-09T01:46:40.000000"}
    assert found["nullCount"] == {"text": 1, "far": 0, "near": 0}


def test_no_file_is_open_before_the_first_rows(tmp_path: Path):
    PartWriter(str(tmp_path / "new"), {"data_interval": "2026-01-05"}, pa.schema([("x", pa.int64())])).abort()
    assert not (tmp_path / "new").exists()
