"""What the operating system refuses: reading, writing, room. The tables stay as they were, and a rerun mends all."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from road import Road, Told, failure, night

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount, or drop its privileges")
RUN = ("run", "buys", "-r", "inline", "--until", "shard", "--json")


def as_nobody(*commands: tuple[str, ...]) -> list[Told]:
    """What the commands (each after its MILLRACE_HOME) tell a user without privileges."""
    script = Path(__file__).with_name("as_nobody.py")
    done = subprocess.run(
        [sys.executable, str(script)], input=json.dumps(commands), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [Told(*each) for each in json.loads(done.stdout)]


@pytest.fixture
def open_road(monkeypatch: pytest.MonkeyPatch) -> Iterator[Road]:
    """A project folder that every user may enter and write, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        monkeypatch.setenv("MILLRACE_HOME", str(folder / "home"))
        monkeypatch.setenv("MILLRACE_PIPELINES", str(folder / "pipelines"))
        monkeypatch.chdir(folder)
        yield Road(folder)


@root
def test_no_permission(open_road: Road) -> None:
    road = open_road
    road.file(1, night(1))
    assert road.run().status == 0
    before = road.versions()
    road.file(2, night(2)).chmod(0)
    closed = road.folder / "closed"
    closed.mkdir()
    (closed / "buys-2026-01-01.csv").write_bytes(night(1))
    closed.chmod(0)
    path = road.pipeline()
    for name, uri in [
        ("folder", str(closed)),
        ("below", f"{closed}/buys-2026-01-01.csv"),
        ("good", f"{road.data}/*1.csv"),
    ]:
        text = path.read_text().replace("name: buys", f"name: {name}").replace(f"{road.data}/*", uri)
        path.with_name(f"{name}.yaml").write_text(text)
    own, theirs = str(road.folder / "own"), os.environ["MILLRACE_HOME"]
    _, file, listed, below, home = (
        each
        for each in as_nobody(
            (str(road.folder / "first"), *RUN),
            (own, *RUN),
            (own, "run", "folder", *RUN[2:]),
            (own, "run", "below", *RUN[2:]),
            (theirs, "run", "good", *RUN[2:]),
        )
    )
    for told, what in [
        (failure(file), road.data / "buys-2026-01-02.csv"),
        (failure(listed), closed),
        (failure(below), closed / "buys-2026-01-01.csv"),
    ]:
        assert (told["error"], told["exit_status"], told["message"]) == ("InputError", 2, "no permission to read")
        assert told["found"] == repr(str(what))
        assert "let this user read it" in told["hint"]
    told = failure(home)
    assert (told["error"], told["exit_status"], told["message"]) == ("WorkError", 1, "no permission to write")
    assert theirs in told["found"]
    assert told["hint"] == "give this user the right to write there"
    assert not Path(own, "tables").exists()
    assert road.versions() == before


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system with room for a few pages more than what is there."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


@root
def test_a_full_disk(road: Road) -> None:
    home = road.folder / "home"
    home.mkdir()
    with full_disk(home):
        road.file(1, night(1))
        assert road.run().status == 0
        before, rows = road.versions(), road.rows()
        road.file(2, night(2, 2000))
        fill(home / "filler")
        told = failure(road.run("--json"))
        assert (told["error"], told["exit_status"], told["message"]) == ("WorkError", 1, "no room to write")
        assert str(home) in told["found"]
        assert told["hint"] == "make room and run again"
        assert told["where"][-1] == "in stage check of buys, interval 2026-01-02"
        assert (road.versions(), road.rows()) == (before, rows)
        (home / "filler").unlink()
        assert road.run().status == 0
        assert road.counts() == {"2026-01-01": 4, "2026-01-02": 2000}


@pytest.mark.parametrize(("limit", "stage"), [(100, "check"), (20_000, "clean"), (30_000, "shard")])
def test_a_quota(road: Road, limit: int, stage: str) -> None:
    road.file(1, night(1))
    assert road.run().status == 0
    rows = road.rows()
    road.file(2, night(2, 2000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        told = road.run("--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    refused = failure(told)
    assert (refused["error"], refused["exit_status"], refused["message"]) == ("WorkError", 1, "no room to write")
    assert refused["where"][-1] == f"in stage {stage} of buys, interval 2026-01-02"
    assert road.rows() == rows
    assert road.run().status == 0
    assert road.counts() == {"2026-01-01": 4, "2026-01-02": 2000}
