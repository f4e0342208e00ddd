"""`python -m services`: servers start once, answer, are found again, and leave nothing behind."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from services import __main__ as command
from services.daemon import Daemon
from services.minio import Minio
from services.place import Place, default_place

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path, minio, monkeypatch):
    """Another folder of services, which shares the built server alone."""
    place = Place(tmp_path / "services")
    Minio(place).binary.symlink_to(Minio(default_place()).binary)
    monkeypatch.setenv("MILLRACE_SERVICES", str(place.root))
    yield place
    command.main(["stop"])


def run(*words: str, programs: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ if programs is None else os.environ | {"PATH": programs}
    command = [sys.executable, "-m", "services", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_second_start_finds_what_runs(place):
    first = run("start", "minio")
    process = Minio(place).daemons()[0].process(place)
    second = run("start", "minio")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "answers after" in first.stderr
    assert second.stderr == "minio: runs already\n"
    assert Minio(place).daemons()[0].process(place) == process


def test_stop_ends_the_process_and_says_so(place):
    run("start", "minio")
    process = Minio(place).daemons()[0].process(place)
    assert run("stop", "minio").stderr == "minio: ended minio\n"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE  # nobody has asked yet how it ended
    assert run("status", "minio").stdout == "minio: minio isn't running\n"


def test_a_killed_server_comes_back_at_its_address_with_its_data(place):
    from pyarrow import fs

    run("start", "minio")
    user, password = place.access()
    store = fs.S3FileSystem(
        access_key=user, secret_key=password, endpoint_override=Minio(place).endpoint, region="us-east-1"
    )
    with store.open_output_stream("millrace/kept") as file:
        file.write(b"kept")
    process = Minio(place).daemons()[0].process(place)
    process.kill()
    psutil.wait_procs([process])
    assert run("start", "minio").returncode == 0
    with store.open_input_file("millrace/kept") as file:
        assert file.read() == b"kept"


def test_who_reads_while_another_writes_finds_a_whole_file(tmp_path):
    """A status asked while another process notes a port used to find an empty file."""
    place = Place(tmp_path)
    first = place.ports(["a"], fresh=False)
    with (tmp_path / "ports.json").open() as reader:
        both = place.ports(["a", "b"], fresh=False)
        assert json.load(reader) == first
    assert json.loads((tmp_path / "ports.json").read_text()) == both
    assert [path.name for path in tmp_path.iterdir()] == ["ports.json"]


class TwoSleepers(Minio):
    """A service of two daemons."""

    def daemons(self, *, fresh=False):
        return [Daemon(name, ["sleep", "600"], {}, lambda: None) for name in ("one", "other")]

    def after(self):
        """Nothing to make."""


def test_of_two_daemons_only_the_dead_one_is_started_again(tmp_path):
    service = TwoSleepers(Place(tmp_path))
    said = []
    service.start(said.append)
    one, other = [daemon.process(service.place) for daemon in service.daemons()]
    one.kill()
    psutil.wait_procs([one])
    said.clear()
    service.start(said.append)
    assert said[0] == "minio: starting one"
    assert service.daemons()[1].process(service.place) == other
    service.stop(said.append)
    assert said[-1] == "minio: ended other, one"
    assert service.running() == []


def test_keys_are_for_the_owner_alone_and_in_no_output(place):
    said = run("start", "minio")
    told = run("status", "minio", "--json")
    printed = run("env", "minio")
    assert stat.S_IMODE(place.credentials.stat().st_mode) == 0o600
    everything = said.stderr + told.stdout + printed.stdout + place.log("minio").read_text()
    assert not [key for key in place.access() if key in everything]
    assert json.loads(told.stdout)["minio"]["credentials"] == str(place.credentials)
    assert f"AWS_SHARED_CREDENTIALS_FILE={place.credentials}" in printed.stdout


def test_it_ends_with_the_last_process_that_needs_it(place):
    with psutil.Popen(["sleep", "600"]) as one, psutil.Popen(["sleep", "600"]) as other:
        run("start", "minio", "--for", str(one.pid))
        run("start", "minio", "--for", str(other.pid))
        run("stop", "--for", str(one.pid))
        assert Minio(place).running() == ["minio"]
        other.kill()
        one.kill()
    run("stop", "--for", str(one.pid))
    assert Minio(place).running() == []


def test_what_was_started_by_hand_stays(place):
    run("start", "minio")
    with psutil.Popen(["sleep", "600"]) as process:
        run("start", "minio", "--for", str(process.pid))
        run("stop", "--for", str(process.pid))
        process.kill()
    assert Minio(place).running() == ["minio"]


def test_a_server_that_ends_shows_the_end_of_its_log(place):
    (place.folder("minio") / ".minio.sys").write_text("not a folder")
    failed = run("start", "minio")
    assert failed.returncode == 1
    assert "minio didn't start: found it ended by itself" in failed.stderr
    assert str(place.log("minio")) in failed.stderr
    assert "drive not found" in failed.stderr


def test_a_machine_without_a_program_is_told_what_is_left_out(place, tmp_path):
    Minio(place).binary.unlink()
    (tmp_path / "empty").mkdir()
    absent = run("start", "minio", programs=str(tmp_path / "empty"))
    assert absent.returncode == 3
    assert absent.stderr == "minio: left out: no go on PATH\n"
