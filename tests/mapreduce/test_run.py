"""Jobs on the inline and local runners: equal pairs, clear failures, nothing left behind."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import Fails, MapOnly, NotJson, Order, Sums, Where
from mrjob.local import LocalMRJobRunner

from millrace.data.raw import Split
from millrace.errors import InputError, RequestError, ServiceError, SplitFailed
from millrace.mapreduce import tasks as tasks_module
from millrace.mapreduce.job import ColumnJob, JobPlan
from millrace.mapreduce.manifest import balance
from millrace.mapreduce.run import run_job
from millrace.mapreduce.splits import plan_splits
from millrace.mapreduce.taskserver import threads
from millrace.spec import Column, Pipeline, Source
from millrace.storage.files import list_files

PIPELINE = Pipeline(
    name="p",
    source=Source(uri="x", interval="none"),
    columns={name: Column(type="string", role="categorical") for name in ("a", "b")},
)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> list[Split]:
    folder = tmp_path_factory.mktemp("in put")
    for name in ("one", "two"):
        rows = "".join(f"k{i % 3},{i}\n" for i in range(100))
        (folder / f"{name}.csv").write_text(f"a,b\n{rows}")
    return plan_splits(list_files(str(folder)), PIPELINE, 200)


def plan(**params: Any) -> JobPlan:
    return JobPlan(pipeline=PIPELINE, out="unused", params=params)


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_pairs_are_the_same_for_any_runner_and_number_of_tasks(splits: list[Split], runner: str) -> None:
    expected = [(f"k{k}", 2 * sum(range(k, 100, 3))) for k in range(3)]
    for tasks in (1, 3, 100):
        assert run_job(Sums, plan(), splits, runner=runner, tasks=tasks) == expected


def test_map_only_job_and_values_in_order(splits: list[Split]) -> None:
    inline = run_job(MapOnly, plan(word="w"), splits, tasks=2)
    assert inline == run_job(MapOnly, plan(word="w"), splits, runner="local", tasks=2)
    assert inline[:2] == [("end", "w"), ("end", "w")]
    assert sum(sum(value["rows"]) for key, value in inline if key != "end") == 200
    orders = [run_job(Order, plan(), splits, runner=runner, tasks=n) for runner in ("inline", "local") for n in (1, 5)]
    assert orders[0] == orders[1] == orders[2] == orders[3]


def test_no_splits_no_pairs() -> None:
    assert run_job(Sums, plan(), []) == []


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_progress_counts_every_split(splits: list[Split], runner: str) -> None:
    seen: list[tuple[int, int]] = []
    run_job(Sums, plan(), splits, runner=runner, tasks=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, len(splits)) for done in range(1, len(splits) + 1)]


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_a_failure_names_file_range_rows_and_cause(splits: list[Split], runner: str) -> None:
    with pytest.raises(SplitFailed) as caught:
        run_job(Fails, plan(at="map", how="value"), splits, runner=runner)
    assert re.fullmatch(
        r"Fails failed on .*/(one|two)\.csv, bytes \d+-\d+, rows \d+-\d+: found ValueError: no number: 'x'",
        str(caught.value),
    )
    assert "in fail" in str(caught.value.__cause__) or isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_our_own_errors_keep_class_parts_and_place(splits: list[Split], runner: str) -> None:
    with pytest.raises(InputError) as caught:
        run_job(Fails, plan(at="map", how="input"), splits, runner=runner)
    assert str(caught.value) == "a bad file: expected gold; found tin; look again"
    assert (caught.value.expected, caught.value.found, caught.value.hint) == ("gold", "tin", "look again")
    assert re.match(r"in Fails, on .*\.csv, bytes \d+-\d+, rows", caught.value.__notes__[0])


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_failures_of_a_reduce_and_of_the_input_and_of_json(splits: list[Split], runner: str, tmp_path: Path) -> None:
    with pytest.raises(SplitFailed, match="Fails failed on key 'k': found ValueError: no number"):
        run_job(Fails, plan(at="reduce", how="value"), splits, runner=runner)
    (tmp_path / "bad.csv").write_text("a,c\n1,2\n")
    with pytest.raises(InputError, match=r"missing column 'b' in .*bad\.csv"):
        run_job(Sums, plan(), plan_splits(list_files(str(tmp_path)), PIPELINE), runner=runner)
    with pytest.raises(SplitFailed, match="TypeError: Object of type set is not JSON serializable"):
        run_job(NotJson, plan(), splits, runner=runner)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("kill", r"map task \d was killed on .*csv, bytes .*: found SIGKILL; probably out of memory"),
        ("segfault", r"map task \d was killed on .*csv, bytes .*: found SIGSEGV"),
        ("exit", r"map task \d ended early on .*csv, bytes .*: found exit status 7"),
    ],
)
def test_a_task_that_dies_is_noticed(splits: list[Split], how: str, words: str) -> None:
    with pytest.raises(SplitFailed, match=words):
        run_job(Fails, plan(at="map", how=how), splits, runner="local", tasks=2)
    assert run_job(Sums, plan(), splits[:1], runner="local")  # the server is as good as before


def test_a_progress_that_raises_stops_the_tasks(splits: list[Split]) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(SplitFailed, match="enough"):
        run_job(Sums, plan(), splits, runner="local", progress=stop)
    assert run_job(Sums, plan(), splits[:1], runner="local")


def test_tasks_are_other_processes_with_their_own_folder_and_the_drivers_environment(
    splits: list[Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    for mark in ("one", "two"):
        monkeypatch.setenv("MILLRACE_TEST_MARK", mark)
        [*found] = [value for _, value in run_job(Where, plan(), splits, runner="local", tasks=2)]
        assert {value["mark"] for value in found} == {mark}
        assert os.getpid() not in {value["pid"] for value in found}
        assert str(Path.cwd()) not in {value["folder"] for value in found}
    [*inline] = [value for _, value in run_job(Where, plan(), splits[:1])]
    assert [(value["pid"], value["folder"]) for value in inline] == [(os.getpid(), str(Path.cwd()))]


def test_tasks_fork_while_the_caller_has_threads(splits: list[Split]) -> None:
    import polars as pl

    pl.DataFrame({"a": [1, 2]}).group_by("a").len()
    gate = threading.Event()
    threading.Thread(target=gate.wait).start()
    try:
        assert threads() > 2
        assert run_job(Sums, plan(), splits, runner="local", tasks=20)
    finally:
        gate.set()


def test_a_dead_server_is_an_error_and_the_next_job_starts_another(splits: list[Split]) -> None:
    with pytest.raises(ServiceError, match="the process that forks tasks has ended: found exit status -9"):
        run_job(Fails, plan(at="map", how="server"), splits, runner="local")
    pid = run_job(Where, plan(), splits[:1], runner="local")[0][1]["server"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), 5)
    assert run_job(Where, plan(), splits[:1], runner="local")[0][1]["server"] != pid


def test_nothing_is_left_behind(splits: list[Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for runner in ("inline", "local"):
        run_job(Sums, plan(), splits, runner=runner)
        with pytest.raises(SplitFailed):
            run_job(Fails, plan(at="map", how="value"), splits, runner=runner)
    assert list(tmp_path.iterdir()) == []


def test_configuration_files_of_mrjob_are_not_read(
    splits: list[Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".mrjob.conf").write_text("runners: {inline: {num_cores: nonsense}, local: {sort_bin: /nowhere}}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MRJOB_CONF", str(tmp_path / ".mrjob.conf"))
    assert len(run_job(Sums, plan(), splits)) == len(run_job(Sums, plan(), splits, runner="local")) == 3


def test_a_job_inside_a_function_and_an_unknown_runner(splits: list[Split]) -> None:
    class Inner(Sums):
        pass

    assert len(run_job(Inner, plan(), splits)) == 3
    with pytest.raises(RequestError, match="a class inside a function"):
        run_job(Inner, plan(), splits, runner="local")
    with pytest.raises(RequestError, match="expected one of inline, local; found 'cloud'"):
        run_job(Sums, plan(), splits, runner="cloud")


def test_spark_submit_of_pyspark_is_found_though_local_jobs_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from millrace.mapreduce.spark import SparkRunner

    monkeypatch.setattr("mrjob.bin.pyspark", None)
    monkeypatch.delenv("SPARK_HOME", raising=False)
    runner = SparkRunner.__new__(SparkRunner)
    path, own, *_ = runner._spark_submit_bin_dirs()
    assert path is None
    assert Path(str(own), "spark-submit").is_file()


def test_setuptools_finds_no_distutils_of_another_after_a_job() -> None:
    code = "import sys, millrace.mapreduce.job; assert 'setuptools' not in sys.modules; import setuptools"
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_local_is_mrjobs_local() -> None:
    kind = Sums(["-r", "local"])._runner_class()
    assert issubclass(kind, LocalMRJobRunner)
    assert kind.alias == "local"


@pytest.mark.parametrize(("weights", "tasks"), [([9, 1, 1, 1, 8], 2), ([], 3), ([1], 4), (list(range(1, 50)), 7)])
def test_balance_is_a_partition_and_fair(weights: list[int], tasks: int) -> None:
    groups = balance(weights, tasks)
    assert sorted(index for group in groups for index in group) == list(range(len(weights)))
    loads = [sum(weights[index] for index in group) for group in groups]
    assert max(loads, default=0) <= sum(weights) / tasks + max(weights, default=0)


SCRIPT = """
from __future__ import annotations
import json, sys
from collections.abc import Iterator
import helper_beside
from millrace.data.raw import Split
from millrace.mapreduce.job import ColumnJob, JobPlan
from millrace.mapreduce.run import run_job

