"""A full disk and missing permission: clear words, and the table as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.storage.tables import Commit, Table

SCRIPT = """
import os, resource, sys
import numpy as np, pyarrow as pa
from millrace.errors import MillraceError
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Commit, Table

case, uri = sys.argv[1:]
schema = pa.schema([("x", pa.int64()), ("data_interval", pa.string()), ("shard", pa.int32())])

def write(rows):
    with PartWriter(uri, {"data_interval": "2026-01-06", "shard": "0"}, schema, "p") as writer:
        for _ in range(10):
            writer.write(pa.table({"x": np.random.default_rng(0).integers(0, 2**62, rows // 10)}))
        return writer.close()

part = write(100)
if case == "quota":
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
if case == "unprivileged":
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
if case == "full":
    with open(f"{uri}/filler", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
for act in (lambda: write(1_000_000), lambda: Table(uri).commit(Commit([part], schema, "second"))):
    try:
        print("done", act())
    except MillraceError as error:
        print(type(error).__name__, error.message)
"""


def attempt(case: str, uri: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, case, uri], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_unharmed(table: Table) -> None:
    assert table.version() == 0
    assert table.read()["x"].to_pylist() == [1, 2]
    assert len(list(Path(table.uri).rglob("*.parquet"))) == 2, "the committed one and the one that waits"
    assert len(list(Path(table.uri, "_delta_log").iterdir())) == 1


def make_table(folder: Path, schema, write) -> Table:
    table = Table(str(folder / "t"))
    table.commit(Commit([write(table.uri, "2026-01-05", [1, 2])], schema, "first"))
    return table


def test_a_file_size_quota(tmp_path, schema, write):
    table = make_table(tmp_path, schema, write)
    assert attempt("quota", table.uri) == ["WorkError no room to write"] * 2
    check_unharmed(table)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_a_full_disk(tmp_path, schema, write):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        table = make_table(tmp_path, schema, write)
        assert attempt("full", table.uri) == ["WorkError no room to write"] * 2
        check_unharmed(table)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop its privileges")
def test_no_permission(open_path, schema, write):
    table = make_table(open_path, schema, write)
    assert attempt("unprivileged", table.uri) == ["WorkError no permission to write"] * 2
    check_unharmed(table)
