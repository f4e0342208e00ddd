"""What is told of a failure from the words of engines whose nodes can't be looked at: literal words, literal errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.data.split import Split
from millrace.errors import ProfileError, ServiceError, SplitFailed
from millrace.mapreduce.causes import probable_cause
from millrace.mapreduce.task import interpreter
from millrace.profiles import Profile

SPLITS = [Split("a.csv", "csv", start, 10, 1, None, None, 10) for start in (0, 10, 20)]
TASKS = [SPLITS[:2], SPLITS[2:]]
PIPE = "Error: java.lang.RuntimeException: PipeMapRed.waitOutputThreads(): subprocess failed with code"
FRAMES = "\tat org.apache.hadoop.streaming.PipeMapRed.waitOutputThreads(PipeMapRed.java:326)"
ATTEMPT = "Task Id : attempt_1761_0003_{}_0, Status : FAILED\n"


def profile(runner: str) -> Profile:
    return Profile.model_validate({"name": "p", "home": Path(), "root": "s3://b", "runner": runner, "registry": "none"})


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (
            f"{ATTEMPT.format('m_000001')}{PIPE} 7\n{FRAMES}",
            SplitFailed,
            "Clean failed on a.csv, bytes 20-30: found its process ended with status 7",
        ),
        (
            "Job job_1_2 failed with state FAILED due to: Task failed task_1_2_m_000001\nJob failed as tasks failed.\n"
            f"Task: attempt_1_2_m_000001_0 - exited : {PIPE} 7",
            SplitFailed,
            "Clean failed on a.csv, bytes 20-30: found its process ended with status 7",
        ),
        (
            f"{ATTEMPT.format('m_000000')}{PIPE} 137\n{FRAMES}",
            SplitFailed,
            "Clean failed on one of 2 splits, from a.csv, bytes 0-10 to a.csv, bytes 10-20: found its process was "
            "killed by SIGKILL; a node kills the largest process when its memory is full",
        ),
        (
            f"{ATTEMPT.format('r_000004')}{PIPE} 1\n{FRAMES}\n\nProbable cause of failure:\n\n{PIPE} 1\n\n"
            'caused by:\n\nTraceback (most recent call last):\n  File "<frozen runpy>", line 198, in _run_module\n'
            "ModuleNotFoundError: No module named 'millrace'\n\n(from lines 1-9 of s3://b/logs/stderr.gz)",
            SplitFailed,
            "Clean failed in reduce task 4: found ModuleNotFoundError: No module named 'millrace'",
        ),
        (
            f"{ATTEMPT.format('m_000001')}[2026-11-21 15:00:00.1]Container [pid=7,containerID=c_1_3] is "
            "running 782974976B beyond the 'PHYSICAL' memory limit. Current usage: 1.2 GB of 512 MB physical memory "
            "used; 3.1 GB of 1.0 GB virtual memory used. Killing container.",
            SplitFailed,
            "Clean failed on a.csv, bytes 20-30: expected at most 512 MB of memory; found 1.2 GB; let the profile give "
            "tasks more memory, or lower its split_bytes",
        ),
        (
            f"{ATTEMPT.format('m_000001')}{PIPE} 91\n{FRAMES}",
            ProfileError,
            f"the interpreter of tasks on emr doesn't fit the worker environment: expected {interpreter()}; found "
            "another one as python3.11; let emr.python of the profile p name such an interpreter, or pack on a "
            "machine like the nodes",
        ),
        (
            "Error Launching job : File does not exist: s3://b/_work/_packs/environment-0a1.tar.gz",
            ServiceError,
            "the worker environment is gone from the store: expected s3://b/_work/_packs/environment-0a1.tar.gz; try "
            "again: the next job packs it anew",
        ),
        (
            "Exception in thread main\njava.io.IOException: Job failed!\n\tat a.b(C.java:1)\nCaused by: "
            "org.apache.hadoop.security.AccessControlException: Permission denied: user=me\n\t... 7 more",
            SplitFailed,
            "Clean failed on emr: found org.apache.hadoop.security.AccessControlException: Permission denied: user=me",
        ),
        ("", SplitFailed, "Clean failed on emr: found Step 1 of 1 failed"),
    ],
    ids=["status", "only attempt", "killed", "traceback", "memory", "misfit", "archive", "java", "nothing"],
)
def test_the_cause_comes_first(words: str, kind: type[Exception], told: str) -> None:
    error = probable_cause([words] if words else [], "Step 1 of 1 failed", "Clean", profile("emr"), TASKS)
    assert (type(error), str(error)) == (kind, told)


def test_the_engines_own_words_follow_without_the_frames_of_its_stack() -> None:
    words = ["WARN: slow", f"{ATTEMPT.format('m_000001')}{PIPE} 7\n{FRAMES}\n\n"]
    error = probable_cause(words, "", "Clean", profile("emr"), TASKS)
    expected = ["the last words of emr:", "WARN: slow", ATTEMPT.format("m_000001").strip(), f"{PIPE} 7"]
    assert error.__notes__ == ["\n  ".join(expected)]


def test_spark_tells_what_its_daemon_wrote_and_what_a_node_killed() -> None:
    daemon = (
        "Lost task 1.0 in stage 0.0 (TID 1) (node executor 1): org.apache.spark.SparkException: \n"
        "Error from python worker:\n"
        f"  the worker environment is for cpython-39 linux x86_64, but this node has {interpreter()}\n"
        "PYTHONPATH was:\n  ./millrace:./environment\norg.apache.spark.SparkException: EOFException occurred while "
        "reading the port number from millrace.mapreduce.spark_daemon's stdout."
    )
    error = probable_cause([daemon], "", "Clean", profile("spark"), TASKS)
    assert str(error).startswith(
        "the interpreter of tasks on spark doesn't fit the worker environment: expected cpython-39 linux x86_64; "
        f"found {interpreter()}; let spark.python of the profile p name such an interpreter"
    )
    killed = (
        "Lost task 1.0 in stage 0.0 (TID 1) (node executor 1): ExecutorLostFailure (executor 1 exited caused by one of "
        "the running tasks) Reason: Container killed by YARN for exceeding physical memory limits. 1.5 GB of 1.4 GB "
        "physical memory used."
    )
    error = probable_cause([killed], "", "Clean", profile("spark"), TASKS)
    assert str(error).startswith(
        "Clean failed on a.csv, bytes 20-30: expected at most 1.4 GB of memory; found 1.5 GB; let the profile"
    )
