"""A small table partitioned by interval and shard, and processes that work on it."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from a_stage import SCHEMA, StageProcess

from millrace.storage.parts import Part, PartWriter


@pytest.fixture(scope="session")
def schema() -> pa.Schema:
    return SCHEMA


@pytest.fixture(scope="session")
def write() -> Callable[..., Part]:
    """Write one part: its table, its interval, the values of `x`."""

    def write_part(uri: str, interval: str, values: Sequence[int], shard: int = 0) -> Part:
        with PartWriter(uri, {"data_interval": interval, "shard": str(shard)}, SCHEMA, "p") as writer:
            writer.write(pa.table({"x": pa.array(values, pa.int64())}))
            return writer.close()

    return write_part


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A new folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def stage() -> Callable[..., StageProcess]:
    """Start a process that writes and commits one interval."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["millrace.storage.tables", "pandas", "pytest"])

    def start(
        uri: str, transaction: str, interval: str, value: int, *, go: Path | None = None, fault: str = ""
    ) -> StageProcess:
        return StageProcess(context, (uri, transaction, interval, value), go, fault)

    return start
