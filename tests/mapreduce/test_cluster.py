"""Jobs on Hadoop and Spark: what comes back from them, and what is told of a failure: its cause first, and the split.

The jobs are those of `jobs_for_tests`, in a copy of the package `mrjobs` that tasks get in their worker environment.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mrjobs
from millrace.errors import InputError, MillraceError, ProfileError, ServiceError, SplitFailed
from millrace.mapreduce import cluster
from millrace.mapreduce import pack as pack_module
from millrace.mapreduce.cluster import Outcome, merged, run_on_cluster
from millrace.mapreduce.job import JobPlan
from millrace.mapreduce.pack import Pack
from millrace.mapreduce.splits import plan_splits
from millrace.mapreduce.store_fs import remove
from millrace.mapreduce.task import SPARK_DAEMON, STAMP, interpreter
from millrace.profiles import Hadoop, Profile, Spark
from millrace.spec import Column, Pipeline, Source
from millrace.storage.files import copy_folder, list_files

pytestmark = pytest.mark.services

PIPELINE = Pipeline(
    name="p",
    source=Source(uri="x", interval="none"),
    columns={name: Column(type="string", role="categorical") for name in ("a", "b")},
)
HERE = Path(__file__).parent
PYTHON = os.path.realpath(sys.executable)
ONE_ATTEMPT = {
    f"mapreduce.{phase}.{setting}": value
    for phase in ("map", "reduce")
    for setting, value in (("maxattempts", "1"), ("speculative", "false"))
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The module of the jobs, as tasks import it too."""
    folder = tmp_path_factory.mktemp("jobs")
    shutil.copytree(Path(mrjobs.__path__[0]), folder / "mrjobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "jobs_for_tests.py", folder / "mrjobs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack_module, "job_scripts", lambda: folder / "mrjobs")
        patch.setattr(mrjobs, "__path__", [str(folder / "mrjobs")])
        patch.setenv("PYTHONPATH", str(folder))  # of local Spark's tasks, which get no archive
        patch.chdir(folder)
        patch.setattr(cluster, "TASK_WEIGHT", 1)  # as many tasks as the profile allows, for a few rows
        yield importlib.import_module("mrjobs.jobs_for_tests")
    sys.modules.pop("mrjobs.jobs_for_tests")


class Engine:
    """A runner with its profile and input: a file of two splits, one for each map task."""

    def __init__(self, jobs: ModuleType, profile: Profile, data: str) -> None:
        self.jobs, self.profile = jobs, profile
        self.splits = plan_splits(list_files(data), PIPELINE, 350)
        self.said: list[str] = []

    def run(self, job: str, *, settings: dict[str, Any] | None = None, **params: Any) -> Outcome:
        """Run a job; `settings` change the runner's section of the profile."""
        runner = self.profile.runner
        section = getattr(self.profile, runner).model_copy(update=settings or {})
        profile = self.profile.model_copy(update={runner: section})
        plan = JobPlan(pipeline=PIPELINE, out="unused", params=params)
        return run_on_cluster(getattr(self.jobs, job), plan, self.splits, profile, say=self.said.append)

    def failure(self, kind: type[MillraceError], **told: Any) -> MillraceError:
        """The error that the job `Fails` ends with."""
        with pytest.raises(kind) as found:
            self.run("Fails", **told)
        return found.value


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "rows.csv").write_text("a,b\n" + "".join(f"k{i % 3},{i}\n" for i in range(100)))
    return folder


