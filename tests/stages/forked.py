"""A warm process that forks one child for each `millrace run`, and each look at what it left: no imports between kills.

Requests and answers are lines of JSON on standard input and output; what a look finds is pickled into a file.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from millrace.cli import main
from millrace.mapreduce.tasks import SERVER_ENV
from millrace.model.registry import Registry, RunInfo
from millrace.stages import Run, open_run
from millrace.stages.learn import registry
from millrace.storage import faults

TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")
PRELOAD = (
    "croniter",
    "mrjobs.check",
    "mrjobs.clean",
    "mrjobs.feature_stats",
    "mrjobs.sample",
    "mrjobs.score",
    "mrjobs.shard",
    "pandas",
    "pyarrow.dataset",
    "sklearn.linear_model",
    "sklearn.tree",
    "skops.io",
    "millrace.cli",
    "millrace.stages.choose",
    "millrace.stages.layout",
    "millrace.stages.scoring",
    "millrace.stages.show",
)
PAUSED = 1000  # the answer instead of an exit code
NEVER = "before_scorer_write:1000000"  # a fault that counts all points, and kills at none


class Forks:
    """The warm process, seen from the test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.stages.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | SERVER_ENV,
            cwd=Path(__file__).parents[2],
        )

    def __call__(self, place: Path, words: list[str], fault: str = "", **trouble: Any) -> tuple[int, str]:
        """The exit code of `millrace` with these arguments (-9: killed), and what it said.

        `trouble`: ``after`` so many seconds ``strike`` ``driver`` (kill -9), ``task`` (kill -9 of a process below it)
        or ``pause`` (stop it; `go_on` lets it go on and answers); ``file_limit``: no file may have more bytes.
        """
        request = self.request(place, words, fault, **trouble)
        return self._ask(request), Path(request["said"]).read_text()

    def request(self, place: Path, words: list[str], fault: str = "", **trouble: Any) -> dict[str, Any]:
        """What the warm process is told; several of them may work in one place."""
        said = place / f"said-{self._process.pid}"
        return {"words": words, "place": str(place), "fault": fault, "said": str(said), **trouble}

    def go_on(self) -> int:
        """Let a paused run go on: its exit code."""
        return self._ask({})

    def look(self, place: Path, *, models: bool) -> dict[str, Any]:
        """What `rows_seen`, and with `models` `models_seen` too, find in a home."""
        code, said = self(place, ["look", *(["models"] if models else [])])
        assert code == 0, said
        found: dict[str, Any] = pickle.loads((place / "seen").read_bytes())  # noqa: S301 - our own child wrote it
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def rows_seen(run: Run) -> dict[str, Any]:
    """Of each table the rows in their order, and of all its versions the ledger, the details and what was replaced."""
    found: dict[str, Any] = {}
    for name in TABLES:
        table = run.table(name)
        if table.exists():
            parts = [(sorted(part.partition.items()), part.rows) for part in table.parts()]
            records = [record.model_dump(exclude={"timestamp", "checksums", "live"}) for record in table.history()]
            found[name] = {"rows": table.read(), "parts": parts, "records": records}
            table.verify()
    return found


def models_seen(run: Run) -> dict[str, Any]:
    """All versions, each loaded; aliases, tags, and the MLflow runs."""
    store = registry(run)
    model = store._model("orders")
    found: dict[str, Any] = {}
    found["models"] = [
        {
            "version": each.version,
            "aliases": each.aliases,
            "metrics": each.metrics,
            "tags": {key: value for key, value in each.tags.items() if key != "millrace.compression"},
            "compressed": "millrace.compression" in each.tags,  # its seconds differ
            "files": sorted(f"{path.parent.name}/{path.name}" for path in Path(each.folder).parent.rglob("*.*")),
            "info": store.load("orders", each.version).info.model_dump(exclude={"sha256"}),
        }
        for each in store.versions("orders")
    ]
    found["aliases"] = {} if model is None else (dict(model.aliases), dict(model.tags))
    champion = store.champion("orders")
    found["scorer"] = None if champion is None else Path(store.scoring_folder("orders", champion)).name
    experiment = store._client.get_experiment_by_name("orders")
    runs = [] if experiment is None else store._client.search_runs([experiment.experiment_id])
    found["runs"] = sorted((each.data.tags["millrace.transaction"], each.info.status) for each in runs)
    return found


def _child(request: dict[str, Any]) -> int:
    place = Path(request["place"])
    os.chdir(place)
    temporary = place / "tmp"
    temporary.mkdir(exist_ok=True)
    os.environ.update(
        MILLRACE_HOME=str(place / "home"),
        MILLRACE_PIPELINES=str(place / "pipelines"),
        MILLRACE_FAULT=request["fault"],
        TMPDIR=str(temporary),
    )
    said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if "file_limit" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"], resource.RLIM_INFINITY))
    if request["words"][0] == "look":
        run = open_run("orders", "")
        found = rows_seen(run) | (models_seen(run) if "models" in request["words"] else {})
        (place / "seen").write_bytes(pickle.dumps(found))
        return 0
    told = io.StringIO()  # what is said doesn't count among the files that have no room
    with contextlib.ExitStack() as stack:
        if "file_limit" in request:
            stack.enter_context(contextlib.redirect_stdout(told))
            stack.enter_context(contextlib.redirect_stderr(told))
        try:
            main(request["words"])
        except SystemExit as end:
            if "file_limit" in request:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                Path(request["said"]).write_text(told.getvalue())
            (place / "passes").write_text(json.dumps(faults._reached))
            return int(end.code or 0)
    return 0


def _ended(child: int, request: dict[str, Any], answer: Callable[[str], None]) -> int:
    """Wait for the end of a run; strike it, or what runs below it, when the time has come."""
    if "after" in request:
        descriptor = os.pidfd_open(child)
        ended, _, _ = select.select([descriptor], [], [], request["after"])
        os.close(descriptor)
        if not ended and request["strike"] == "driver":
            os.kill(child, signal.SIGKILL)
        elif not ended and request["strike"] == "task":
            below = psutil.Process(child).children(recursive=True)
            with contextlib.suppress(psutil.NoSuchProcess):
                below[int(request["after"] * 1e6) % len(below)].kill() if below else None
        elif not ended:
            os.kill(child, signal.SIGSTOP)
            answer(str(PAUSED))
            sys.stdin.readline()
            os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _serve() -> None:
    for name in PRELOAD:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:  # what SQLAlchemy works out at its first queries
        store = Registry(f"sqlite:///{folder}/mlflow.db", Path(folder))
        store.versions("orders")
        store.find(RunInfo(pipeline="orders", interval="", versions={}))
    assert threading.active_count() == 1
    answers = os.fdopen(os.dup(1), "w")

    def answer(text: str) -> None:
        answers.write(f"{text}\n")
        answers.flush()

    while line := sys.stdin.readline():
        request = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                code = _child(request)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        answer(str(_ended(child, request, answer)))


if __name__ == "__main__":
    _serve()
