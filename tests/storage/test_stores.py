"""One suite for every store: a local folder, real S3 (MinIO) and real HDFS keep files, tables and shuffles alike."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from millrace.errors import CorruptData, InputError
from millrace.mapreduce.shuffle import ShuffleWriter, read_refs
from millrace.mapreduce.store_fs import remove
from millrace.storage.commits import Commit
from millrace.storage.files import filesystem, list_files, open_input, open_output
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Table

SCHEMA = pa.schema([("x", pa.int64()), ("data_interval", pa.string())])
DAY = "2026-01-05"


@pytest.fixture(scope="module", params=["file", "s3", "hdfs"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder of its own on one of the stores."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "file":
            yield str(tmp_path_factory.mktemp("store"))
            return
        if request.param == "s3":
            facts = request.getfixturevalue("minio")
            base = f"s3://{facts.bucket}/{uuid.uuid4().hex}"
        else:
            facts = request.getfixturevalue("hadoop")
            base = f"{facts.namenode}/test-stores/{uuid.uuid4().hex}"
        for name, value in facts.variables.items():
            patch.setenv(name, value)
        yield base
        remove(base)


def put(uri: str, content: bytes) -> None:
    system, path, _ = filesystem(uri)
    with open_output(system, path) as file:
        file.write(content)


def commit(table: Table, value: int, transaction: str) -> int:
    with PartWriter(table.uri, {"data_interval": DAY}, SCHEMA) as writer:
        writer.write(pa.table({"x": pa.array([value] * 10, pa.int64())}))
        return table.commit(Commit([writer.close()], SCHEMA, transaction, replace=[DAY]))


def test_files_are_listed_by_folder_and_by_glob(store: str) -> None:
    names = ["a/2026-01-01.csv", "a/2026-01-02.csv", "a/_hidden.csv", "a/deep/2026-01-03.csv"]
    for name in names:
        put(f"{store}/raw/{name}", name.encode())
    assert [f.path for f in list_files(f"{store}/raw")] == [f"{store}/raw/{names[i]}" for i in (0, 1, 3)]
    assert [f.path for f in list_files(f"{store}/raw/a/*-02.csv")] == [f"{store}/raw/{names[1]}"]
    assert [(f.path, f.size) for f in list_files(f"{store}/raw/{names[3]}")] == [(f"{store}/raw/{names[3]}", 21)]


def test_a_fingerprint_is_that_of_the_content(store: str) -> None:
    put(f"{store}/print/a.csv", b"1")
    [before] = list_files(f"{store}/print/a.csv")
    assert list_files(f"{store}/print/a.csv") == [before]
    put(f"{store}/print/a.csv", b"12")
    assert list_files(f"{store}/print/a.csv") != [before]


def test_any_bytes_of_a_file_can_be_read(store: str) -> None:
    content = bytes(range(256)) * 40_000
    put(f"{store}/bytes/b.bin", content)
    with open_input(f"{store}/bytes/b.bin") as file:
        assert file.read_at(1000, 5_000_000) == content[5_000_000:5_001_000]
        file.seek(len(content) - 3)
        assert file.read() == b"\xfd\xfe\xff"
        file.seek(0)
        assert file.read() == content


def test_a_missing_file_is_told_with_the_nearest_name(store: str) -> None:
    put(f"{store}/near/clicks.csv", b"1")
    with pytest.raises(InputError, match="did you mean .*clicks.csv"):
        list_files(f"{store}/near/click.csv")
    with pytest.raises(InputError, match="no such file or folder"):
        open_input(f"{store}/near/other.csv")


def test_a_table_keeps_its_versions(store: str) -> None:
    table = Table(f"{store}/versions")
    assert not table.exists()
    assert [commit(table, value, str(value)) for value in (0, 1, 2)] == [0, 1, 2]
    assert [table.read(version)["x"].to_pylist() for version in (0, 1, 2)] == [[0] * 10, [1] * 10, [2] * 10]
    assert table.verify(0) == table.verify(2) == 1


def test_a_transaction_commits_once(store: str) -> None:
    table = Table(f"{store}/once")
    assert [commit(table, value, "same") for value in (0, 1)] == [0, 0]
    assert table.read()["x"].to_pylist() == [0] * 10


def test_of_writers_at_once_none_is_lost(store: str) -> None:
    uri = f"{store}/race"
    with ThreadPoolExecutor(16) as pool:
        versions = list(pool.map(lambda n: commit(Table(uri), n, f"writer {n}"), range(16)))
    assert sorted(versions) == list(range(16))
    assert sorted({Table(uri).read(version)["x"][0].as_py() for version in versions}) == list(range(16))


def test_a_flipped_bit_is_noticed(store: str) -> None:
    table = Table(f"{store}/flipped")
    commit(table, 7, "a")
    [part] = table.parts()
    with open_input(f"{table.uri}/{part.path}") as file:
        content = bytearray(file.read())
    content[20] ^= 1
    put(f"{table.uri}/{part.path}", bytes(content))
    with pytest.raises(CorruptData):
        table.read()
    with pytest.raises(CorruptData, match="has changed since it was written"):
        table.verify()


def test_a_cut_file_is_noticed(store: str) -> None:
    table = Table(f"{store}/cut")
    commit(table, 7, "a")
    [part] = table.parts()
    with open_input(f"{table.uri}/{part.path}") as file:
        content = file.read()
    put(f"{table.uri}/{part.path}", content[:-9])
    with pytest.raises(CorruptData):
        table.read()


def test_vacuum_removes_what_no_kept_version_needs(store: str) -> None:
    table = Table(f"{store}/vacuum")
    for value in range(3):
        commit(table, value, str(value))
    old = [table.parts(version)[0].path for version in (0, 1)]
    assert table.vacuum(timedelta(days=1)) == []
    assert table.vacuum(timedelta(0)) == sorted(old)
    assert table.read()["x"].to_pylist() == [2] * 10


def test_rows_are_shuffled_by_reference(store: str) -> None:
    writer = ShuffleWriter(f"{store}/shuffle", buffer=1)
    for start in (0, 100):
        batch = pa.record_batch({"x": pa.array(range(start, start + 100), pa.int64())})
        writer.write(np.arange(100) % 3, batch)
    refs = [ref for ref in writer.close() if ref.partition == 1]
    rows = [value for batch in read_refs(refs) for value in batch.column("x").to_pylist()]
    assert rows == [*range(1, 100, 3), *range(101, 200, 3)]


def test_no_key_reaches_a_table_or_its_log(store: str) -> None:
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY") or _secret_of_file() or "no secret"
    table = Table(f"{store}/secrets")
    commit(table, 1, "a")
    system, path, _ = filesystem(f"{table.uri}/_delta_log/00000000000000000000.json")
    with system.open_input_stream(path) as file:
        assert secret.encode() not in file.read()


def _secret_of_file() -> str | None:
    path = os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    if path is None:
        return None
    return next((line.split("=")[1].strip() for line in Path(path).read_text().splitlines() if "secret" in line), None)