@pytest.fixture(scope="module")
def on_hadoop(hadoop: Any, jobs: ModuleType, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    own = f"{hadoop.namenode}/cluster/{uuid.uuid4().hex}"
    copy_folder(data, f"{own}/raw")
    profile = Profile(
        name="real", home=tmp_path_factory.mktemp("home"), root=own, work=f"{hadoop.namenode}/millrace/_work",
        runner="hadoop", registry="none", tasks=2,
        hadoop=Hadoop(
            bin=str(hadoop.bin), streaming_jar=str(hadoop.streaming_jar), python=PYTHON, jobconf=ONE_ATTEMPT
        ),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hadoop.variables.items():
            patch.setenv(name, value)
        yield Engine(jobs, profile, f"{own}/raw")
    remove(own)


@pytest.fixture(scope="module")
def on_spark(jobs: ModuleType, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    home = tmp_path_factory.mktemp("home")
    profile = Profile(
        name="real", home=home, root=str(home), runner="spark", registry="none", tasks=2, spark=Spark(master="local[2]")
    )
    return Engine(jobs, profile, str(data))


@pytest.fixture(params=["hadoop", "spark"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(f"on_{request.param}")
    return found


SUMS = [(f"k{k}", sum(range(k, 100, 3))) for k in range(3)]


@pytest.mark.parametrize("reduces", [1, 3])
def test_pairs_counters_and_progress_come_back_for_any_number_of_reduce_tasks(
    engine: Engine, reduces: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_hadoop = engine.profile.runner == "hadoop"
    here: list[str] = []

    def counted(counters: Any) -> dict[str, dict[str, int]]:
        here.extend(path.name for path in tmp_path.iterdir())
        return merged(counters)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(cluster, "merged", counted)
    settings = {"mapreduce.job.reduces": str(reduces)}
    engine.said.clear()
    outcome = engine.run("Sums", settings={"jobconf": ONE_ATTEMPT | settings} if on_hadoop else {"conf": settings})
    assert outcome.pairs == SUMS
    assert outcome.counters["millrace"] == {"splits": 2}
    assert outcome.counters["test"] == {"maps": 2}
    if on_hadoop:
        tasks = {name: amount for group in outcome.counters.values() for name, amount in group.items()}
        assert (tasks["Launched map tasks"], tasks["Launched reduce tasks"]) == (2, reduces)
        assert engine.said[-1] == "map 100% reduce 100%"
    else:
        assert engine.said[-1] == f"stage 1: {reduces} of {reduces} tasks"
    assert [name.rpartition("-")[0] for name in here] == ["millrace-job"]  # what vacuum knows, should this die now
    assert not list(tmp_path.iterdir())


def test_an_exception_in_map_comes_back_as_it_was_raised_with_its_split(engine: Engine) -> None:
    error = engine.failure(InputError, at="map", how="input")
    assert str(error) == "a bad file: expected gold; found tin; look again"
    assert error.__notes__[0].startswith(f"in Fails, on {engine.splits[1]}, rows ")


def test_an_exception_in_reduce_comes_back_with_its_key(engine: Engine) -> None:
    error = engine.failure(SplitFailed, at="reduce", how="value")
    assert str(error) == "Fails failed on key 'k': found ValueError: no number: 'x'"


def test_a_process_that_ended_without_a_word_is_told_with_its_split(engine: Engine) -> None:
    error = engine.failure(SplitFailed, at="map", how="exit")
    how = {"hadoop": "ended with status 7", "spark": "ended without a word"}[engine.profile.runner]
    assert str(error).startswith(f"Fails failed on {engine.splits[1]}: found its process {how}")


def test_a_process_that_its_node_killed_is_told_with_its_split(on_hadoop: Engine) -> None:
    error = on_hadoop.failure(SplitFailed, at="map", how="kill")
    assert str(error) == (
        f"Fails failed on {on_hadoop.splits[1]}: found its process was killed by SIGKILL; "
        "a node kills the largest process when its memory is full"
    )


def test_an_interpreter_that_is_not_there_is_named(engine: Engine) -> None:
    error = engine.failure(ProfileError, at="map", how="value", settings={"python": "/no/python3"})
    assert str(error) == (
        f"a node of {engine.profile.runner} can't start the interpreter: expected {interpreter()} on every node; "
        f"found no program /no/python3; let {engine.profile.runner}.python of the profile real name one that is there"
    )


@pytest.fixture
def other_python(tmp_path: Path) -> str:
    """This interpreter, which believes that it is of another version."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.implementation.cache_tag = 'cpython-39'\n")
    script = tmp_path / "python3.9"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec {PYTHON} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_an_interpreter_that_does_not_fit_is_told_with_the_one_expected(on_hadoop: Engine, other_python: str) -> None:
    error = on_hadoop.failure(ProfileError, at="map", how="value", settings={"python": other_python})
    found = interpreter().replace("cpython-311", "cpython-39")
    assert str(error).startswith(
        "the interpreter of tasks on hadoop doesn't fit the worker environment: "
        f"expected {interpreter()}; found {found}; let hadoop.python of the profile real name such an interpreter"
    )


def test_spark_checks_the_interpreter_before_it_starts_python(
    on_spark: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on YARN, with the worker environment's folder where tasks run."""
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / STAMP).write_text("cpython-39 linux x86_64")
    monkeypatch.chdir(tmp_path)
    conf = {"spark.python.daemon.module": SPARK_DAEMON}
    error = on_spark.failure(ProfileError, at="map", how="value", settings={"conf": conf})
    assert str(error).startswith(
        "the interpreter of tasks on spark doesn't fit the worker environment: "
        f"expected cpython-39 linux x86_64; found {interpreter()}; let spark.python of the profile real"
    )


def test_an_archive_that_was_deleted_is_named(on_hadoop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(*arguments: Any) -> Pack:
        found = pack_module.pack(*arguments)
        remove(found.code)
        return found

    monkeypatch.setattr(cluster, "pack", pack)
    error = on_hadoop.failure(ServiceError, at="map", how="value")
    assert re.fullmatch(
        r"the worker environment is gone from the store: expected \S*/_packs/millrace-\w+\.tar\.gz; "
        "try again: the next job packs it anew",
        str(error),
    )


def test_a_command_that_is_not_there_is_named(on_hadoop: Engine) -> None:
    error = on_hadoop.failure(ProfileError, settings={"bin": "/no/hadoop"})
    assert str(error) == (
        "no command to start a job on hadoop: found no program /no/hadoop; let hadoop.bin of the profile real name it"
    )
