"""The process that `-r local` forks its tasks from: requests flow in through a pipe, events flow back through another.

It imports what tasks need once, never starts a thread, and forks a child for each task. It runs as
``python -c BOOT config`` in an interpreter of its own, so the process that asks for tasks may have threads, or as a
fork of a job's script that has only imported so far. It ends, and its tasks with it, when the request pipe is closed or
its parent is gone.

Lines are JSON. Requests: ``{"load": job}``, ``{"task": number, …}``, ``{"stop": true}`` (kill what runs),
``{"ping": true}``.
Events: ``{"ready": threads}``, ``{"failed": description}``, ``{"split": task}``, ``{"exit": task, "code": code}``.
An event is one write of less than 512 bytes, which pipes never mix; a failed task leaves its description in a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import importlib.util
import json
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.mapreduce.failures import describe

if TYPE_CHECKING:
    from millrace.data.split import Split

PRELOAD = ("pyarrow.parquet", "millrace.data.jsonlines", "millrace.data.raw", "millrace.mapreduce.job")
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
KEPT = {-1: 128 << 20, -3: 32 << 20}  # bytes, by M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
RELEASED = 16 << 20  # bytes of input after which a task gives back what it freed
HUGE_PAGES_OFF = 41  # PR_SET_THP_DISABLE


def serve(requests: int, events: int, preload: Sequence[str]) -> None:
    """Answers requests until their pipe is closed; first imports `preload`, beside what every task needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked
    server = TaskServer(requests, events)
    gc.disable()  # imports make much and leave no garbage
    for name in (*PRELOAD, *preload):
        with contextlib.suppress(ImportError):  # told where a job that needs it is loaded
            importlib.import_module(name)
    gc.enable()
    server.run()


class TaskServer:
    """Forks and reaps tasks. One thread, no state beyond the running children."""

    def __init__(self, requests: int, events: int) -> None:
        self.requests, self.events = requests, events
        self.parent = os.getppid()
        self.running: dict[int, int] = {}  # pid → task
        self.jobs: dict[str, type[Any]] = {}
        self.made: tuple[str, Any] = ("", None)
        self.wake, self.waker = os.pipe()
        for end in (self.wake, self.waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        self.libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        if self.libc is not None:  # tasks are short: clearing huge pages of which they use a part took a third of them
            self.libc.prctl(HUGE_PAGES_OFF, 1, 0, 0, 0)

    def run(self) -> None:
        gc.freeze()  # children don't touch, so don't copy, the pages of these objects
        rest = b""
        try:
            while os.getppid() == self.parent:
                ready, _, _ = select.select([self.requests, self.wake], [], [], 2.0)
                if self.wake in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self.wake, 4096)
                self._reap()
                if self.requests in ready:
                    data = os.read(self.requests, 1 << 16)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._answer(json.loads(line))
        finally:
            self._stop()

    def _answer(self, request: dict[str, Any]) -> None:
        if "load" in request:
            try:
                job = load_job(**request["load"])
                for name in job.preload:
                    importlib.import_module(name)
                self.jobs[json.dumps(request["load"])] = job
            except BaseException as error:
                text = json.dumps({"failed": describe(error)})
                Path(request["report"]).write_text(text, "utf-8")
                self._tell({"failed": True})
            else:
                gc.freeze()
                self._tell({"ready": threads()})
        elif "ping" in request:
            self._tell({"ready": threads()})
        elif "stop" in request:
            self._stop()
        else:
            self._fork(request)

    def _fork(self, request: dict[str, Any]) -> None:
        task = self._made(request)
        pid = os.fork()
        if pid:
            self.running[pid] = request["task"]
            return
        code = 1
        try:
            self._become_task()
            run_task(task or self._make(request), request, self.events)
            code = 0
        except BaseException as error:
            Path(request["report"]).write_text(json.dumps(describe(error)), "utf-8")
        finally:
            os._exit(code)

    def _made(self, request: dict[str, Any]) -> Any:
        """The request's job, made once for all tasks of a step: mrjob declares 110 options for it.

        None where its arguments are wrong: the task makes it again, and tells.
        """
        key = json.dumps([request["job"], request["args"]])
        if self.made[0] != key:
            try:
                self.made = key, self._make(request)
            except BaseException:
                return None
        return self.made[1]

    def _make(self, request: dict[str, Any]) -> Any:
        return self.jobs[json.dumps(request["job"])](request["args"])

    def _become_task(self) -> None:
        """Ends what belongs to the server alone; the task dies with the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self.libc is not None:
            self.libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if hasattr(self.libc, "mallopt"):  # glibc: what is freed is kept, else every page of it is a fault again
                for option, size in KEPT.items():
                    self.libc.mallopt(option, size)
        for end in (self.requests, self.wake, self.waker):
            os.close(end)

    def _reap(self) -> None:
        while self.running:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            task = self.running.pop(pid, None)
            if task is not None:
                self._tell({"exit": task, "code": os.waitstatus_to_exitcode(status)})

    def _stop(self) -> None:
        for pid in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in list(self.running):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            task = self.running.pop(pid)
            with contextlib.suppress(OSError):
                self._tell({"exit": task, "code": -signal.SIGKILL})

    def _tell(self, event: dict[str, Any]) -> None:
        tell(self.events, event)


def tell(events: int, event: dict[str, Any]) -> None:
    """Writes one event, in one write."""
    os.write(events, json.dumps(event).encode() + b"\n")


def threads() -> int:
    """The number of this process's threads (1 where the system doesn't tell)."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 1


def load_job(module: str, name: str, file: str | None) -> type[Any]:
    """A job class by its module, or by its file where it was run as a script."""
    if file is None:
        found = importlib.import_module(module)
    else:
        alias = f"millrace_job_{abs(hash(file)):x}"
        found = sys.modules.get(alias) or _load_file(alias, file)
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[return-value]


def _load_file(alias: str, file: str) -> Any:
    spec = importlib.util.spec_from_file_location(alias, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"not a Python file: {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[alias]
        raise
    return module


def run_task(task: Any, request: dict[str, Any], events: int) -> None:
    """Runs one task in this process: its own folder, environment, input and output."""
    from millrace.memory import release_unused

    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    with _handles(request) as (stdin, stdout, stderr):
        _limit_threads(request["threads"])
        task.sandbox(stdin, stdout, stderr)
        read = 0

        def split_done(split: Split) -> None:
            nonlocal read
            tell(events, {"split": request["task"]})
            read += split.size
            if read >= RELEASED:
                release_unused()
                read = 0

        task.on_split = split_done
        task.execute()


@contextlib.contextmanager
def _handles(request: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """Input, output and messages of a task as files; what else is printed goes to the messages."""
    with (
        Path(request["input"]).open("rb") as stdin,
        Path(request["output"]).open("wb") as stdout,
        Path(request["messages"]).open("ab", buffering=0) as stderr,
        Path(os.devnull).open("rb") as nothing,
    ):
        os.dup2(nothing.fileno(), 0)
        os.dup2(stderr.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        faulthandler.enable(stderr)
        yield stdin, stdout, stderr
        stdout.flush()
        sys.stdout.flush()
        sys.stderr.flush()


def _limit_threads(count: int) -> None:
    """The kernels' own threads: tasks that run side by side share the processors."""
    import pyarrow as pa

    os.environ["POLARS_MAX_THREADS"] = str(count)  # read when Polars first needs threads
    pa.set_cpu_count(count)
