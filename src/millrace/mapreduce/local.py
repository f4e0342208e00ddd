"""`-r local`: tasks side by side, as processes forked from a warm server instead of one interpreter each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from mrjob.sim import _sort_lines_in_memory

from millrace.data.split import Split
from millrace.errors import RequestError
from millrace.mapreduce.manifest import ManifestRunner, balance
from millrace.mapreduce.tasks import Task, job_reference, task_server
from millrace.without_pyspark import without_pyspark

with without_pyspark():  # mrjob imports it to know where spark-submit is
    from mrjob.local import LocalMRJobRunner

SORT_IN_MEMORY = 64 << 20  # bytes


class LocalRunner(ManifestRunner, LocalMRJobRunner):
    """mrjob's local runner, for `ColumnJob`s: same folders, sort and counters, other processes."""

    def __init__(self, mrjob_cls: type[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._job = job_reference(mrjob_cls)
        if self._opts["setup"] or self._opts["py_files"]:
            raise RequestError("the runner 'local' takes no --setup and no --py-files", hint="install them beforehand")

    def _bootstrap_mrjob(self) -> bool:
        return False

    def _run_task_func(self, task_type: str, step_num: int, task_num: int, map_split: object = None) -> Task:
        source = self._task_input_path(task_type, step_num, task_num)
        first = task_type == "mapper" and step_num == 0
        return Task(
            kind="map" if task_type == "mapper" else "reduce",
            number=task_num,
            args=self._args_for_task(step_num, task_type),
            input=source,
            output=self._task_output_path(task_type, step_num, task_num),
            messages=self._task_stderr_path(task_type, step_num, task_num),
            folder=self._setup_working_dir(task_type, step_num, task_num),
            env=dict(os.environ) | self._cmdenv(),
            splits=[str(Split.from_json(line)) for line in Path(source).read_text("utf-8").splitlines()]
            if first
            else [],
        )

    def _run_mapper_and_combiner_func(self, step_num: int, task_num: int, map_split: object) -> Task:
        return self._run_task_func("mapper", step_num, task_num, map_split)

    def _split_reducer_input(self, step_num: int) -> int:
        """Places the keys on as many tasks as there are processors, balanced; very many of them as mrjob does."""
        path = Path(self._sorted_reducer_input_path(step_num))
        if path.stat().st_size > SORT_IN_MEMORY:
            return int(super()._split_reducer_input(step_num))
        lines = path.read_bytes().splitlines(keepends=True)
        keys = [b"".join(group) for _, group in groupby(lines, key=lambda line: line.partition(b"\t")[0])]
        groups = balance([len(key) for key in keys], self._num_cores())
        for group, file in zip(groups, self._yield_split_fileobjs("reducer", step_num), strict=False):
            with file:
                file.writelines(keys[index] for index in group)
        return len(groups)

    def _run_multiple(self, tasks: Iterable[Task], num_processes: int | None = None) -> None:
        with task_server() as server:
            server.load(self._job)
            at_once = min(self.map_tasks or self._num_cores(), self._num_cores())
            server.run(self._job, list(tasks), at_once, self._split_done)

    def _sort_input_func(self) -> Callable[..., None]:
        """References and states are few: they are sorted here, without starting a program; very many by `sort`."""
        return partial(_sort_lines, partial(_sort_lines_in_memory, sort_values=True), super()._sort_input_func())

    def _log_cause_of_error(self, ex: Exception) -> None:
        """The error itself says where it happened."""


def _sort_lines(
    few: Callable[..., None], many: Callable[..., None], input_paths: Sequence[str], output_path: str
) -> None:
    size = sum(Path(path).stat().st_size for path in input_paths)
    (few if size < SORT_IN_MEMORY else many)(input_paths, output_path)
