"""Trials with servers of their own: MinIO and a DataNode killed in the middle and started again, and whole nights on S3
through the faulty proxy."""

from __future__ import annotations

import os
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread

from millrace.errors import MillraceError
from millrace.mapreduce.store_fs import remove
from millrace.storage.files import write_file
from services.daemon import Daemon, wait_for
from services.hadoop import Hadoop
from services.minio import BUCKET, Minio
from services.place import Place, default_place
from services.service import Service
from tests.faults.losses import Losses, Trial
from tests.faults.on_tables import NEW, OLD, OTHER, Night, compare, put
from tests.faults.plan import ACTIONS, Plan, Strike
from tests.faults.proxy import proxy
from tests.faults.watch import Watcher
from tests.orders import FIRST, PIPELINE, day_rows
from tests.stages.forked import TABLES, Forks

NIGHTS: list[tuple[str, list[Night]]] = [
    ("first", [(OLD, 1), (OTHER, 2)]),
    ("second", [(OLD, 3)]),
    ("third", [(NEW, 4), (OTHER, 5)]),
    ("fourth", [(OLD, 6), (NEW, 7)]),
]
DONE: list[Night] = [(OLD, 6), (NEW, 7), (OTHER, 5)]


def keys(place: Place) -> dict[str, str]:
    """The keys themselves: looking for them in a file costs each process the import of boto3."""
    return dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), place.access(), strict=True))


class Hdfs(Hadoop):
    """HDFS alone."""

    def daemons(self, *, fresh: bool = False) -> list[Daemon]:
        return [daemon for daemon in super().daemons(fresh=fresh) if daemon.name in ("namenode", "datanode")]


@contextmanager
def private(kind: type[Service]) -> Iterator[Service]:
    """A server for one process of trials, from the programs that are there."""
    shared = default_place()
    with tempfile.TemporaryDirectory(prefix="millrace-faults-", ignore_cleanup_errors=True) as folder:
        place = Place(Path(folder))
        (place.root / "cache").symlink_to(shared.folder("cache"))
        if kind is Hdfs:
            place.folder("hadoop", "share", "hadoop")
            (place.root / "hadoop" / "share" / "hadoop" / "lib").symlink_to(Hadoop(shared).jars)
        service = kind(place)
        service.prepare(lambda words: None)
        service.start(lambda words: None)
        try:
            yield service
        finally:
            service.stop(lambda words: None)


class Server:
    """A table on a server that is killed with -9 and comes back after a while."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.service = stack.enter_context(private(Minio if name == "minio killed" else Hdfs))
        variables = self.service.variables() | keys(self.service.place)
        self.watcher = Watcher(variables)
        stack.callback(self.watcher.close)
        self.variables = variables
        root = f"s3://{BUCKET}" if name == "minio killed" else self.service.facts()["namenode"]
        self.base = f"{root}/faults"
        self.victim = "minio" if name == "minio killed" else "datanode"

    def trial(self, trial: Trial) -> Losses:
        os.environ.update(self.variables)
        losses = Losses()
        draw = trial.draw()
        uri = f"{self.base}/{uuid.uuid4().hex[:8]}"
        daemon = next(each for each in self.service.daemons() if each.name == self.victim)
        with self.watcher.watching(losses, [uri], steady=False):
            killer = Thread(target=kill_and_restart, args=(daemon, self.service.place, draw, trial.point))
            killer.start()
            self._commits(uri, losses)
            killer.join()
            losses.struck = 1
            if missing := wait_for(lambda: self._missing(uri), lambda: True, 60):
                losses.failed(f"{daemon.name} isn't back: {missing}")
            try:
                for name, nights in NIGHTS:
                    put(uri, name, nights)
            except MillraceError as error:
                losses.failed(str(error))
                return losses
        compare(losses, uri, DONE, [name for name, _ in NIGHTS])
        return losses

    @staticmethod
    def _missing(uri: str) -> str | None:
        """Why a file can't be written; a NameNode takes a DataNode that is dead for alive for minutes."""
        try:
            write_file(f"{uri}-is-back", b"yes")
        except OSError as error:
            return str(error)
        return None

    @staticmethod
    def _commits(uri: str, losses: Losses) -> None:
        """Commit after commit, each tried three times, as a scheduler would; the rest is left to the rerun."""
        for name, nights in NIGHTS:
            for _ in range(3):
                try:
                    put(uri, name, nights)
                    break
                except MillraceError:
                    losses.refused += 1
            else:
                return


