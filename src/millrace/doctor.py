"""`millrace doctor`: is everything there that a profile needs? Each finding says what was looked at and what to do."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel

from millrace.errors import MillraceError
from millrace.pipeline_file import load
from millrace.profiles import Profile, load_profile, pipelines_folder

NEEDED = ("apache-airflow", "mrjob", "deltalake", "great-expectations", "mlflow", "scikit-learn", "pyarrow", "polars")
ROOM = 2 << 30  # bytes that a small pipeline's tables and Airflow's logs need


class Finding(BaseModel):
    """One thing that was looked at."""

    name: str
    ok: bool
    words: str


def examine(profile_name: str | None) -> list[Finding]:
    """Look at everything that the profile needs; a check that raises is a finding too."""
    profile = load_profile(profile_name)
    checks: dict[str, Callable[[Profile], str]] = {
        "python": _python,
        "packages": _packages,
        "home folder": _home,
        "room": _room,
        "tables": _tables,
        "model registry": _registry,
        "airflow": _airflow,
        "pipeline files": _pipelines,
    }
    return [_look(name, check, profile) for name, check in checks.items()]


def _look(name: str, check: Callable[[Profile], str], profile: Profile) -> Finding:
    try:
        return Finding(name=name, ok=True, words=check(profile))
    except (MillraceError, OSError, PackageNotFoundError) as error:
        return Finding(name=name, ok=False, words=str(error))


def _python(profile: Profile) -> str:
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        raise MillraceError("Python", expected="3.11 or 3.12", found=sys.version.split()[0])
    return f"{sys.version.split()[0]}, {os.cpu_count()} cores"


def _packages(profile: Profile) -> str:
    return ", ".join(f"{name} {version(name)}" for name in NEEDED)


def _home(profile: Profile) -> str:
    profile.home.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=profile.home) as file:
        file.write(b"x")
    return f"{profile.home} can be written"


def _room(profile: Profile) -> str:
    free = shutil.disk_usage(profile.home).free
    if free < ROOM:
        raise MillraceError("room on the disk", expected=f"{ROOM / 1e9:.0f} GB", found=f"{free / 1e9:.1f} GB")
    return f"{free / 1e9:.0f} GB free"


def _tables(profile: Profile) -> str:
    import pyarrow as pa

    from millrace.storage.commits import Commit
    from millrace.storage.parts import PartWriter
    from millrace.storage.tables import Table

    with tempfile.TemporaryDirectory(dir=profile.home, prefix="doctor-") as folder:
        rows = pa.table({"data_interval": ["all"], "value": [1]})
        table = Table(folder)
        with PartWriter(folder, {"data_interval": "all"}, rows.schema) as writer:
            writer.write(rows)
            part = writer.close()
        table.commit(Commit(parts=[part], schema=rows.schema, transaction="doctor"))
        if table.read(verify=True).num_rows != 1:
            raise MillraceError("a row that was committed wasn't read back", found=folder)
    return f"a commit was written and read back; tables are at {profile.root}"


def _registry(profile: Profile) -> str:
    from millrace.model.registry import Registry

    Registry(profile.registry, profile.models).versions("doctor")
    return profile.registry


def _airflow(profile: Profile) -> str:
    command = Path(sys.executable).with_name("airflow")
    if not command.exists():
        raise MillraceError("the airflow command", expected=str(command), found="nothing", hint="run: make install")
    return f"{version('apache-airflow')} at {command}"


def _pipelines(profile: Profile) -> str:
    files = sorted(pipelines_folder().glob("*.yaml"))
    for file in files:
        load(file)
    return (
        f"{len(files)} in {pipelines_folder()}"
        if files
        else f"none yet in {pipelines_folder()}: millrace init NAME FILES"
    )
