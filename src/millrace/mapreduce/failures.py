"""Failures on their way from a task to the driver: an exception flows in, JSON crosses the process boundary, and the
same MillraceError (or a SplitFailed that quotes the cause) comes out."""

from __future__ import annotations

import contextlib
import json
import traceback
import uuid
from typing import Any

from millrace.errors import MillraceError, SplitFailed


class TaskTraceback(Exception):
    """The traceback of a task that ran in another process, as text; the cause of what the driver raises."""

    def __str__(self) -> str:
        return "in the task:\n" + str(self.args[0])


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as JSON values: its class, its parts and its traceback."""
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MillraceError):
        parts = {"message": error.message, "expected": error.expected, "found": error.found, "hint": error.hint}
        notes = getattr(error, "__notes__", [])
        return {"classes": [kind.__name__ for kind in type(error).__mro__], **parts, "notes": notes, "trace": trace}
    parts = {"message": "a task failed", "expected": None, "found": summary(error), "hint": None}
    return {"classes": [SplitFailed.__name__], **parts, "notes": [], "trace": trace}


def report_failure(folder: str, error: BaseException) -> None:
    """Leave the description of a failure in a folder of the store; a store that fails too must not hide the failure."""
    from millrace.storage.files import filesystem, open_output

    with contextlib.suppress(MillraceError, OSError):
        system, path, _ = filesystem(folder)
        with open_output(system, f"{path}/{uuid.uuid4().hex}.json") as file:
            file.write(json.dumps(describe(error)).encode())


def summary(error: BaseException) -> str:
    """One line: the class and the message.

    >>> summary(ValueError("no\\nnumber"))
    'ValueError: no'
    """
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:500]}" if lines else type(error).__name__


def revive(report: dict[str, Any]) -> MillraceError:
    """The exception that `describe` told, with the task's traceback as its cause."""
    known = {kind.__name__: kind for kind in _family(MillraceError)}
    kind = next((known[name] for name in report["classes"] if name in known), SplitFailed)
    error = kind.__new__(kind)
    MillraceError.__init__(
        error, report["message"], expected=report["expected"], found=report["found"], hint=report["hint"]
    )
    for note in report["notes"]:
        error.add_note(note)
    error.__cause__ = TaskTraceback(report["trace"])
    return error


def _family(kind: type[MillraceError]) -> list[type[MillraceError]]:
    return [kind, *(member for child in kind.__subclasses__() for member in _family(child))]
