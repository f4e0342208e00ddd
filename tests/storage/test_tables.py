"""Tables: versions, replacement of intervals, exactly-once commits, and what is refused."""

from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from millrace.errors import CorruptData, InputError, LedgerError, MillraceError, RequestError, WorkError
from millrace.storage.commits import EVERYTHING
from millrace.storage.ledger import Ledger
from millrace.storage.tables import Commit, Table


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "clean")


@pytest.fixture
def table(uri, schema, write):
    """Version 0: 5 January [1, 2] and 6 January [3]; version 1: 6 January [30, 31], 7 January [4]."""
    table = Table(uri)
    table.commit(Commit([write(uri, "2026-01-05", [1, 2]), write(uri, "2026-01-06", [3])], schema, "first"))
    parts = [write(uri, "2026-01-06", [31], 10), write(uri, "2026-01-06", [30], 2), write(uri, "2026-01-07", [4])]
    table.commit(Commit(parts, schema, "second", replace=["2026-01-06", "2026-01-07"]))
    return table


def test_replaced_intervals_are_new_and_others_keep_their_files(table):
    assert table.read()["x"].to_pylist() == [1, 2, 30, 31, 4]
    assert table.read(0)["x"].to_pylist() == [1, 2, 3]
    assert table.intervals() == {"2026-01-05": 2, "2026-01-06": 2, "2026-01-07": 1}
    assert table.parts(1, ["2026-01-05"]) == table.parts(0, ["2026-01-05"])


def test_a_transaction_commits_once(table, uri, schema, write):
    again = Commit([write(uri, "2026-01-06", [99])], schema, "second", replace=["2026-01-06"])
    assert table.commit(again) == 1
    assert (table.version(), table.committed("second"), table.committed("third")) == (1, 1, None)
    assert table.read(columns=["x"])["x"].to_pylist() == [1, 2, 30, 31, 4]


def test_a_transaction_is_known_after_a_checkpoint(table, uri):
    DeltaTable(uri).create_checkpoint()
    assert (table.committed("first"), table.record(0).transaction) == (0, "first")


def test_an_interval_whose_rows_were_all_quarantined(table, schema):
    commit = Commit([], schema, "third", ["2026-01-06"], Ledger(rows_in=2, quarantined={"ragged": 2}))
    assert table.commit(commit) == 2
    assert table.intervals() == {"2026-01-05": 2, "2026-01-07": 1}
    assert table.ledger() == Ledger(rows_in=2, quarantined={"ragged": 2})


def test_everything_may_be_replaced(table, uri, schema, write):
    table.commit(Commit([write(uri, "2026-01-09", [9])], schema, "sample", replace=EVERYTHING))
    assert table.read()["x"].to_pylist() == [9]


def test_readers_see_all_intervals_of_a_commit_or_none(uri, schema, write):
    days = ["2026-01-05", "2026-01-06", "2026-01-07"]

    def replace(value: int) -> None:
        parts = [write(uri, day, [value]) for day in days]
        Table(uri).commit(Commit(parts, schema, f"night {value}", replace=days))

    replace(0)
    writer = Thread(target=lambda: [replace(value) for value in range(1, 20)])
    writer.start()
    seen = [Table(uri).read()["x"].to_pylist()]
    while writer.is_alive():
        seen.append(Table(uri).read()["x"].to_pylist())
    writer.join()
    assert all(values == [values[0]] * 3 for values in seen)
    assert Table(uri).read()["x"].to_pylist() == [19] * 3


def test_a_table_may_begin_without_rows(uri, schema):
    assert Table(uri).commit(Commit([], schema, "first")) == 0
    assert Table(uri).read().schema.equals(schema)


def test_what_was_recorded_comes_back(table, uri, schema):
    details = {"fences": {"fare": [0.1, float("inf")]}, "fill": {"city": "Zürich"}, "by": [1, None]}
    version = table.commit(Commit([], schema, "learned", inputs={"raw": {"a.csv": "3f"}}, details=details))
    assert table.details(version) == details
    assert table.record().inputs == {"raw": {"a.csv": "3f"}}
    assert [(one.version, one.transaction, one.replaced) for one in table.history()] == [
        (2, "learned", []),
        (1, "second", ["2026-01-06", "2026-01-07"]),
        (0, "first", []),
    ]
    assert [one.version for one in table.history(1)] == [2]


def test_rows_are_read_by_column_condition_and_interval(table):
    found = table.read(columns=["x", "shard"], where=pc.field("x") > 2, intervals=["2026-01-05", "2026-01-06"])
    assert found.to_pylist() == [{"x": 30, "shard": 2}, {"x": 31, "shard": 10}]
    assert table.read(where=pc.field("data_interval") == "2026-01-07")["x"].to_pylist() == [4]
    assert table.read(intervals=[]).num_rows == 0
    assert table.read(intervals=["2026-01-05", "1999-01-01", "it's"])["x"].to_pylist() == [1, 2]
    batches = list(table.batches(columns=["x"], batch_rows=1))
    assert [batch["x"].to_pylist() for batch in batches] == [[1], [2], [30], [31], [4]]


