"""Work of Millrace's that others are measured after: run, and not timed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from benchmarks.measure import CommandFailed
from benchmarks.work import REPOSITORY, Bench


def run_setup(bench: Bench, command: Sequence[str]) -> str:
    """Run a command as the contenders are run. Returns its standard output; raises CommandFailed."""
    bench.say(f"first: {' '.join(command[1:])}"[:120])
    done = subprocess.run(command, cwd=REPOSITORY, env=bench.environment, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stderr[-1500:]}")
    return done.stdout