class Beside(ColumnJob):
    def map_split(self, split: Split):
        for raw in self.read(split):
            if "--debug" in sys.argv:
                breakpoint()
            yield helper_beside.NAME, len(raw.rows)

    def reduce_key(self, key, values):
        yield key, sum(values)

if __name__ == "__main__":
    plan = JobPlan.model_validate_json(open(sys.argv[2]).read())
    splits = [Split.from_json(line) for line in open(sys.argv[3])]
    print(json.dumps(run_job(Beside, plan, splits, runner=sys.argv[1])))
"""


@pytest.fixture
def script(tmp_path: Path, splits: list[Split]) -> Iterator[list[str]]:
    (tmp_path / "beside.py").write_text(SCRIPT)
    (tmp_path / "helper_beside.py").write_text("NAME = 'rows'\n")
    (tmp_path / "plan.json").write_text(plan().model_dump_json())
    (tmp_path / "manifest").write_text("".join(f"{split.to_json()}\n" for split in splits))
    return [str(tmp_path / name) for name in ("beside.py", "plan.json", "manifest")]


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_a_script_with_its_job_in_main_runs_from_elsewhere(script: list[str], runner: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, script[0], runner, *script[1:]], cwd=elsewhere, env=env, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b'[["rows", 200]]\n', b"")
    assert list(elsewhere.iterdir()) == []


def test_a_debugger_stops_in_an_inline_task(script: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, script[0], "inline", *script[1:], "--debug"],
        input=b"p len(raw.rows), 6 * 7\n" + b"c\n" * 100,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert re.search(rb"\(\d+, 42\)", done.stderr)
    assert done.stdout == b'[["rows", 200]]\n'


def test_tasks_end_with_a_driver_that_was_killed(script: list[str], tmp_path: Path) -> None:
    Path(script[1]).write_text(plan(at="map", how="wait").model_dump_json())
    lines = "import jobs_for_tests, sys; from beside import *; "
    code = lines + "run_job(jobs_for_tests.Fails, JobPlan.model_validate_json(open(sys.argv[1]).read()), "
    code += "[Split.from_json(line) for line in open(sys.argv[2])][-1:], runner='local')"
    mark = tmp_path / "mark"
    paths = os.pathsep.join([str(Path(__file__).parent), str(tmp_path)])
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *script[1:]],
        env={**os.environ, "MILLRACE_TEST_MARK": str(mark), "PYTHONPATH": paths},
    )
    wait_for(lambda: mark.exists() and mark.read_text().endswith("\n"), 30)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in mark.read_text().split()), 10)


def is_alive(pid: str | int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.05)


def test_mapper_reads_a_manifest_as_hadoop_hands_it_over(splits: list[Split], tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(plan().model_dump_json())
    job: ColumnJob = Sums(["--mapper", "--plan", str(tmp_path / "plan.json")])
    lines = "".join(f"{index * 100}\t{split.to_json()}\n" for index, split in enumerate(splits)).encode()
    job.sandbox(stdin=io.BytesIO(lines))
    job.run_mapper()
    assert job.stdout.getvalue().count(b'"k0"\t') == len(splits)
    assert b"reporter:counter:millrace,splits,1" in job.stderr.getvalue()


def test_the_next_job_finds_the_server_warm(splits: list[Split]) -> None:
    first, second = (run_job(Where, plan(), splits[:4], runner="local", tasks=4) for _ in range(2))
    assert {where["server"] for _, where in first} == {where["server"] for _, where in second}
    assert len(tasks_module._idle) == 1


def test_a_server_that_nothing_asked_ends_at_once_though_it_imports() -> None:
    server = tasks_module.TaskServer(preload=["pandas", "polars"])
    server.close()
    assert server.process.wait() == -signal.SIGKILL
