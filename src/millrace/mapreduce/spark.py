"""`-r spark`: mrjob's Spark runner, whose executors import the job instead of receiving its script."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mrjob.fs.composite import CompositeFilesystem
from mrjob.fs.local import LocalFilesystem
from mrjob.spark.runner import SparkMRJobRunner

from millrace.mapreduce.store_fs import StoreFilesystem
from millrace.mapreduce.task import task_reference


class SparkRunner(SparkMRJobRunner):
    """mrjob's Spark runner, for `ColumnJob`s."""

    def __init__(self, mrjob_cls: type[Any], **kwargs: Any) -> None:
        super().__init__(mrjob_cls=mrjob_cls, **kwargs)
        self._task = task_reference(mrjob_cls).replace(":", ".")
        if "://" not in self._spark_tmp_dir:
            Path(self._spark_tmp_dir).mkdir(parents=True)  # the harness writes its counters there, and makes no folders

    _fs: Any

    @property
    def fs(self) -> CompositeFilesystem:
        if self._fs is None:
            self._fs = CompositeFilesystem()
            self._fs.add_fs("store", StoreFilesystem([]))
            self._fs.add_fs("local", LocalFilesystem())
        return self._fs

    def _spark_submit_bin_dirs(self) -> Iterator[str | None]:
        """mrjob's, with PySpark's after PATH (None): mrjob asks PySpark, which the local runner hides from it."""
        package = find_spec("pyspark")
        for folder in super()._spark_submit_bin_dirs():
            yield folder
            if folder is None and package is not None and package.origin is not None:
                yield str(Path(package.origin).parent / "bin")

    def _py_files(self) -> list[str]:
        return list(self._opts["py_files"])

    def _spark_script_args(self, step_num: int, last_step_num: int | None = None) -> list[str]:
        args: list[str] = super()._spark_script_args(step_num, last_step_num)
        return [self._task, *args[1:]]
