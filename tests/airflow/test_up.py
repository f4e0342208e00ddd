"""Starting and ending Airflow on a home of its own: nothing is left behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from millrace.airflow import up
from tests.nights import write_night, write_pipeline

pytestmark = pytest.mark.airflow


def running(pids: list[int]) -> list[int]:
    """Those that still run; a dead process that nobody waited for doesn't."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def test_nothing_survives_its_starter_nor_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_night(tmp_path / "data", date(2018, 4, 1), 60_000)
    write_pipeline(tmp_path / "pipelines", tmp_path / "data")
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    code = (
        "import pathlib, time; from millrace.airflow import up;"
        f"handle = up.start(pathlib.Path({str(tmp_path)!r})); print(handle.password, *handle.pids, flush=True);"
        "time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
    assert starter.stdout is not None
    password, *words = starter.stdout.readline().split()
    pids = [int(word) for word in words]
    assert len(pids) > 4
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 20
    while running(pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running(pids) == []

    airflow = up.start(tmp_path)
    try:
        print(f"started again in {airflow.seconds:.1f} s")
        assert airflow.password == password
        client = airflow.client()
        client.wait_for_dag("buys_train")
        client.switch("buys_train", on=True)
        run = client.trigger("buys_train", {"date": "2018-04-01"})
        deadline = time.monotonic() + 120
        while client.tasks("buys_train", run)["check"]["state"] != "running":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        pids = airflow.pids
        began = time.monotonic()
    finally:
        airflow.stop()
    print(f"stopped {len(pids)} processes in {time.monotonic() - began:.1f} s")
    assert running(pids) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(airflow.address.rsplit(":", 1)[1]))) != 0
