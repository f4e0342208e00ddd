"""`-r hadoop`: mrjob's Hadoop runner, with tasks from the worker environment and no JVM but the job's own."""

from __future__ import annotations

from typing import Any

from mrjob.fs.composite import CompositeFilesystem
from mrjob.fs.local import LocalFilesystem
from mrjob.hadoop import HadoopJobRunner

from millrace.mapreduce.store_fs import StoreFilesystem
from millrace.mapreduce.task import MODULE, task_reference


class PackedTasks:
    """What the runners of Hadoop and EMR share: a task is a module of the worker environment, no script of its own."""

    _task: str

    def _script_args_for_step(self: Any, step_num: int, mrc: str, input_manifest: bool = False) -> list[str]:
        args: list[str] = self._args_for_task(step_num, mrc)
        return [*self._task_python_bin(), "-m", MODULE, self._task, *args]


class HadoopRunner(PackedTasks, HadoopJobRunner):
    """mrjob's Hadoop runner, for `ColumnJob`s."""

    def __init__(self, mrjob_cls: type[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._task = task_reference(mrjob_cls)

    _fs: Any

    @property
    def fs(self) -> CompositeFilesystem:
        if self._fs is None:
            self._fs = CompositeFilesystem()
            self._fs.add_fs("hadoop", StoreFilesystem(self._opts["hadoop_bin"] or ["hadoop"]))
            self._fs.add_fs("local", LocalFilesystem())
        return self._fs
