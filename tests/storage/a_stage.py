"""A stage in a process of its own: it writes a part, waits for the start of a race, and commits."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pyarrow as pa

from millrace.errors import MillraceError
from millrace.storage import faults
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Commit, Table

SCHEMA = pa.schema([("x", pa.int64()), ("data_interval", pa.string()), ("shard", pa.int32())])
Work = tuple[str, str, str, int]


def run(answer: Connection, work: Work, go: Path | None, fault: str) -> None:
    """Answers the version, or the error's text."""
    os.environ[faults.VARIABLE] = fault
    uri, transaction, interval, value = work
    try:
        with PartWriter(uri, {"data_interval": interval, "shard": "0"}, SCHEMA, "p") as writer:
            writer.write(pa.table({"x": pa.array([value] * 1000, pa.int64())}))
            part = writer.close()
        while go is not None and not go.exists():
            time.sleep(0.001)
        answer.send(Table(uri).commit(Commit([part], SCHEMA, transaction, replace=[interval])))
    except MillraceError as error:
        answer.send(str(error))


class StageProcess:
    """A running stage. `finish` gives its answer, None where it was killed, and its exit code."""

    def __init__(self, context: ForkServerContext, work: Work, go: Path | None, fault: str) -> None:
        self._answer, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=run, args=(theirs, work, go, fault))
        self._process.start()
        theirs.close()

    def finish(self) -> tuple[int | str | None, int | None]:
        try:
            answer = self._answer.recv() if self._answer.poll(60) else None
        except EOFError:
            answer = None
        self._process.join(60)
        return answer, self._process.exitcode
