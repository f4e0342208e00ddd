"""Real data: a night per file, one of them committed again with fewer rows."""

import pyarrow as pa
import pyarrow.csv
import pytest

from millrace.storage.files import list_files, open_input
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Commit, Table


@pytest.mark.realdata
def test_nine_nights_of_transactions(real_data, tmp_path):
    uri = str(tmp_path / "clean")
    files = list_files(f"{real_data('fraud_daily')}/2018-04-0*.csv.gz")
    nights: dict[str, pa.Table] = {}

    def commit(night: str, transaction: str) -> None:
        rows = nights[night]
        schema = rows.schema.append(pa.field("data_interval", pa.string()))
        with PartWriter(uri, {"data_interval": night}, schema, "00000") as writer:
            writer.write(rows)
            Table(uri).commit(Commit([writer.close()], schema, transaction, replace=[night]))

    for file in files:
        night = file.path.rpartition("/")[2][:10]
        with open_input(file.path) as raw, pa.CompressedInputStream(raw, "gzip") as stream:
            nights[night] = pa.csv.read_csv(stream)
        commit(night, f"{night} {file.fingerprint}")
    late = min(nights)
    first = pa.concat_tables(nights.values())
    nights[late] = nights[late].slice(10)
    commit(late, f"{late} again")

    table = Table(uri)
    assert table.version() == len(files) == 9
    assert table.intervals() == {night: rows.num_rows for night, rows in nights.items()}
    stored = [name for name in table.schema().names if name != "data_interval"]
    wanted = pa.concat_tables(nights.values())
    schema = table.read(columns=stored).schema
    assert table.read(columns=stored).equals(wanted.cast(schema))
    assert table.read(8, columns=stored).equals(first.cast(schema))
    assert table.verify() == 9
