"""Files that can't be their pipeline's at all: source files flow in, splits and the refused intervals flow out.

One bad night must not take the window down: the run's own interval, refused, fails the run; another is told and left
out, what was made of its earlier files stays, and every run tries it again until its file is mended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.data.split import Split
from millrace.errors import InputError, MillraceError
from millrace.mapreduce.failures import revive
from millrace.mapreduce.splits import plan_splits
from millrace.stages.context import Run
from millrace.storage.files import SourceFile

Refusals = dict[str, MillraceError]


def plan_readable(
    run: Run, files: Mapping[str, Sequence[SourceFile]], by_name: bool, *, numbered: bool
) -> tuple[list[Split], Refusals]:
    """The splits (`plan_splits`) of the files of each interval, and the intervals with a file that has none.

    Where the files' names tell no interval (`by_name` false), nobody knows whose rows a file would hold: raises the
    file's InputError.
    """
    splits: list[Split] = []
    refused: Refusals = {}
    for interval, each in files.items():
        try:
            splits += plan_splits(each, run.pipeline, run.profile.split_bytes, numbered=numbered)
        except InputError as error:
            if not by_name:
                raise
            refused[interval] = error
    return splits, refused


def refused_by_tasks(values: Sequence[Mapping[str, Any]]) -> Refusals:
    """The intervals that map tasks refused, with the first reason of each."""
    found: Refusals = {}
    for value in values:
        found.setdefault(value["interval"], revive(value["error"]))
    return found


def tell_refused(run: Run, refused: Refusals) -> None:
    """Raise the error of the run's own interval; warn of the others."""
    if run.date in refused:
        raise refused[run.date]
    for interval in sorted(refused):
        run.say(f"WARNING {interval} is left out: {refused[interval]}")
