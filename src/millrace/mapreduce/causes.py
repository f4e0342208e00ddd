"""Why a job failed, where no task could tell it: the engine's words flow in, an error with cause and split flows out.

Engines tell how a process ended, as an exit status among their own words. A task that raised an exception tells more
itself (`millrace.mapreduce.failures`); what is left are processes that were killed, or never ran one of our lines.
"""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from millrace.data.split import Split
from millrace.errors import MillraceError, ProfileError, ServiceError, SplitFailed
from millrace.mapreduce.pack import FOLDER
from millrace.mapreduce.task import MISFIT, interpreter
from millrace.profiles import Profile

PROGRESS = re.compile(
    r"map +\d+% +reduce +\d+%|% complete|^(PENDING|RUNNING|COMPLETED|packing|putting)|cluster|^following"
)
SPARK_PROGRESS = re.compile(r"^\s*Finished task .* in stage (\d+)\.\d+ .*\((\d+)/(\d+)\)")
TROUBLE = re.compile(r"[Ee]rror|[Ee]xception|killed|[Cc]ause|Status : FAILED")
FRAME = re.compile(r"^\s+(at |\.\.\. \d+ more|File \")")
WORDS_KEPT = 30
LINES_TOLD = 20

ATTEMPT = re.compile(
    r"attempt_\d+_\d+_([mr])_(\d+)_\d+(?:, Status : FAILED| - exited)|Task failed task_\d+_\d+_([mr])_(\d+)"
)
SPARK_ATTEMPT = re.compile(r"Lost task (\d+)\.\d+ in stage (\d+)\.")
STATUS = re.compile(r"subprocess failed with code (\d+)|terminated with code: (\d+)")
OTHER_INTERPRETER = re.compile(r"the worker environment is for (.+?), but this node has (.+)")
NO_PROGRAM = re.compile(r'Cannot run program "([^"]+)"')
NO_ARCHIVE = re.compile(
    rf"(?:No such file or directory|[Ff]ile does not exist|FileNotFoundException)\W.*?(\S+/{FOLDER}/\w[\w.-]*\w)"
    rf"|(\S+/{FOLDER}/\w[\w.-]*\w)\S* does not exist"
)
MEMORY = re.compile(
    r"(?:beyond the '\w+' memory limit|exceeding (?:physical )?memory limits)\W[^0-9]*([\d.]+ \w+) of ([\d.]+ \w+)"
)
CRASHED = re.compile(r"Python worker exited unexpectedly")
PYTHON_EXCEPTION = re.compile(
    r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*([\w.]+(?:Error|Exception|Interrupt|Exit)\b.*)"
)
EXCEPTION = re.compile(r"^(?:Caused by: |Error: |.*most recent failure: )?([\w.$]*(?:Error|Exception)\b.*)")


class EngineWords(logging.Handler):
    """Hears what mrjob says of the engine: how far it is, is told on; the last words are kept for a failure."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self.say = say
        self.told = ""
        self.last: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        if (told := progress(text)) and told != self.told:
            self.told = told
            self.say(told)
        if record.levelno >= logging.WARNING or TROUBLE.search(text):
            self.last = [*self.last, text][-WORDS_KEPT:]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear mrjob, and keep its words from everybody else."""
        log = logging.getLogger("mrjob")
        level, propagate = log.level, log.propagate
        log.addHandler(self)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            yield
        finally:
            log.removeHandler(self)
            log.setLevel(level)
            log.propagate = propagate


def progress(text: str) -> str | None:
    """What an engine's line says of how far the job is.

    >>> progress("Finished task 0.0 in stage 1.0 (TID 7) in 22 ms on node (executor 1) (3/4)")
    'stage 1: 3 of 4 tasks'
    >>> progress("map 50% reduce 0%"), progress("Starting the job")
    ('map 50% reduce 0%', None)
    """
    if match := SPARK_PROGRESS.search(text):
        return f"stage {match[1]}: {match[2]} of {match[3]} tasks"
    return text if PROGRESS.search(text) else None


def probable_cause(
    words: Sequence[str], otherwise: str, job: str, profile: Profile, tasks: Sequence[Sequence[Split]]
) -> MillraceError:
    """The error that a job's driver raises: its first line says the cause, a note holds the engine's last words.

    `tasks` are the splits of each map task; `otherwise` is what is known where the engine said nothing.
    """
    text = "\n".join(words)
    error = (
        _of_the_environment(text, profile)
        or _of_a_process(text, f"{job} failed {where(text, tasks)}".strip())
        or SplitFailed(
            f"{job} failed {where(text, tasks) or f'on {profile.runner}'}",
            found=_python_exception(text) or _exception(text) or otherwise,
        )
    )
    lines = [line for line in text.splitlines() if line.strip() and not FRAME.search(line)]
    if lines:
        error.add_note("\n  ".join([f"the last words of {profile.runner}:", *lines[-LINES_TOLD:]]))
    return error


