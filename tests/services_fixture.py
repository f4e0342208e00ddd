"""Real servers for tests: each is started once for a whole test run, whatever the number of workers, and ended with it.

Servers that ran before go on running. A test that asks for one is left out, with the reason told at the end, where the
machine lacks the programs and can't install them; with CI=true it fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RUN = "MILLRACE_TEST_RUN"  # process id of the test run that its workers inherit


@dataclass(frozen=True)
class MinioFacts:
    """Where MinIO is; the environment variables that let clients in."""

    endpoint: str
    bucket: str
    region: str
    credentials: Path
    access_key: str
    secret_key: str
    variables: dict[str, str]


@dataclass(frozen=True)
class HadoopFacts:
    """Where Hadoop is: URIs of HDFS, folders, the launcher, and the environment variables that clients read."""

    namenode: str
    webhdfs: str
    resourcemanager: str
    home: Path
    conf: Path
    bin: Path
    streaming_jar: Path
    variables: dict[str, str]


@dataclass(frozen=True)
class EmrFacts:
    """Where the stand-in for EMR is (it uses the services `minio` and `hadoop`), and the variables for boto3."""

    endpoint: str
    region: str
    variables: dict[str, str]


def services(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m services`."""
    command = [sys.executable, "-m", "services", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def started(name: str) -> dict[str, Any]:
    """The facts of a service that runs until the end of the test run."""
    run = services("start", name, "--for", os.environ[RUN])
    if run.returncode == 3:
        reason = run.stderr.strip().splitlines()[-1]
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    assert run.returncode == 0, run.stderr
    facts: dict[str, Any] = told("status", name)[name]
    return facts | {"variables": told("env", name)}


def told(action: str, name: str) -> dict[str, Any]:
    """What `python -m services` tells of a service that runs."""
    run = services(action, name, "--json")
    assert run.returncode == 0, f"{action} of {name}: {run.stdout}{run.stderr}"
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture(scope="session")
def minio() -> MinioFacts:
    """MinIO with an empty or used bucket: take a prefix of your own in it."""
    from services.place import default_place

    facts = started("minio")
    access_key, secret_key = default_place().access()
    return MinioFacts(
        facts["endpoint"], facts["bucket"], facts["region"], Path(facts["credentials"]), access_key, secret_key,
        facts["variables"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def hadoop() -> HadoopFacts:
    """HDFS and YARN: take a folder of your own."""
    facts = started("hadoop")
    paths = {name: Path(facts[name]) for name in ("home", "conf", "bin", "streaming_jar")}
    return HadoopFacts(
        facts["namenode"], facts["webhdfs"], facts["resourcemanager"], **paths, variables=facts["variables"]
    )


@pytest.fixture(scope="session")
def emr() -> EmrFacts:
    """The API of EMR, whose steps run on the local Hadoop and MinIO."""
    facts = started("emr")
    return EmrFacts(facts["endpoint"], facts["region"], facts["variables"])


def pytest_configure(config: pytest.Config) -> None:
    """The process that started the test run holds what its workers start."""
    if not hasattr(config, "workerinput"):
        os.environ[RUN] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of what this run started."""
    if not hasattr(config, "workerinput"):
        from services.place import default_place, read_json

        held = [each for file in default_place().root.glob("run/*.holders") for each in read_json(file, [])]
        if os.getpid() in {each["pid"] for each in held}:
            services("stop", "--for", str(os.getpid()))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each engine that is left out."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)}
    for reason in sorted(reason for reason in reasons if "left out: " in reason):
        terminalreporter.write_line(reason.removeprefix("Skipped: "), yellow=True)
