"""The driver's side of the task server: tasks flow out, their progress, ends and failures flow back.

One warm server is kept for the next job. A server belongs to the process that started it: a fork forgets it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from millrace.errors import RequestError, ServiceError, SplitFailed
from millrace.mapreduce.failures import revive
from millrace.mapreduce.taskserver import serve

log = logging.getLogger(__name__)

BOOT = """
import json, sys
config = json.loads(sys.argv[1])
sys.path[:] = config["sys_path"]
from millrace.mapreduce.taskserver import serve
serve(config["requests"], config["events"], config["preload"])
"""
QUIET_THREADS = 2
"""The server's own, and one that Polars starts when it is imported and that waits for files to remove."""

SERVER_ENV = {  # no threads before a fork, freed memory kept, and no slow detour to import distutils
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "_RJEM_MALLOC_CONF": "background_thread:false",
    "SETUPTOOLS_USE_DISTUTILS": "stdlib",
    "MIMALLOC_PURGE_DELAY": "500",
}


@dataclass
class Task:
    """One map or reduce task, its files, and the names of its splits in the order that it reads them."""

    kind: str
    number: int
    args: list[str]
    input: str
    output: str
    messages: str
    folder: str
    env: dict[str, str]
    splits: list[str] = field(default_factory=list)
    done: int = 0

    @property
    def report(self) -> str:
        """Where the task leaves the description of its failure."""
        return f"{self.messages}.failure"

    def at_hand(self) -> str:
        """The split that it reads now."""
        return f" on {self.splits[self.done]}" if self.done < len(self.splits) else ""


def job_reference(job: type[Any]) -> dict[str, str | None]:
    """How another process finds a job class. Raises RequestError where none can."""
    name = job.__qualname__
    if "<locals>" in name:
        raise RequestError(
            f"the runner 'local' can't import {name}",
            expected="a class at the top of a module",
            found="a class inside a function",
            hint="move it out of the function, or use the runner 'inline'",
        )
    if job.__module__ != "__main__":
        return {"module": job.__module__, "name": name, "file": None}
    main = sys.modules["__main__"]
    if main.__spec__ is not None:  # python -m package.module
        return {"module": main.__spec__.name, "name": name, "file": None}
    file = inspect.getsourcefile(job) if getattr(main, "__file__", None) else None
    if file is None:
        raise RequestError(
            f"the runner 'local' can't import {name}",
            expected="a class in a file",
            found="a class typed in",
            hint="save it in a file, or use the runner 'inline'",
        )
    return {"module": "__main__", "name": name, "file": str(Path(file).absolute())}


def _quiet_blas() -> AbstractContextManager[Any]:
    """Inside, BLAS has one thread, where it is loaded already: no environment tells it how many to start."""
    if "numpy" not in sys.modules:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1, "blas")


