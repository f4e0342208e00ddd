"""`-r inline`: every task in this process, one after the other, so that a debugger can stop in it.

Standard input, the working folder, the environment and `sys.path` stay the user's own: tasks read and write through
handles of their own, and file arguments are given by their real paths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from mrjob.inline import InlineMRJobRunner

from millrace.mapreduce.manifest import ManifestRunner


class InlineRunner(ManifestRunner, InlineMRJobRunner):
    """mrjob's inline runner, for `ColumnJob`s."""

    def _invoke_task_func(self, task_type: str, step_num: int, task_num: int) -> Callable[..., None]:
        def invoke(stdin: BinaryIO, stdout: BinaryIO, stderr: BinaryIO, wd: str, env: dict[str, str]) -> None:
            job: Any = self._mrjob_cls(
                [f"--step-num={step_num}", f"--{task_type}", *self._mr_job_extra_args(local=True)]
            )
            job.sandbox(stdin, stdout, stderr)
            job.on_split = lambda _: self._split_done()
            job.execute()

        return invoke

    def _log_cause_of_error(self, ex: Exception) -> None:
        """The error itself says where it happened."""