def test_partition_values_of_any_text(uri, schema, write):
    name = "a b/ü=%:2026"
    Table(uri).commit(Commit([write(uri, name, [1])], schema, "first"))
    Table(uri).commit(Commit([write(uri, name, [2])], schema, "second", replace=[name]))
    assert Table(uri).read().to_pylist() == [{"x": 2, "data_interval": name, "shard": 0}]


def test_a_new_column_is_null_in_earlier_rows(table, schema):
    wider = schema.append(pa.field("fare", pa.float64()))
    assert table.commit(Commit([], wider, "wider")) == 3
    assert table.versions() == [0, 1, 3]
    assert table.read()["fare"].null_count == 5
    assert table.read(1).schema.equals(schema)
    assert table.record(None).version == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": None}, r"expected column 'x' \(int64\); found no such column"),
        ({"x": pa.string()}, "expected column 'x' as int64; found string"),
        ({"new": pa.field("new", pa.int8(), nullable=False)}, "expected a nullable column 'new'"),
        ({"shard": None}, r"expected column 'shard' \(int32\)"),
    ],
)
def test_another_schema_is_refused(table, schema, fields, message):
    columns = {field.name: field for field in schema} | fields
    other = pa.schema(
        [kind if isinstance(kind, pa.Field) else pa.field(name, kind) for name, kind in columns.items() if kind]
    )
    with pytest.raises(WorkError, match=message):
        table.commit(Commit([], other, "other"))
    assert table.version() == 1


def test_an_unbalanced_ledger_is_refused(uri, schema, write):
    part = write(uri, "2026-01-05", [1, 2])
    with pytest.raises(LedgerError, match="1 rows disappeared"):
        Table(uri).commit(Commit([part], schema, "first", ledger=Ledger(rows_in=3, rows_out=2)))
    with pytest.raises(LedgerError, match="rows out against rows in its parts.* 1 rows disappeared"):
        Table(uri).commit(Commit([part], schema, "first", ledger=Ledger(rows_in=3, rows_out=3)))
    assert not Table(uri).exists()


def test_a_commit_that_cannot_be_right_is_refused(table, uri, schema, write):
    part = write(uri, "2026-01-08", [1])
    wrong: list[tuple[Commit, type[MillraceError], str]] = [
        (Commit([part, part], schema, "t"), WorkError, "named twice"),
        (Commit([part], schema, "t", replace=["2026-01-07"]), WorkError, "outside the intervals"),
        (Commit([part], schema, "t", replace="2026-01-08"), RequestError, "bad replace"),  # type: ignore[arg-type]
        (Commit([part], schema, ""), RequestError, "needs a transaction name"),
        (Commit([part], schema.remove(2), "t"), WorkError, "other partition columns"),
        (Commit([part], schema.remove(0), "t"), WorkError, "other columns than the schema"),
        (Commit([part.model_copy(update={"path": "gone"})], schema, "t"), CorruptData, "not as it was written"),
        (Commit([part.model_copy(update={"size": 1})], schema, "t"), CorruptData, "expected 1 bytes"),
    ]
    for commit, error, message in wrong:
        with pytest.raises(error, match=message):
            table.commit(commit)
    assert table.version() == 1


def test_what_is_not_there(table, tmp_path):
    assert not Table(str(tmp_path / "none")).exists()
    for call, message in (
        (Table(str(tmp_path / "none")).read, "no such table"),
        (lambda: table.read(7), "no such version: expected 0 to 1; found 7"),
        (lambda: table.details(7), "no such version"),
        (lambda: table.read(columns=["y"]), "no such column: expected one of x, data_interval, shard; found 'y'"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_damaged_bytes_are_never_read_as_rows(uri, schema, write):
    table = Table(uri)
    table.commit(Commit([write(uri, "2026-01-05", [n * n % 100_003 for n in range(1000)])], schema, "first"))
    assert table.verify() == 1
    path = Path(uri, table.parts()[0].path)
    stored = bytearray(path.read_bytes())
    stored[500] ^= 1
    path.write_bytes(stored)
    with pytest.raises(CorruptData, match="a file of the table is damaged"):
        table.read()
    for call in (table.verify, lambda: table.read(verify=True)):
        with pytest.raises(CorruptData, match="a file has changed since it was written"):
            call()


def test_a_damaged_log_is_named(table, uri):
    Path(uri, "_delta_log/00000000000000000001.json").write_text("{")
    with pytest.raises(CorruptData, match="log"):
        table.read()
