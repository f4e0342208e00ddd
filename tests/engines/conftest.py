"""One pipeline for every engine and store, and the matrix of them in the README, which `make matrix` writes.

The reference is the inline runner on a local folder. Each combination runs all stages on raw files in its own store,
and is compared table by table: rows, their order inside a part, ledgers, and what was recorded.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from engine_matrix import BEGIN, END, README, TEST, matrix

from millrace.mapreduce.store_fs import remove
from millrace.stages import Run, open_run, run_stages
from millrace.storage.files import copy_folder
from tests.orders import FIRST, PIPELINE, write_day

TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")
NIGHT = "2026-01-12"
TASKS = {"local": 3, "hadoop": 2, "spark": 3, "emr": 2}


def profile(runner: str, root: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a profile file."""
    settings: dict[str, Any] = {"runner": runner, "root": root, "tasks": TASKS.get(runner)}
    if root.startswith("s3"):
        settings["s3"] = {"endpoint": variables["AWS_ENDPOINT_URL"], "region": variables["AWS_REGION"]}
    return settings


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Run the night with a profile, in a folder of its own: what every table then holds."""

    def go(settings: dict[str, Any]) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp(settings["runner"])
        for name in ("pipelines", "profiles", "data"):
            (folder / name).mkdir()
        for back in range(12):
            write_day(folder, FIRST.replace(day=1 + back))
        with (folder / "data" / "2026-01-04.csv").open("a") as file:
            file.write("ragged,row\n2026-01-04 11:00:00,1,a,-5,0\n")
        copy_folder(folder / "data", f"{settings['root']}/raw")
        text = PIPELINE.replace("data/*.csv", f"{settings['root']}/raw/*.csv")
        (folder / "pipelines" / "orders.yaml").write_text(text)
        (folder / "profiles" / "engine.yaml").write_text(json.dumps(settings))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MILLRACE_HOME", str(folder / "home"))
            patch.setenv("MILLRACE_PIPELINES", str(folder / "pipelines"))
            patch.setenv("MILLRACE_PROFILES", str(folder / "profiles"))
            patch.chdir(folder)
            asked = {"runner": settings["runner"]}  # asked for by name, little work isn't done in the driver
            opened = open_run("orders", NIGHT, profile="engine", options=asked)
            results = run_stages(opened, "check", "score")
            return contents(opened) | {
                "ledgers": {result.stage: result.ledger.model_dump() for result in results if result.ledger}
            }

    return go


def contents(run: Run) -> dict[str, Any]:
    """All rows of all tables, in their order, and what was recorded; without the names of places."""
    found: dict[str, Any] = {}
    for name in TABLES:
        table = run.table(name)
        rows = table.read().to_pylist()
        details = {key: value for key, value in table.details().items() if key != "tokens"}
        found[name] = json.loads(json.dumps([rows, details], default=repr).replace(run.profile.root, ""))
    return found


@pytest.fixture(scope="module")
def reference(night: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return night(profile("inline", str(tmp_path_factory.mktemp("store")), {}))


@pytest.fixture
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """The profile of a runner and a store, and the environment that its clients need."""
    runner, store = request.param
    variables: dict[str, str] = {}
    if store == "s3":
        variables |= request.getfixturevalue("minio").variables
    if store == "hdfs" or runner in ("hadoop", "emr"):
        hadoop = request.getfixturevalue("hadoop")
        variables |= hadoop.variables
    if runner == "emr":
        variables |= request.getfixturevalue("emr").variables
    own = uuid.uuid4().hex
    root = {"file": str(tmp_path), "s3": f"s3://millrace/{own}"}.get(store) or f"{hadoop.namenode}/engines/{own}"
    found = profile(runner, root, variables)
    python = os.path.realpath(sys.executable)
    if runner == "emr":
        found["work"] = "s3://millrace/_work"  # one worker environment for all tests
        found["emr"] = {"python": python, "pool": own, "poll_seconds": 1}
        found["emr"] |= {"service_role": "service", "instance_profile": "instance"}
    if runner == "hadoop":
        found |= {
            "work": f"{hadoop.namenode}/millrace/_work",
            "hadoop": {"bin": str(hadoop.bin), "streaming_jar": str(hadoop.streaming_jar), "python": python},
        }
        if store == "s3":  # the first attempt of every task is killed where it has done its work, and tells of it
            killed = "MILLRACE_FAULT=before_task_report"
            found["hadoop"]["jobconf"] = {"mapreduce.map.env": killed, "mapreduce.reduce.env": killed}
    if runner == "spark":
        found["spark"] = {"master": "local[2]"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield found
    remove(root)


@pytest.fixture
def differing(
    settings: dict[str, Any],
    night: Callable[..., dict[str, Any]],
    reference: dict[str, Any],
    record_property: Callable[[str, object], None],
) -> dict[str, Any]:
    """What the night left on this engine and store, of each table that isn't as in the reference."""
    began = time.perf_counter()
    found = night(settings)
    record_property("seconds", time.perf_counter() - began)
    return {name: (found[name], expected) for name, expected in reference.items() if found[name] != expected}


_found: dict[tuple[str, str], str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what became of each combination."""
    match = TEST.search(report.nodeid)
    if match and (report.when == "call" or report.failed):
        seconds = dict(report.user_properties).get("seconds", 0.0)
        _found[match[1], match[2]] = f"equal, {seconds:.0f} s" if report.passed else "**differs**"


def pytest_sessionfinish() -> None:
    """Write the matrix, if this run was asked to."""
    if os.environ.get("MILLRACE_MATRIX") and _found:
        before, _, rest = README.read_text("utf-8").partition(BEGIN)
        README.write_text(before + BEGIN + matrix(_found) + END + rest.partition(END)[2], "utf-8")
