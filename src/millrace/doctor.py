"""`millrace doctor`: is everything there that a profile needs? Each finding says what was looked at and what to do."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel

from millrace.data import native
from millrace.errors import MillraceError, ServiceError
from millrace.mapreduce import probe as probe_runner
from millrace.mapreduce.cluster import needs_pack
from millrace.pipeline_file import load
from millrace.profiles import Profile, load_profile, pipelines_folder
from millrace.storage import probe
from millrace.storage.refusals import plain

NEEDED = ("apache-airflow", "mrjob", "deltalake", "great-expectations", "mlflow", "scikit-learn", "pyarrow", "polars")
SECONDS = 60  # that a check may take
ROOM = 2 << 30  # bytes that a small pipeline's tables and Airflow's logs need


class Finding(BaseModel):
    """One thing that was looked at."""

    name: str
    ok: bool
    words: str


def examine(profile_name: str | None) -> list[Finding]:
    """Look at everything that the profile needs; a check that raises, or isn't done in time, is a finding too.

    What needs a store that failed isn't looked at.
    """
    profile = load_profile(profile_name)
    found = [
        _look(name, check, profile)
        for name, check in {
            "python": _python,
            "packages": _packages,
            "kernels": _kernels,
            "home folder": _home,
            "room": _room,
        }.items()
    ]
    store = list(_store(profile))
    found += store
    needing = {"tables": _tables, "model registry": _registry, "worker environment": probe_runner.packed}
    if not needs_pack(profile):
        del needing["worker environment"]
    if all(finding.ok for finding in store):
        found += [_look(name, check, profile) for name, check in needing.items()]
    else:
        found += [Finding(name=name, ok=False, words="not looked at: the store comes first") for name in needing]
    others = {**probe_runner.checks(profile.runner), "airflow": _airflow, "pipeline files": _pipelines}
    return found + [_look(name, check, profile) for name, check in others.items()]


def _look(name: str, check: Callable[[Profile], str], profile: Profile) -> Finding:
    """What a check says within its time; one that hangs is left behind."""
    found: list[Finding] = []

    def ask() -> None:
        try:
            found.append(Finding(name=name, ok=True, words=check(profile)))
        except Exception as error:  # whatever it is, the other checks are of use
            known = isinstance(error, MillraceError | OSError | PackageNotFoundError)
            found.append(
                Finding(name=name, ok=False, words=str(error) if known else f"{type(error).__name__}: {error}")
            )

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return found[0] if found else Finding(name=name, ok=False, words=f"no answer in {SECONDS} s")


def _store(profile: Profile) -> Iterator[Finding]:
    """Look at the store, step by step, until one fails."""
    for uri in dict.fromkeys(filter(None, (profile.root, profile.work))):
        for name, check in _probes(uri).items():
            finding = _look(name, check, profile)
            yield finding
            if not finding.ok:
                return


def _probes(uri: str) -> dict[str, Callable[[Profile], str]]:
    scheme = uri.partition("://")[0]
    files = {"store: files": lambda _: probe.keep(uri)}
    if scheme == "hdfs":
        return {"HDFS": lambda _: probe.reach_hdfs(uri), **files, "store: commits": lambda _: _stale_commit(uri)}
    if scheme in ("s3", "s3a", "s3n"):
        return {
            "S3: keys": lambda _: probe.credentials(),
            "S3: bucket": lambda _: probe.reach_s3(uri),
            "S3: conditional put": lambda _: probe.put_once(uri),
            **files,
            "store: commits": lambda _: _stale_commit(uri),
        }
    return {**files, "store: commits": lambda _: _stale_commit(uri)}


def _stale_commit(uri: str) -> str:
    """Let two writers commit the same version of a table, as deltalake does it: one must be refused."""
    from deltalake import DeltaTable, Schema
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import CommitProperties

    from millrace.mapreduce.store_fs import remove
    from millrace.storage.object_store import delta_options

    folder = f"{uri}/_probe-{uuid.uuid4().hex}"
    schema = Schema.from_arrow(pa.schema([("value", pa.int64())]))
    once = CommitProperties(max_commit_retries=0)
    try:
        DeltaTable.create(folder, schema, storage_options=delta_options(folder))
        first, second = (DeltaTable(folder, storage_options=delta_options(folder)) for _ in range(2))
        first.create_write_transaction([], "append", schema, commit_properties=once)
        try:
            second.create_write_transaction([], "append", schema, commit_properties=once)
        except DeltaError:
            return "of two writers of one version the second is refused"
    except DeltaError as error:
        raise ServiceError("no table can be made", found=f"{uri}: {plain(error)}"[:400]) from error
    finally:
        remove(folder)
    raise ServiceError(
        "two writers overwrite each other's commits on this store",
        expected="the second commit of a version to be refused",
        found=f"both were accepted at {uri}",
        hint=probe.LOCK,
    )


def _python(profile: Profile) -> str:
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        raise MillraceError("Python", expected="3.11 or 3.12", found=sys.version.split()[0])
    return f"{sys.version.split()[0]}, {os.cpu_count()} cores"


def _packages(profile: Profile) -> str:
    return ", ".join(f"{name} {version(name)}" for name in NEEDED)


def _kernels(profile: Profile) -> str:
    if native.available():
        return "in C"
    return "in Python, which is slower: for those in C, install Millrace again where there is a C compiler"


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
    from millrace.mapreduce.store_fs import remove
    from millrace.storage.commits import Commit
    from millrace.storage.parts import PartWriter
    from millrace.storage.tables import Table

    rows = pa.table({"data_interval": ["all"], "value": [1]})
    table = Table(f"{profile.root}/_probe-{uuid.uuid4().hex}")
    try:
        with PartWriter(table.uri, {"data_interval": "all"}, rows.schema) as writer:
            writer.write(rows)
            part = writer.close()
        table.commit(Commit(parts=[part], schema=rows.schema, transaction="doctor"))
        if table.read(verify=True).num_rows != 1:
            raise MillraceError("a row that was committed wasn't read back", found=table.uri)
    finally:
        remove(table.uri)
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
