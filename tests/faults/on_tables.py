"""Trials of single tables on S3 behind the faulty proxy: commits, and reads."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import ExitStack

import pyarrow as pa

from millrace.errors import MillraceError
from millrace.mapreduce.store_fs import remove
from millrace.storage.commits import Commit
from millrace.storage.files import list_files
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Table
from tests.faults.losses import Losses, Trial
from tests.faults.plan import ACTIONS, Action, Kind, Plan, Strike
from tests.faults.proxy import proxy
from tests.faults.watch import Watcher

OLD, NEW, OTHER = "2026-01-05", "2026-01-06", "2026-01-07"
ROWS = 1000
FIELDS = [("x", pa.int64()), ("data_interval", pa.string())]
SCHEMA = pa.schema(FIELDS)
WIDE = pa.schema([*FIELDS[:1], ("y", pa.int64()), *FIELDS[1:]])
WRITES: tuple[Kind | None, ...] = ("commit", "part", "list", "head", "log", None)
READS: tuple[Kind | None, ...] = ("rows", "log", "list", "head")
TIMES = (1, 1, 2, 3)  # how often in a row a request is struck
Night = tuple[str, int]


def points(kinds: tuple[Kind | None, ...]) -> list[str]:
    """Every action on every kind of request."""
    return [f"{kind or 'any'} {action}" for kind in kinds for action in ACTIONS]


def put(uri: str, transaction: str, nights: list[Night], schema: pa.Schema = SCHEMA) -> int:
    """Write a part for each night and commit them in place of those nights' rows."""
    parts = []
    for night, value in nights:
        with PartWriter(uri, {"data_interval": night}, schema) as writer:
            columns = {name: pa.array([value] * ROWS, pa.int64()) for name in schema.names[:-1]}
            writer.write(pa.table(columns))
            parts.append(writer.close())
    return Table(uri).commit(Commit(parts, schema, transaction, replace=[night for night, _ in nights]))


def compare(losses: Losses, uri: str, nights: list[Night], transactions: list[str]) -> None:
    """What the table holds now, against what it must hold."""
    table = Table(uri)
    found = table.read()
    wanted = pa.table(
        {
            "x": pa.array([value for _, value in nights for _ in range(ROWS)], pa.int64()),
            "data_interval": [night for night, _ in nights for _ in range(ROWS)],
        }
    )
    losses.rows("rows", pa.table(found.select(["x", "data_interval"])), wanted)
    losses.differ("transactions", [each.transaction for each in reversed(table.history())], transactions)
    for record in table.history():
        record.ledger.check(uri)
    table.verify()


class Answers:
    """MinIO behind the proxy. Undisturbed steps and the reader go through the quiet proxy, or past it."""

    def __init__(self, variables: Mapping[str, str], stack: ExitStack, bucket: str) -> None:
        self.plan = Plan()
        upstream = variables["AWS_ENDPOINT_URL"].removeprefix("http://")
        self.variables = dict(variables) | {"AWS_ENDPOINT_URL": stack.enter_context(proxy(upstream, self.plan))}
        self.watcher = Watcher(variables)
        stack.callback(self.watcher.close)
        self.base = f"s3://{bucket}/faults-{uuid.uuid4().hex[:12]}"
        stack.callback(self._remove)

    def trial(self, trial: Trial) -> Losses:
        os.environ.update(self.variables)
        self.plan.arm()
        uri = f"{self.base}/{trial.kind}-{uuid.uuid4().hex[:8]}"
        losses = Losses()
        try:
            (self._commits if trial.kind == "answers" else self._reads)(trial, uri, losses)
        finally:
            self.plan.arm()
        return losses

    def _strike(self, trial: Trial) -> Strike:
        kind, action = trial.point.split(" ")
        draw = trial.draw()
        first = draw.randint(1, 14) if kind == "any" else draw.choice((1, 1, 2, 3))
        wanted: Kind | None = None if kind == "any" else kind  # type: ignore[assignment]
        found: Action = action  # type: ignore[assignment]
        return Strike(found, wanted, first, draw.choice(TIMES))

    def _commits(self, trial: Trial, uri: str, losses: Losses) -> None:
        """A table is made, has a night replaced and one added at once, or gets a column; then all that again."""
        case = trial.draw().choice(("make", "replace", "widen"))
        before: list[Night] = [(OLD, 1), (OTHER, 3)]
        nights: list[Night] = [(OLD, 11), (NEW, 12)]
        schema = WIDE if case == "widen" else SCHEMA
        if case != "make":
            put(uri, "before", before)
        with self.watcher.watching(losses, [uri]):
            self.plan.arm(self._strike(trial))
            for _ in range(2):
                try:
                    put(uri, "after", nights, schema)
                    break
                except MillraceError:
                    losses.refused += 1
            losses.struck = self.plan.struck
            self.plan.arm()
            try:
                put(uri, "after", nights, schema)
            except MillraceError as error:
                losses.failed(str(error))
                return
        kept = [] if case == "make" else [(OTHER, 3)]
        compare(losses, uri, [*nights, *kept], ["after"] if case == "make" else ["before", "after"])

    def _reads(self, trial: Trial, uri: str, losses: Losses) -> None:
        """Whatever is read is what was committed, or an error in words."""
        put(uri, "before", [(OLD, 1), (OTHER, 3)])
        put(uri, "after", [(OLD, 2), (NEW, 4)])
        wanted, files = Table(uri).read(), list_files(uri)
        draw = trial.draw()
        self.plan.arm(self._strike(trial))
        for _ in range(2):
            way = draw.choice(("read", "verify", "batches", "files", "old"))
            try:
                found = _read(uri, way)
            except MillraceError:
                losses.refused += 1
                continue
            if way == "files":
                losses.differ("files", found, files)
            elif way == "old":
                if sorted(set(found["x"].to_pylist())) != [1, 3] or found.num_rows != 2 * ROWS:
                    losses.half(f"version 0 of {uri}: {found.num_rows} rows")
            elif not found.equals(wanted):
                losses.half(f"{way} of {uri}: {found.num_rows} rows")
        losses.struck = self.plan.struck
        self.plan.arm()
        if not Table(uri).read().equals(wanted):
            losses.failed("the undisturbed read differs")

    def _remove(self) -> None:
        os.environ.update(self.variables)
        self.plan.arm()
        remove(self.base)


def _read(uri: str, way: str) -> object:
    table = Table(uri)
    if way == "files":
        return list_files(uri)
    if way == "old":
        return table.read(0)
    if way == "batches":
        return pa.Table.from_batches(table.batches(batch_rows=300)).combine_chunks()
    return table.read(verify=way == "verify")
