"""The base of every job: manifest lines (one `Split` each) flow in, few small JSON pairs flow out.

A job is a script of its own: `map_split` says what becomes of one split, `reduce_key` what becomes of one key.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from millrace.data.split import BATCH_ROWS, RawBatch, Split
from millrace.errors import MillraceError, RequestError, SplitFailed
from millrace.mapreduce.failures import report_failure, summary
from millrace.mapreduce.stdlib_distutils import stdlib_distutils
from millrace.spec import Pipeline
from millrace.storage import faults
from millrace.storage.refusals import is_refusal, write_refused

with stdlib_distutils():
    from mrjob.job import MRJob
    from mrjob.protocol import RawValueProtocol
    from mrjob.step import MRStep

Pair = tuple[str, Any]


class JobPlan(BaseModel):
    """What every task of a job gets: the pipeline, where parts are written, and the job's own parameters.

    `failures` is a folder on the store where a task says why it failed, for engines that tell only that it did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    pipeline: Pipeline
    out: str
    params: dict[str, Any] = {}
    failures: str | None = None


class JsonPairs:
    """A pair as two JSON texts with a tab between; keys of objects sorted, so that equal values are equal bytes.

    >>> JsonPairs().read(JsonPairs().write("a", {"y": 1, "x": None}))
    ('a', {'x': None, 'y': 1})
    """

    def read(self, line: bytes) -> Pair:
        key, _, value = line.partition(b"\t")
        return json.loads(key), json.loads(value)

    def write(self, key: str, value: Any) -> bytes:
        return f"{json.dumps(key)}\t{json.dumps(value, sort_keys=True)}".encode()


def is_task_command(args: Sequence[str]) -> bool:
    """Whether a job script was started by an engine, to run one task: then it must call `ColumnJob.run` alone.

    >>> is_task_command(["--step-num=0", "--mapper", "--plan", "plan.json"]), is_task_command(["-r", "local"])
    (True, False)
    """
    return any(arg in ("--mapper", "--reducer", "--combiner", "--spark") for arg in args)


