"""What a job's script calls: light, so that the task server is forked before the imports and makes its own meanwhile.

What a run by hand is, `millrace.stages.by_hand` says.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import sys

from millrace.errors import MillraceError
from millrace.mapreduce.job import ColumnJob, JobPlan
from millrace.mapreduce.tasks import prestart
from millrace.quick_start import quick_start
from millrace.runner_names import RUNNERS
from millrace.spec import Pipeline

TASK_FLAGS = ("--mapper", "--combiner", "--reducer", "--spark", "--steps", "--step-num")


def run_script(job: type[ColumnJob]) -> None:
    """Run a job's script: as a task where the engine started it, else for the person who did."""
    if any(argument.partition("=")[0] in TASK_FLAGS for argument in sys.argv[1:]):
        job.run()
        return
    atexit.register(gc.freeze)  # the interpreter's last search for garbage would take a tenth of a second
    quick_start()
    try:
        options = _parse(job)
        if options.runner == "local":
            for model in (Pipeline, JobPlan):
                model.model_rebuild()  # once, for this process, the server and its tasks
            prestart(fork=True, preload=job.preload)
        gc.disable()  # imports make much and leave no garbage
        from millrace.stages.by_hand import run_by_hand

        gc.enable()
        run_by_hand(job, options)
    except MillraceError as error:
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        print(f"{type(error).__name__}: {error}{notes}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()


def _parse(job: type[ColumnJob]) -> argparse.Namespace:
    text = sys.modules[job.__module__].__doc__ or ""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-r", "--runner", choices=RUNNERS, default="inline", help="default: inline")
    parser.add_argument("--pipeline", required=True, help="pipeline file, or the name of one")
    parser.add_argument("--table", action="store_true", help="commit to the pipeline's tables instead of printing")
    parser.add_argument("--date", help="data interval of the run (default: the newest in FILES)")
    parser.add_argument("--tasks", type=int, help="map tasks at most (default: one per core)")
    parser.add_argument("--profile", help="profile of the tables and the registry")
    parser.add_argument("files", nargs="*", metavar="FILES", help="files, folders, globs (default: the pipeline's)")
    return parser.parse_args()