def where(text: str, tasks: Sequence[Sequence[Split]]) -> str:
    """On which split the last attempt failed, as far as the engine's words tell.

    Engines number map tasks by the size of what they read; manifests have their names in this order.

    >>> where("Task Id : attempt_1_0001_r_000002_0, Status : FAILED", [])
    'in reduce task 2'
    """
    if found := ATTEMPT.findall(text):
        kind, number = found[-1][0] or found[-1][2], int(found[-1][1] or found[-1][3])
    elif found := SPARK_ATTEMPT.findall(text):
        kind, number = ("m" if found[-1][1] == "0" else "r"), int(found[-1][0])
    else:
        return ""
    if kind == "r":
        return f"in reduce task {number}"
    splits = tasks[number] if number < len(tasks) else ()
    if not splits:
        return f"in map task {number}"
    if len(splits) == 1:
        return f"on {splits[0]}"
    return f"on one of {len(splits)} splits, from {splits[0]} to {splits[-1]}"


def _of_the_environment(text: str, profile: Profile) -> MillraceError | None:
    """No task began: the interpreter or its packages aren't there, or don't suit each other."""
    runner = profile.runner
    setting = f"{runner}.python of the profile {profile.name}"
    told = OTHER_INTERPRETER.search(text)
    if told or MISFIT in _statuses(text):
        return ProfileError(
            f"the interpreter of tasks on {runner} doesn't fit the worker environment",
            expected=told[1] if told else interpreter(),
            found=told[2].strip() if told else f"another one as {getattr(profile, runner).python or 'python3'}",
            hint=f"let {setting} name such an interpreter, or pack on a machine like the nodes",
        )
    if missing := NO_PROGRAM.search(text):
        return ProfileError(
            f"a node of {runner} can't start the interpreter",
            expected=f"{interpreter()} on every node",
            found=f"no program {missing[1]}",
            hint=f"let {setting} name one that is there",
        )
    if gone := NO_ARCHIVE.search(text):
        return ServiceError(
            "the worker environment is gone from the store",
            expected=gone[1] or gone[2],
            hint="try again: the next job packs it anew",
        )
    return None


def _of_a_process(text: str, failed: str) -> MillraceError | None:
    """A task's process ended without a word."""
    if memory := MEMORY.search(text):
        hint = "let the profile give tasks more memory, or lower its split_bytes"
        return SplitFailed(failed, expected=f"at most {memory[2]} of memory", found=memory[1], hint=hint)
    lack = "a node kills the largest process when its memory is full"
    if CRASHED.search(text):
        return SplitFailed(failed, found="its process ended without a word", hint=lack)
    if not (statuses := _statuses(text)):
        return None
    found = _python_exception(text) or f"its process {ended(statuses[0])}"
    return SplitFailed(failed, found=found, hint=lack if statuses[0] == 128 + signal.SIGKILL else None)


def ended(status: int) -> str:
    """How a process ended, from its status as a shell tells it.

    >>> ended(7), ended(137)
    ('ended with status 7', 'was killed by SIGKILL')
    """
    if status - 128 in {each.value for each in signal.Signals}:
        return f"was killed by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


def _statuses(text: str) -> list[int]:
    """The exit statuses of tasks, the last one first."""
    return [int(first or other) for first, other in reversed(STATUS.findall(text))]


def _python_exception(text: str) -> str | None:
    """The last exception of a task that Python told, the driver's own aside."""
    told = [line for line in PYTHON_EXCEPTION.findall(text) if not line.startswith("py4j.")]
    return told[-1][:500] if told else None


def _exception(text: str) -> str | None:
    """The line that names an exception: the last cause, else the first line that has one."""
    lines = [line for line in text.splitlines() if not FRAME.search(line)]
    causes = [line for line in lines if line.startswith("Caused by: ")][-1:] or lines
    named = [match[1] for line in causes if (match := EXCEPTION.match(line))]
    told = named[:1] or [line.strip() for line in lines if TROUBLE.search(line)][-1:]
    return told[0][:500] if told else None