class ColumnJob(MRJob):
    """A MapReduce job over splits. Subclasses implement `map_split`, and may implement `reduce_key` and `map_end`.

    `print` in a task goes to standard error, so that it can't mix with the pairs; `breakpoint()` works under
    ``-r inline``. mrjob's configuration files are not read unless named with ``-c``.
    """

    INPUT_PROTOCOL = RawValueProtocol
    INTERNAL_PROTOCOL = JsonPairs
    OUTPUT_PROTOCOL = JsonPairs
    SORT_VALUES = True  # the order of a key's values doesn't depend on the number of map tasks

    preload: ClassVar[tuple[str, ...]] = ()
    """What its tasks import in functions, if it takes long: under ``-r local`` it is imported once for all of them."""

    on_split: Callable[[Split], None] | None = None
    _rows: tuple[int, int] | None = None
    _plan: JobPlan | None = None

    def map_split(self, split: Split) -> Iterator[Pair]:
        """The pairs of one split: key, and a small value that JSON can hold."""
        raise NotImplementedError(f"{type(self).__name__} has no map_split")

    def map_end(self) -> Iterator[Pair]:
        """Pairs after the last split of a map task."""
        return iter(())

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[Pair]:
        """The pairs of one key, from all its values in sorted order. Without it, a job has no reduce phase."""
        raise NotImplementedError(f"{type(self).__name__} has no reduce_key")

    @property
    def plan(self) -> JobPlan:
        """The job's plan, read from the path or URI that ``--plan`` names."""
        if self._plan is None:
            if self.options.plan is None:
                raise RequestError(f"{type(self).__name__} has no plan", expected="--plan FILE")
            from millrace.storage.files import open_input

            with open_input(self.options.plan) as file:
                self._plan = JobPlan.model_validate_json(file.read())
        return self._plan

    def read(
        self, split: Split, columns: Sequence[str] | None = None, batch_rows: int = BATCH_ROWS
    ) -> Iterator[RawBatch]:
        """The batches of a split (`millrace.data.raw.read_split`); a failure while one is at hand names its rows."""
        from millrace.data.raw import read_split
        from millrace.storage.files import open_input

        for found in read_split(
            split, self.plan.pipeline, open_input, columns=columns, batch_rows=batch_rows, typed=True
        ):
            if len(found.rows) and not split.guessed:
                self._rows = found.rows[0].as_py(), found.rows[-1].as_py()
            yield found
        self._rows = None

    # how mrjob sees the job

    def configure_args(self) -> None:
        super().configure_args()
        self.add_passthru_arg("--plan", help="path or URI of the JSON file with the job's plan")

    def steps(self) -> list[MRStep]:
        if type(self).reduce_key is ColumnJob.reduce_key:
            return [MRStep(mapper=self.mapper, mapper_final=self.mapper_final)]
        return [MRStep(mapper=self.mapper, mapper_final=self.mapper_final, reducer=self.reducer)]

    def mapper(self, _: None, line: str) -> Iterator[Pair]:
        split = Split.from_json(line.rpartition("\t")[2])  # NLineInputFormat puts an offset before the line
        self._rows = None
        yield from self._guarded(f"on {split}", self.map_split(split))
        self.increment_counter("millrace", "splits")
        if self.on_split is not None:
            self.on_split(split)

    def mapper_final(self) -> Iterator[Pair]:
        yield from self._guarded("after its last split", self.map_end())

    def reducer(self, key: str, values: Iterator[Any]) -> Iterator[Pair]:
        self._rows = None
        yield from self._guarded(f"on key {key!r}", self.reduce_key(key, values))

    def run_mapper(self, step_num: int = 0) -> None:
        with self._own_stdout():
            super().run_mapper(step_num)
        faults.reach("after_task_report")

    def run_reducer(self, step_num: int = 0) -> None:
        with self._own_stdout():
            super().run_reducer(step_num)
        faults.reach("after_task_report")

    @contextlib.contextmanager
    def _own_stdout(self) -> Iterator[None]:
        """Standard output belongs to the pairs: prints of the job go to standard error (on a terminal, as they are)."""
        self._stdout = self.stdout
        shown = sys.stdout
        if not shown.isatty():
            sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout = shown

    def _guarded(self, where: str, pairs: Iterator[Pair]) -> Iterator[Pair]:
        """The pairs; a failure says where it happened."""
        try:
            for pair in pairs or ():
                faults.reach("before_task_report")
                yield pair
        except Exception as error:
            told = self._told(error, where)
            if self.plan.failures is not None:
                report_failure(self.plan.failures, told)
            raise told from (error if told is not error else error.__cause__)

    def _told(self, error: Exception, where: str) -> MillraceError:
        """A failure as the driver tells it: with the split or key, and the rows at hand."""
        if isinstance(error, MillraceError) or is_refusal(error):
            place = str(getattr(error, "filename", None) or "MILLRACE_HOME or TMPDIR")
            told = error if isinstance(error, MillraceError) else write_refused(place, error)
            told.add_note(f"in {type(self).__name__}, {where}{self._at_rows()}")
            return told
        return SplitFailed(f"{type(self).__name__} failed {where}{self._at_rows()}", found=summary(error))

    def _at_rows(self) -> str:
        return f", rows {self._rows[0]}-{self._rows[1]}" if self._rows else ""

    def _non_option_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._non_option_kwargs()
        if kwargs["conf_paths"] is None:
            kwargs["conf_paths"] = []  # never ~/.mrjob.conf or /etc/mrjob.conf unasked
        return kwargs

    def _runner_class(self) -> type[Any]:
        """The runners of our own; imported here, as each needs an engine that others lack."""
        alias = self.options.runner or "inline"
        if alias == "local":
            from millrace.mapreduce.local import LocalRunner

            return LocalRunner
        if alias == "hadoop":
            from millrace.mapreduce.hadoop import HadoopRunner

            return HadoopRunner
        if alias == "spark":
            from millrace.mapreduce.spark import SparkRunner

            return SparkRunner
        if alias == "emr":
            from millrace.mapreduce.emr import EmrRunner

            return EmrRunner
        from millrace.mapreduce.inline import InlineRunner

        return InlineRunner

    def _runner_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._runner_kwargs()
        kwargs["mrjob_cls"] = type(self)
        return kwargs
