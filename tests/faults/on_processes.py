"""Trials of commits by processes of their own, on every store: kills, races, late attempts."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from millrace.errors import MillraceError
from millrace.mapreduce.store_fs import remove
from millrace.storage.tables import Table
from tests.faults.losses import Losses, Trial
from tests.faults.watch import Watcher
from tests.storage.a_stage import StageProcess

STORES = ("file", "s3", "hdfs")
NIGHT, ROWS, COMMITTERS = "2026-01-05", 1000, 16
POINTS = ("before_part_write", "after_part_write", "before_commit", "after_commit", "any time")
KILLS = [f"{store} {point}" for store in STORES[:2] for point in POINTS]
RACES = [f"{store} {race}" for store in STORES for race in ("16 nights", "1 transaction", "1 night")]
LATE = [f"{store} {moment}" for store in STORES for moment in ("before the look", "any time")]
SECONDS = {"file": 0.08, "s3": 0.25, "hdfs": 2.5}  # about as long as a stage's work takes


class Committers:
    """A fork server that makes committers, a reader, and a folder of its own on each store."""

    def __init__(self, variables: Mapping[str, str], stack: ExitStack, bases: Mapping[str, str]) -> None:
        os.environ.update(variables)
        self.variables = dict(variables)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["millrace.storage.tables", "tests.storage.a_stage", "pandas"])
        self.watcher = Watcher(variables)
        stack.callback(self.watcher.close)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-faults-")))
        own = f"faults-{uuid.uuid4().hex[:12]}"
        self.bases = {"file": str(self.folder)} | {store: f"{base}/{own}" for store, base in bases.items()}
        for store in bases:
            stack.callback(remove, self.bases[store])

    def trial(self, trial: Trial) -> Losses:
        os.environ.update(self.variables)
        store, _, what = trial.point.partition(" ")
        uri = f"{self.bases[store]}/t{uuid.uuid4().hex[:8]}"
        losses = Losses()
        with self.watcher.watching(losses, [uri]):
            if trial.kind == "commit killed":
                self._killed(trial, store, what, uri, losses)
            elif trial.kind == "16 committers":
                self._race(trial, what, uri, losses)
            else:
                self._late(trial, store, what, uri, losses)
        return losses

    def _stage(self, uri: str, transaction: str, night: str, value: int, **how: object) -> StageProcess:
        return StageProcess(self.context, (uri, transaction, night, value), how.get("go"), str(how.get("fault", "")))  # type: ignore[arg-type]

    def _killed(self, trial: Trial, store: str, what: str, uri: str, losses: Losses) -> None:
        """A night is replaced; the process dies; the same again."""
        draw = trial.draw()
        self._finish(losses, self._stage(uri, "before", NIGHT, 1))
        if what == "any time":
            victim = self._stage(uri, "after", NIGHT, 2)
            time.sleep(draw.uniform(0.002, SECONDS[store]))
            victim._process.kill()
        else:
            victim = self._stage(uri, "after", NIGHT, 2, fault=what)
        losses.struck = int(victim.finish()[1] == -signal.SIGKILL)
        if what != "any time" and not losses.struck:
            losses.failed("the fault wasn't reached")
        self._finish(losses, self._stage(uri, "after", NIGHT, 2))
        self._compare(losses, uri, {NIGHT: 2}, ["before", "after"])

    def _race(self, trial: Trial, what: str, uri: str, losses: Losses) -> None:
        """Sixteen at once, of which one may be killed at any time and comes again."""
        draw = trial.draw()
        go = self.folder / f"go-{uuid.uuid4().hex[:8]}"
        nights = {number: f"2026-01-{number:02}" if what == "16 nights" else NIGHT for number in range(1, 17)}
        names = {number: "same" if what == "1 transaction" else f"t{number}" for number in nights}
        runners = {n: self._stage(uri, names[n], night, n, go=go) for n, night in nights.items()}
        go.touch()
        unlucky = draw.randint(1, COMMITTERS)
        time.sleep(draw.uniform(0, 0.3))
        runners[unlucky]._process.kill()
        losses.struck = int(runners[unlucky].finish()[1] == -signal.SIGKILL)
        for number, runner in runners.items():
            if number != unlucky:
                self._finish(losses, runner)
        again = self._finish(losses, self._stage(uri, names[unlucky], nights[unlucky], unlucky))
        records = list(reversed(Table(uri).history()))
        losses.differ("transactions", sorted(each.transaction for each in records), sorted(set(names.values())))
        if what == "16 nights":
            self._compare(losses, uri, {night: number for number, night in nights.items()}, None)
        else:
            rows = Table(uri).read()
            last = records[-1].transaction
            values = rows["x"].unique().to_pylist()
            ok = values == [int(last[1:])] if what == "1 night" else len(values) == 1
            losses.differ("one writer's rows", (ok, rows.num_rows), (True, ROWS))
        if not isinstance(again, int):
            losses.failed(f"the one that was killed: {again}")

    def _late(self, trial: Trial, store: str, what: str, uri: str, losses: Losses) -> None:
        """An attempt waits or is stopped; its successor commits; the late attempt goes on and changes nothing."""
        draw = trial.draw()
        self._finish(losses, self._stage(uri, "before", NIGHT, 1))
        go = self.folder / f"go-{uuid.uuid4().hex[:8]}" if what == "before the look" else None
        late = self._stage(uri, "after", NIGHT, 2, go=go)
        pid = late._process.pid
        assert pid is not None
        if go is None:
            time.sleep(draw.uniform(0.002, SECONDS[store]))
            with contextlib.suppress(ProcessLookupError):  # it was faster
                os.kill(pid, signal.SIGSTOP)
        self._finish(losses, self._stage(uri, "after", NIGHT, 3))
        before = Table(uri).read()["x"][0].as_py()
        if go is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        else:
            go.touch()
        losses.struck = int(before == 3)
        self._finish(losses, late)
        self._compare(losses, uri, {NIGHT: before}, ["before", "after"])

    @staticmethod
    def _finish(losses: Losses, stage: StageProcess) -> int | str | None:
        answer, code = stage.finish()
        if not isinstance(answer, int) or code:
            losses.failed(f"a committer ends with {code}: {answer}")
        return answer

    @staticmethod
    def _compare(losses: Losses, uri: str, values: Mapping[str, int], transactions: list[str] | None) -> None:
        table = Table(uri)
        nights = sorted(values)
        try:
            found = table.read(columns=["x", "data_interval"])
            table.verify()
        except MillraceError as error:
            losses.failed(str(error))
            return
        wanted = pa.table(
            {
                "x": pa.array([values[night] for night in nights for _ in range(ROWS)], pa.int64()),
                "data_interval": [night for night in nights for _ in range(ROWS)],
            }
        )
        losses.rows("rows", found, wanted)
        if transactions is not None:
            losses.differ("transactions", [each.transaction for each in reversed(table.history())], transactions)
