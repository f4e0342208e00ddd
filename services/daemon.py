"""One server process: in a session of its own, known again by process id and time of birth, ended with its children."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from services.place import Place, read_json, write

GRACE = 15.0  # seconds between the request to end and the end by force


@dataclass(frozen=True)
class Daemon:
    """How to start a server, and how to see that it works.

    `check` tells what is missing until the server really answers, and nothing from then on.
    """

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(repr=False)
    check: Callable[[], str | None] = field(repr=False)

    def record(self, place: Place) -> Path:
        """The file that names the running process."""
        return place.folder("run") / f"{self.name}.json"

    def process(self, place: Place) -> psutil.Process | None:
        """The running process that this daemon's record names; none where it ended, whoever has its number now."""
        facts = read_json(self.record(place), None)
        return facts and alive(facts["pid"], facts["born"])

    def launch(self, place: Place) -> psutil.Process:
        """Start the process with a new log file and record it."""
        place.log(self.name).unlink(missing_ok=True)
        with place.log(self.name).open("wb") as log:
            process = psutil.Popen(
                list(self.command), env=os.environ | self.environment, cwd=place.folder("run"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        facts = {"pid": process.pid, "born": process.create_time()}
        write(self.record(place), json.dumps(facts))
        return process

    def end(self, place: Place) -> bool:
        """End the process and all its descendants, by force after a while; returns whether there was one."""
        process = self.process(place)
        if process is not None:
            family = [process, *descendants(process)]
            signal_all([process], force=False)
            _, left = psutil.wait_procs([process], timeout=GRACE)
            psutil.wait_procs(family, timeout=2)
            signal_all([member for member in family if member.is_running()], force=True)
            _, left = psutil.wait_procs(family, timeout=5)
            if any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in left):
                raise RuntimeError(f"processes of {self.name} can't be ended: {[member.pid for member in left]}")
        self.record(place).unlink(missing_ok=True)
        return process is not None

    def tail(self, place: Place, lines: int = 20) -> str:
        """The end of the log."""
        path = place.log(self.name)
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def alive(pid: int, born: float) -> psutil.Process | None:
    """The process of this number and birth, unless it ended."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < 1.5 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """Children of children too: YARN's containers have sessions of their own."""
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def signal_all(processes: Sequence[psutil.Process], *, force: bool) -> None:
    """Ask processes to end, or end them by force; those that are gone don't matter."""
    for process in processes:
        try:
            process.kill() if force else process.terminate()
        except psutil.NoSuchProcess:
            continue


def wait_for(check: Callable[[], str | None], running: Callable[[], bool], seconds: float) -> str | None:
    """Wait until `check` finds nothing missing; returns what is still missing when time is up or nothing runs."""
    deadline = time.monotonic() + seconds
    while missing := check():
        if not running():
            return "it ended by itself"
        if time.monotonic() > deadline:
            return f"{missing} after {seconds:.0f} s"
        time.sleep(0.2)
    return None
