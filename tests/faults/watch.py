"""A reader in a process of its own: it reads the newest version of every table all the time and must never see half."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection

from millrace.errors import MillraceError
from millrace.storage.commits import EVERYTHING
from millrace.storage.parts import INTERVAL
from millrace.storage.tables import Table
from tests.faults.losses import Losses

PAUSE = 0.02  # seconds between two rounds: the work that is watched needs the processor too


class Watcher:
    """The reader, seen from a trial."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_watch, args=(theirs, dict(variables)), daemon=True)
        self._process.start()
        theirs.close()

    @contextmanager
    def watching(self, losses: Losses, uris: Sequence[str], *, steady: bool = True) -> Iterator[None]:
        """Read these tables meanwhile; `steady`: the reader's own store answers, so that no read may fail."""
        self._pipe.send((list(uris), steady))
        try:
            yield
        finally:
            self._pipe.send(None)
            for words in self._pipe.recv():
                losses.half(words)

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()


def seen_half(table: Table) -> str | None:
    """What is wrong with the newest version of a table; nothing where it is whole."""
    if not table.exists():
        return None
    version = table.version()
    record, rows = table.record(version), table.read(version)
    if not record.ledger.balanced:
        return f"the ledger of version {version} doesn't balance: {record.ledger}"
    counts = Counter(rows[INTERVAL].to_pylist()) if INTERVAL in rows.column_names else {}
    wanted = table.intervals(version) if counts else {}
    if counts != wanted:
        return f"version {version} reads as {dict(counts)} instead of {wanted}"
    new = rows.num_rows if record.replaced == EVERYTHING else sum(counts.get(name, 0) for name in record.replaced)
    if record.replaced and new != record.ledger.rows_out:
        return f"version {version} has {new} new rows instead of {record.ledger.rows_out}"
    return None


def _watch(pipe: Connection, variables: dict[str, str]) -> None:
    os.environ.update(variables)
    while True:
        try:
            uris, steady = pipe.recv()
        except EOFError:
            return
        found: list[str] = []
        tables: list[Table] = []
        while not pipe.poll(PAUSE):
            tables = tables or [Table(uri) for uri in uris]
            for table in tables:
                try:
                    wrong = seen_half(table)
                except MillraceError as error:
                    wrong = f"{type(error).__name__}: {error}" if steady else None
                if wrong:
                    found.append(f"{table.uri}: {wrong}")
        pipe.recv()
        pipe.send(found[:20])
