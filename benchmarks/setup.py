"""Work of Millrace's that others are measured after: run, and not timed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.measure import CommandFailed
from benchmarks.work import REPOSITORY, Bench


def run_setup(bench: Bench, command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """Run a command as the contenders are run, with some `variables` of the environment beside theirs.

    Returns its standard output. Raises CommandFailed.
    """
    bench.say(f"first: {' '.join(command[1:])}"[:120])
    environment = bench.environment | dict(variables or {})
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stderr[-1500:]}")
    return done.stdout


def run_setups(bench: Bench, commands: Sequence[Sequence[str]]) -> None:
    """Run commands that don't need each other side by side, as `run_setup` runs one. Raises CommandFailed."""
    with ThreadPoolExecutor(len(commands)) as threads:
        list(threads.map(lambda command: run_setup(bench, command), commands))
