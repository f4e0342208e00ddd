"""The program of a task on a cluster: ``python -m millrace.mapreduce.task mrjobs.clean:Clean --mapper …``.

Both packages come out of the worker environment (`millrace.mapreduce.pack`), so that no script has to be sent along.
Until the environment is known to fit the interpreter, nothing but the standard library is imported.
"""

from __future__ import annotations

import platform
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from millrace.errors import RequestError

MODULE = "millrace.mapreduce.task"
SPARK_DAEMON = "millrace.mapreduce.spark_daemon"
STAMP = "interpreter.txt"
"""In an archive of the worker environment: `interpreter()` of where it was made."""

MISFIT = 91
"""Exit status of a task whose interpreter can't use the worker environment: engines tell the driver this number."""


def interpreter() -> str:
    """What compiled packages depend on: the version of Python, the system and the machine."""
    return f"{sys.implementation.cache_tag} {sys.platform} {platform.machine()}"


def task_reference(job: type[Any]) -> str:
    """How a task finds a job class. Raises RequestError for one that isn't in the worker environment."""
    module = job.__module__
    if module == "__main__":  # python mrjobs/clean.py
        path = Path(str(getattr(sys.modules["__main__"], "__file__", ""))).resolve()
        if path.parent == job_scripts():
            module = f"mrjobs.{path.stem}"
    if module.partition(".")[0] not in ("mrjobs", "millrace"):
        raise RequestError(
            f"no node can import {module}.{job.__name__}",
            expected="a job in the package mrjobs",
            hint="put its file there, or use the runner local",
        )
    return f"{module}:{job.__qualname__}"


def job_scripts() -> Path:
    """The folder of the package `mrjobs`."""
    spec = find_spec("mrjobs")
    assert spec is not None, "it is installed with Millrace"
    assert spec.origin is not None, "it has an __init__"
    return Path(spec.origin).resolve().parent


def check_interpreter() -> None:
    """End the process where the worker environment beside it is of another interpreter."""
    stamp = Path("environment", STAMP)
    packed = stamp.read_text("utf-8") if stamp.is_file() else interpreter()
    if packed != interpreter():
        print(f"the worker environment is for {packed}, but this node has {interpreter()}", file=sys.stderr)
        sys.exit(MISFIT)


def main(args: list[str]) -> None:
    """Run one task."""
    check_interpreter()
    module, _, name = args[0].partition(":")
    getattr(import_module(module), name)(args[1:]).execute()


if __name__ == "__main__":
    main(sys.argv[1:])
