"""Keeps Airflow's components: starts them in one session, and ends every process of it when the reason to run is gone.

Run as a script by `millrace.airflow.up`, with the components' command lines as JSON. It stops everything when its
standard input closes (the process that started it ended, however that happened), at SIGTERM, or when one component
ends by itself (exit status 1). Task processes make process groups of their own, so that ending a group would leave
them behind; they can't leave the session.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

GRACE = 8.0  # seconds between the request to end and the end by force


def members(session: int) -> list[int]:
    """Process ids of a session, without its leader."""
    import psutil  # type: ignore[import-untyped]

    found = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session and pid != session:
                found.append(pid)
        except (ProcessLookupError, PermissionError):
            continue
    return found


def end_session(session: int, pids: Sequence[int] = (), grace: float = GRACE) -> None:
    """Ask `pids` to end, wait until the session is empty, then end what is left by force."""
    for pid in pids:
        signal_process(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while alive(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    while left := alive(session):
        for pid in left:
            signal_process(pid, signal.SIGKILL)
        time.sleep(0.05)


def alive(session: int) -> list[int]:
    """Members of a session that still run; a dead child that nobody waited for doesn't count."""
    import psutil

    found = []
    for pid in members(session):
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main(commands: dict[str, list[str]], logs: Path) -> int:
    """Run the components until standard input closes or one of them ends; returns the exit status."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = {}
    for name, command in commands.items():
        with (logs / f"{name}.log").open("ab") as log:
            running[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    ended = None
    while not stopping and ended is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.2)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
        ended = next((name for name, process in running.items() if process.poll() is not None), None)
    if ended is not None:
        print(f"{ended} ended with status {running[ended].returncode}", file=sys.stderr, flush=True)
    end_session(os.getsid(0), [process.pid for process in running.values()])
    return 0 if ended is None else 1


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    sys.exit(main(request["commands"], Path(request["logs"])))
