"""Small jobs that the tests of the engine run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from millrace.data.raw import Split
from millrace.errors import InputError
from millrace.mapreduce.job import ColumnJob


class Sums(ColumnJob):
    """Emits (a, b) of every row as one pair, sums them by a, and says what it saw of its surroundings."""

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        print("a print must not mix with the pairs")
        for raw in self.read(split):
            frame = pl.from_arrow(raw.batch).with_columns(pl.col("b").cast(pl.Int64))
            assert isinstance(frame, pl.DataFrame)
            yield from frame.group_by("a").agg(pl.col("b").sum()).sort("a").iter_rows()
        self.increment_counter("test", "maps")

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        yield key, sum(values)


class MapOnly(ColumnJob):
    """No reduce phase; a pair a split, and one a task."""

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        yield (
            f"{split.path.rpartition('/')[2]}:{split.first_row:05d}",
            {"rows": [len(raw.rows) for raw in self.read(split)]},
        )

    def map_end(self) -> Iterator[tuple[str, Any]]:
        yield "end", self.plan.params.get("word")


class Order(ColumnJob):
    """Shows the order of a key's values."""

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        yield "all", split.first_row

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        yield key, list(values)


class Fails(ColumnJob):
    """Fails as the plan's parameters say."""

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        for _ in self.read(split):
            if self.plan.params["at"] == "map" and split.first_row > 1:
                fail(self.plan.params["how"])
            yield "k", 1

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        fail(self.plan.params["how"])
        yield key, 0


def fail(how: str) -> None:
    if how == "value":
        raise ValueError("no number: 'x'")
    if how == "input":
        raise InputError("a bad file", expected="gold", found="tin", hint="look again")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        import ctypes

        ctypes.string_at(0)
    if how == "server":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if how == "wait":
        Path(os.environ["MILLRACE_TEST_MARK"]).write_text(f"{os.getpid()} {os.getppid()}\n")
        time.sleep(60)


class Where(ColumnJob):
    """Tells where a task runs."""

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        mark = os.environ.get("MILLRACE_TEST_MARK")
        yield "where", {"pid": os.getpid(), "server": os.getppid(), "folder": str(Path.cwd()), "mark": mark}


class NotJson(ColumnJob):
    """Emits a value that JSON can't hold."""

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        yield "k", {1, 2}
