"""Fault points: places where a test may kill the process, to prove that a crash there harms nothing.

``MILLRACE_FAULT=point`` or ``point:n`` ends the process with SIGKILL the first, or n-th, time it reaches the point.
Without the variable a point is one look into the environment. Each process counts for itself: a task of the runner
`local` starts at none.

==========================  ====================================================================================
``before_part_write``       a task, or the driver, is about to create a Parquet file of a table
``after_part_write``        the file is whole and its checksum known; nobody has heard of it
``before_shuffle_index``    a map task has read all its rows; some may lie in the shuffle file already
``after_shuffle_index``     the shuffle file is closed, where each partition lies in it is known to the task alone
``before_task_report``      a task has one more pair to report to the driver; n − 1 pairs were reported before
``after_task_report``       a task has reported all its pairs and has only to end
``before_commit``           the driver is about to put a version of a table
``after_commit``            the version is there; the driver hasn't yet used the acknowledgement
``before_scoring_commit``   the same for the scores table, before anything of its commit was checked
``after_scoring_commit``    the scores are there, the stage hasn't told its result
``before_registry_write``   a candidate is fitted, the registry knows nothing of it
``after_registry_run``      MLflow has a run for it, without files
``after_registry_files``    the run holds the model's files, no figures
``after_registry_figures``  the run holds parameters and metrics, it isn't finished
``after_registry_run_end``  the run is finished, no version names it
``after_registry_write``    the version is registered; no alias names it
``before_alias_move``       `champion` or `challenger` is about to move: as a candidate is stored (challenger), promoted
                            (champion, then challenger), rolled back (champion)
``after_alias_move``        it has moved, and what goes with it (the other alias, history, tags) hasn't followed
``before_tag_write``        a tag of a version (a promotion's reason and figures, a compression's report) or the
                            history of champions is about to be written
``after_tag_write``         it is written, and what comes next isn't done
``before_scorer_write``     a compressed scorer is made, the registry knows nothing of it
``after_scorer_model``      its model file is stored; without ``model.json`` it isn't a scorer yet
``after_scorer_write``      it is stored; the champion's tag doesn't tell yet
==========================  ====================================================================================
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Literal, get_args

from millrace.errors import RequestError

Point = Literal[
    "before_part_write",
    "after_part_write",
    "before_shuffle_index",
    "after_shuffle_index",
    "before_task_report",
    "after_task_report",
    "before_commit",
    "after_commit",
    "before_scoring_commit",
    "after_scoring_commit",
    "before_registry_write",
    "after_registry_run",
    "after_registry_files",
    "after_registry_figures",
    "after_registry_run_end",
    "after_registry_write",
    "before_alias_move",
    "after_alias_move",
    "before_tag_write",
    "after_tag_write",
    "before_scorer_write",
    "after_scorer_model",
    "after_scorer_write",
]
"""Every point, in the order of the road; the module's table says where each lies."""

VARIABLE = "MILLRACE_FAULT"
ATTEMPT = "mapreduce_task_attempt_id"  # Hadoop tells its tasks; the attempt's number ends it

_reached: Counter[str] = Counter()


def reach(point: Point) -> None:
    """Die here if the environment says so; of a task on Hadoop, only its first attempt does.

    Raises RequestError where the environment names a point that isn't there.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted or not os.environ.get(ATTEMPT, "_0").endswith("_0"):
        return
    name, _, count = wanted.partition(":")
    if name not in get_args(Point) or not (count.isdigit() or not count):
        raise RequestError(f"bad {VARIABLE}", expected=f"one of {', '.join(get_args(Point))}, with :n", found=wanted)
    _reached[point] += 1
    if name == point and _reached[point] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
