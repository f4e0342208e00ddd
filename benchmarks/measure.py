"""One process and all that it starts, measured: seconds, peak memory, bytes read and written."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

EVERY = 0.1  # seconds between looks at the memory
SHARED_EVERY = 3  # looks; what processes share is dear to find out

ORPHAN_SECONDS = 20.0  # that a process may live on without its parent, before it is ended


@dataclass(frozen=True)
class Measured:
    """What a command took. Bytes are those of system calls, by the process and all its children; mapped files and
    sockets aren't in them."""

    seconds: float
    cpu: float
    """Seconds of processors, of the process and all its children: other work on the machine hardly changes them."""
    peak_process: int
    """The largest resident set of one of the processes, in bytes."""
    peak_all: int
    """The largest sum of the proportional sets of all processes at one time, in bytes."""
    read: int
    written: int

    def to_json(self) -> dict[str, float]:
        """All figures by name."""
        return asdict(self)


class CommandFailed(Exception):
    """A contender didn't do its work."""


def measure(
    command: Sequence[str], out: Path, env: Mapping[str, str], folder: Path, *, timeout: float = 1800
) -> Measured:
    """Run a command in `folder` with its standard output in the file `out`; its standard error lies beside it.

    Raises CommandFailed where it ends with another status than 0.
    """
    errors = out.with_suffix(".err")
    _adopt_orphans()
    others = {child.pid for child in psutil.Process().children()}
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, env=dict(env), cwd=folder
        )
        with contextlib.suppress(OSError):  # where memory ends, the contender is ended, not who measures it
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
        watch = _Watch(process.pid)
        watch.start()
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        # The process is left unreaped for a moment: its counts hold those of the children that it waited for.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.perf_counter() - started
        timer.cancel()
        watch.stop()
        cpu, read, written, process.returncode = _end(process.pid)
        for child in psutil.Process().children():
            if child.pid not in others:
                counted = _end(child.pid)
                cpu, read, written = cpu + counted[0], read + counted[1], written + counted[2]
    if process.returncode:
        tail = errors.read_text(errors="replace")[-1500:]
        raise CommandFailed(f"{' '.join(command)}\nended with status {process.returncode}:\n{tail}")
    return Measured(seconds, cpu, watch.peak_process, watch.peak_all, read, written)


class _Watch(threading.Thread):
    """Looks at the memory of a process tree until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._stop_now = threading.Event()
        self.peak_process = self.peak_all = 0

    def run(self) -> None:
        looks = 0
        while not self._stop_now.wait(EVERY):
            with contextlib.suppress(psutil.Error):
                self._look([self._root, *self._root.children(recursive=True)], looks % SHARED_EVERY == 0)
            looks += 1

    def stop(self) -> None:
        """End the thread."""
        self._stop_now.set()
        self.join()

    def _look(self, processes: Sequence[psutil.Process], shared: bool) -> None:
        total = 0
        for process in processes:
            with contextlib.suppress(OSError):
                place = Path(f"/proc/{process.pid}")
                self.peak_process = max(self.peak_process, _fields(place / "status").get("VmHWM", 0) * 1024)
                if shared:
                    total += _fields(place / "smaps_rollup").get("Pss", 0) * 1024
        self.peak_all = max(self.peak_all, total)


def _adopt_orphans() -> None:
    """Processes whose parent ends before them (Spark's JVM) become children of this one, which can then wait for them.

    See PR_SET_CHILD_SUBREAPER in prctl(2).
    """
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _end(pid: int) -> tuple[float, int, int, int]:
    """Wait for a process to end (an orphan not for long); returns its processor seconds, bytes read and written, and
    its exit status."""
    waiting = time.monotonic()
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() - waiting > ORPHAN_SECONDS:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    counted = _bytes(pid)
    _, status, used = os.wait4(pid, 0)
    return used.ru_utime + used.ru_stime, *counted, os.waitstatus_to_exitcode(status)


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file of ``Name: number unit`` lines."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


def _bytes(pid: int) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        fields = _fields(Path(f"/proc/{pid}/io"))
        return fields["rchar"], fields["wchar"]
    return 0, 0
