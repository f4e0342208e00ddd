"""The door that s3 and hdfs tables take, tried on a local folder: deltalake's store as an Arrow file system."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.fs as pafs

from millrace.storage import parts, tables
from millrace.storage.object_store import StoreHandler
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Commit, Table


def test_a_table_lives_through_the_store_alone(tmp_path, monkeypatch):
    def through_store(uri, storage_options=None):
        return pafs.PyFileSystem(StoreHandler(f"file://{uri}", storage_options)), ""

    monkeypatch.setattr(parts, "table_filesystem", through_store)
    monkeypatch.setattr(tables, "table_filesystem", through_store)
    (tmp_path / "t").mkdir()
    table = Table(str(tmp_path / "t"))
    schema = pa.schema([("x", pa.int64()), ("data_interval", pa.string())])
    for value in range(2):
        with PartWriter(table.uri, {"data_interval": "2026-01-05"}, schema) as writer:
            writer.write(pa.table({"x": pa.array([value] * 10, pa.int64())}))
            table.commit(Commit([writer.close()], schema, str(value), replace=["2026-01-05"]))
    with PartWriter(table.uri, {"data_interval": "2026-01-05"}, schema) as writer:
        writer.write(pa.table({"x": pa.array([3], pa.int64())}))
    assert (table.verify(0), table.verify(1)) == (1, 1)
    assert table.read(0)["x"].to_pylist() == [0] * 10
    assert table.vacuum(timedelta(0)) == [table.parts(0)[0].path]
    assert table.read()["x"].to_pylist() == [1] * 10
