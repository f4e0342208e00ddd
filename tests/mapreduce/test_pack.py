"""The worker environment: made once per version, whole or not at all, and refused by another interpreter."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import CorruptData
from millrace.mapreduce import pack as pack_module
from millrace.mapreduce.cluster import Work, emr_step_options
from millrace.mapreduce.pack import find, pack
from millrace.mapreduce.task import MISFIT, STAMP, interpreter
from millrace.profiles import Profile


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A folder for archives; the environment is one small package."""
    monkeypatch.setattr(pack_module, "NEEDED", ("threadpoolctl",))
    return str(tmp_path / "packs")


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_it_is_made_once_and_holds_packages_millrace_jobs_and_stamp(small: str) -> None:
    assert find(small) is None
    said: list[str] = []
    made = pack(small, said.append)
    assert len([words for words in said if words.startswith("packing")]) == 2
    with tarfile.open(made.environment) as environment, tarfile.open(made.code) as code:
        assert {STAMP, "threadpoolctl.py"} <= set(environment.getnames())
        assert {"millrace/mapreduce/task.py", "mrjobs/clean.py"} <= set(code.getnames())
    said.clear()
    assert (pack(small, said.append), said) == (made, [])
    assert [info.path for info in find(small) or []] == [made.environment, made.code]


def test_nodes_take_it_from_where_it_is(small: str, tmp_path: Path) -> None:
    """As `-archives`, Hadoop copies an archive from S3 to HDFS for each job, and each node unpacks each copy."""
    settings = {"name": "p", "home": tmp_path, "root": "s3://b", "work": str(tmp_path), "registry": "none"}
    profile = Profile.model_validate({**settings, "runner": "emr"})
    made = pack(f"{tmp_path}/_packs")
    options = emr_step_options(Work(str(tmp_path), "job"), profile)
    assert f"mapreduce.job.cache.archives={made.environment}#environment,{made.code}#millrace" in options
    assert not {"--archive", "-archives"} & set(options)


def test_packers_at_once_leave_whole_archives_alone(small: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        [made] = {(each.environment, each.code) for each in pool.map(lambda _: pack(small), range(8))}
    expected = [path.rpartition("/")[2] for path in made]
    assert names(small) == sorted([*expected, *(f"{name}.used" for name in expected)])
    for path in made:
        with tarfile.open(path) as archive:
            assert archive.getnames()


def test_an_archive_that_came_meanwhile_stays_as_it_is(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """YARN ends a job whose archive was written again since it began."""
    write: Callable[..., None] = pack_module._write

    def another_was_faster(path: Path, files: Any) -> None:
        write(path, files)
        monkeypatch.setattr(pack_module, "_write", write)
        made.append(pack(small))
        times.extend(Path(each).stat().st_mtime_ns for each in (made[0].environment, made[0].code))

    made: list[Any] = []
    times: list[int] = []
    monkeypatch.setattr(pack_module, "_write", another_was_faster)
    assert pack(small) == made[0]
    assert [Path(each).stat().st_mtime_ns for each in (made[0].environment, made[0].code)] == times
    assert not [name for name in names(small) if name.endswith(".tmp")]


def test_a_damaged_upload_is_noticed_and_nothing_stays(small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = pack_module.open_output

    class Damaging:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: bytes) -> None:
            self.file.write(data[:-1] + bytes([data[-1] ^ 1]))

        def __enter__(self) -> Damaging:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    monkeypatch.setattr(pack_module, "open_output", lambda system, path: Damaging(real(system, path)))
    with pytest.raises(CorruptData, match="isn't read back as it was written"):
        pack(small)
    assert names(small) == []


@pytest.fixture
def node(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Start a task in a folder whose environment has this stamp."""

    def start(stamp: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "environment").mkdir()
        (tmp_path / "environment" / STAMP).write_text(stamp)
        command = [sys.executable, "-m", "millrace.mapreduce.task", "mrjobs.clean:Clean", "--help"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return start


def test_a_node_of_another_interpreter_says_so(node: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    task = node("cpython-39 linux x86_64")
    assert task.returncode == MISFIT
    assert task.stderr == f"the worker environment is for cpython-39 linux x86_64, but this node has {interpreter()}\n"


def test_a_node_of_this_interpreter_works(node: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    assert node(interpreter()).returncode == 0