class Forked:
    """A child of this process that runs `run` and ends; with the methods of `subprocess.Popen`."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.process = get_context("fork").Process(target=run, daemon=True)
        self.process.start()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, negative for a signal. Raises TimeoutExpired where it still runs after `timeout` seconds."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return self.process.exitcode

    def kill(self) -> None:
        """Ends it at once."""
        self.process.kill()


class TaskServer:
    """A warm process that forks tasks. Use it through `task_server`."""

    def __init__(self, *, fork: bool = False, preload: Sequence[str] = ()) -> None:
        self.preload = preload
        self.owner = os.getpid()
        self.loaded: set[str] = set()
        self.path = list(sys.path)
        requests, self.requests = os.pipe()
        self.events, events = os.pipe()
        self.rest = b""
        self.process: subprocess.Popen[bytes] | Forked
        try:
            self.process = self._forked(requests, events) if fork else self._started(requests, events)
        finally:
            os.close(requests)
            os.close(events)

    def _started(self, requests: int, events: int) -> subprocess.Popen[bytes]:
        """An interpreter of its own: this process may have threads."""
        entries = [str(Path(entry).absolute()) for entry in sys.path]
        config = {"sys_path": entries, "requests": requests, "events": events, "preload": self.preload}
        return subprocess.Popen(
            [sys.executable, "-c", BOOT, json.dumps(config)],
            pass_fds=(requests, events),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | SERVER_ENV,
        )

    def _forked(self, requests: int, events: int) -> Forked:
        """A fork of this process, which has only imported."""

        def run() -> None:
            os.close(self.requests)
            os.close(self.events)
            os.environ.update(SERVER_ENV)
            with Path(os.devnull).open("r+b", buffering=0) as nothing:
                os.dup2(nothing.fileno(), 0)
                os.dup2(nothing.fileno(), 1)
            serve(requests, events, self.preload)

        gc.freeze()  # neither process touches, so neither copies, the pages of these objects
        with _quiet_blas():
            return Forked(run)

    def answers(self) -> bool:
        """Whether the process is still there; one that was just started is."""
        if not self.loaded:
            return True
        try:
            self._ask({"ping": True})
            return "ready" in next(self._events())
        except ServiceError:
            return False

    def load(self, job: dict[str, str | None]) -> None:
        """Imports a job. Raises RequestError where that fails."""
        key = json.dumps(job)
        if key in self.loaded:
            return
        with tempfile.TemporaryDirectory(prefix="millrace-load-") as folder:
            report = Path(folder) / "report"
            self._ask({"load": job, "report": str(report)})
            event = next(self._events())
            if "failed" in event:
                cause = revive(json.loads(report.read_text("utf-8"))["failed"])
                where = job["file"] or job["module"]
                raise RequestError(f"the job's file can't be imported: {where}", found=cause.found) from cause
        if event["ready"] > QUIET_THREADS:
            log.warning("importing %s starts threads: its tasks may hang", job["file"] or job["module"])
        self.loaded.add(key)

    def run(
        self, job: dict[str, str | None], tasks: Sequence[Task], at_once: int, on_split: Callable[[], None]
    ) -> None:
        """Runs tasks, at most `at_once` at a time. Raises what the first failed task raised, the others stopped."""
        running: dict[int, Task] = {}
        events = self._events()
        try:
            self._run(job, dict(enumerate(tasks)), running, events, at_once, on_split)
        except ServiceError:
            raise
        except BaseException:
            self._ask({"stop": True})
            while running:
                running.pop(next(events).get("exit", -1), None)
            raise

    def _run(
        self,
        job: dict[str, str | None],
        waiting: dict[int, Task],
        running: dict[int, Task],
        events: Iterator[dict[str, Any]],
        at_once: int,
        on_split: Callable[[], None],
    ) -> None:
        threads = max(1, at_once // max(1, len(waiting)))
        while waiting or running:
            while waiting and len(running) < at_once:
                index = next(iter(waiting))
                running[index] = waiting.pop(index)
                self._ask({"task": index, "job": job, "threads": threads, **_request(running[index])})
            event = next(events)
            if "split" in event:
                running[event["split"]].done += 1
                on_split()
            elif "exit" in event:
                task = running.pop(event["exit"])
                if event["code"] != 0:
                    raise _failure(task, event["code"])

    def close(self) -> None:
        """Ends the process and its tasks."""
        if self.owner != os.getpid():
            return
        with contextlib.suppress(OSError):
            os.close(self.requests)
        if not self.loaded:
            self.process.kill()  # it may still import, for a second, and has no tasks
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.events)

    def _ask(self, request: dict[str, Any]) -> None:
        data = memoryview(json.dumps(request).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self.requests, data) :]
        except BrokenPipeError:
            raise self._gone() from None

    def _events(self) -> Iterator[dict[str, Any]]:
        while True:
            *lines, self.rest = self.rest.split(b"\n")
            for line in lines:
                yield json.loads(line)
            data = os.read(self.events, 1 << 16)
            if not data:
                raise self._gone()
            self.rest += data

    def _gone(self) -> ServiceError:
        code = self.process.wait()
        hint = "the system may be out of memory" if code == -signal.SIGKILL else None
        return ServiceError("the process that forks tasks has ended", found=f"exit status {code}", hint=hint)


def _request(task: Task) -> dict[str, Any]:
    return {
        "args": task.args,
        "input": task.input,
        "output": task.output,
        "messages": task.messages,
        "report": task.report,
        "folder": task.folder,
        "env": task.env,
    }


def _failure(task: Task, code: int) -> Exception:
    """What a task's end tells: its own exception, or the signal that killed it."""
    report = Path(task.report)
    if report.exists():
        return revive(json.loads(report.read_text("utf-8")))
    what = f"{task.kind} task {task.number}"
    if code < 0:
        name = signal.Signals(-code).name
        hint = "probably out of memory: use fewer tasks at a time" if code == -signal.SIGKILL else None
        return SplitFailed(f"{what} was killed{task.at_hand()}", found=name, hint=hint)
    lines = Path(task.messages).read_text("utf-8", "replace").splitlines()[-3:]
    return SplitFailed(
        f"{what} ended early{task.at_hand()}", found=f"exit status {code}", hint=" | ".join(lines) or None
    )


_idle: list[TaskServer] = []


@contextlib.contextmanager
def task_server() -> Iterator[TaskServer]:
    """A warm server for this thread alone; kept for the next user unless it broke."""
    server = _idle.pop() if _idle else TaskServer()
    if server.path != sys.path or not server.answers():
        server.close()
        server = TaskServer()
    try:
        yield server
    except ServiceError:
        server.close()
        raise
    except Exception:
        _idle.append(server)
        raise
    except BaseException:  # Ctrl-C and the like
        server.close()
        raise
    else:
        _idle.append(server)


def prestart(*, fork: bool, preload: Sequence[str] = ()) -> None:
    """Starts a server that the first job finds, and that imports `preload` meanwhile, beside what every task needs.

    With `fork`, from this process, which may have imported modules but done nothing yet: that takes milliseconds, where
    an interpreter takes the time of all imports once more. What has threads by then, BLAS and jemalloc, knows of forks.
    A process that did anything else may have threads that don't, and a fork of it might wait for ever; so may one on
    macOS, whose libraries start threads of their own.
    """
    if not _idle and hasattr(os, "fork"):
        _idle.append(TaskServer(fork=fork and sys.platform == "linux", preload=preload))


def close_servers() -> None:
    """Ends all idle servers."""
    while _idle:
        _idle.pop().close()


atexit.register(close_servers)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