def kill_and_restart(daemon: Daemon, place: Place, draw: random.Random, point: str) -> None:
    """Kill with -9 at some moment, and start again: at once, or after a while."""
    time.sleep(draw.uniform(0, 0.6))
    process = daemon.process(place)
    if process is not None:
        process.kill()
        process.wait(20)
    if point == "for a while":
        time.sleep(draw.uniform(0.5, 3))
    daemon.launch(place)


class Runs:
    """Two nights of the whole pipeline on S3 through the faulty proxy, against two undisturbed nights."""

    def __init__(self, variables: Mapping[str, str], stack: ExitStack) -> None:
        self.place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-faults-")))
        for name in ("data", "pipelines", "profiles"):
            (self.place / name).mkdir()
        for day in range(12):
            name = FIRST.replace(day=day + 1)
            (self.place / "data" / f"{name}.csv").write_text(day_rows(name))
        (self.place / "pipelines" / "orders.yaml").write_text(PIPELINE)
        self.root = f"s3://{BUCKET}/faults-{uuid.uuid4().hex[:12]}"
        self.plan = Plan()
        upstream = variables["AWS_ENDPOINT_URL"].removeprefix("http://")
        address = stack.enter_context(proxy(upstream, self.plan))
        self.variables = dict(variables) | {
            "AWS_ENDPOINT_URL": address,
            "MILLRACE_PROFILES": str(self.place / "profiles"),
            "MILLRACE_PROFILE": "faulty",
        }
        self.direct = dict(variables)
        with changed(self.variables):
            self.forks = Forks()
        stack.callback(self.forks.close)
        self.watcher = Watcher(variables)
        stack.callback(self.watcher.close)
        stack.callback(self._fresh)
        self._fresh()
        self.wanted = self._two_nights(Losses(), lambda: None)

    def trial(self, trial: Trial) -> Losses:
        losses = Losses()
        draw = trial.draw()
        count = 0

        def arm() -> None:
            nonlocal count
            firsts = sorted(draw.sample(range(1, 250), 4))
            self.plan.arm(*[Strike(draw.choice(ACTIONS), None, first, draw.choice((1, 2))) for first in firsts])
            count += 1

        self._fresh()
        uris = [f"{self.root}/orders/{name}" for name in TABLES]
        with self.watcher.watching(losses, uris):
            found = self._two_nights(losses, arm)
        losses.struck = count
        losses.compare(found, self.wanted)
        return losses

    def _two_nights(self, losses: Losses, arm: Callable[[], None]) -> Mapping[str, object]:
        for night in ("2026-01-11", "2026-01-12"):
            words = ["run", "orders", "--date", night, "-r", "inline", "--json"]
            arm()
            code, said = self.forks(self.place, words)
            self.plan.arm()
            losses.refused += int(code == 1)
            if code and '"exit_status": 1}' not in said:
                losses.failed(f"night {night} ends with {code}: {said[-900:]}")
            code, said = self.forks(self.place, words)
            if code:
                losses.failed(f"the rerun of {night} ends with {code}: {said[-900:]}")
        return self.forks.look(self.place, models=False)

    def _fresh(self) -> None:
        """No tables and no home."""
        import shutil

        self.plan.arm()
        os.environ.update(self.direct)
        remove(self.root)
        shutil.rmtree(self.place / "home", ignore_errors=True)
        (self.place / "profiles" / "faulty.yaml").write_text(
            "root: " + self.root + "\nrunner: inline\nregistry: ${MLFLOW_TRACKING_URI:-}\n"
            "s3: {endpoint: '${AWS_ENDPOINT_URL}', region: us-east-1}\n"
        )


@contextmanager
def changed(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with these variables, for a while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
