"""Upkeep: old versions' files go, and what attempts that died left behind; what is read or being written stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from millrace.errors import RequestError
from millrace.profiles import Profile
from millrace.runner_names import CLUSTERS
from millrace.spec import parse_duration
from millrace.stages.context import Run
from millrace.storage.refusals import write_refused
from millrace.storage.uploads import Upload, abort_upload, unfinished_uploads
from millrace.storage.vacuum import GRACE, last_changes, store_now

TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")
PACKS_KEPT = timedelta(days=30)
"""An environment that no job has used for this long goes; one that is needed again is made again."""


def vacuum_tables(run: Run, retention: str, dry_run: bool) -> dict[str, list[str]]:
    """Remove the files that no version younger than `retention` needs; table → files removed (or that would be)."""
    try:
        age = parse_duration(retention)
    except ValueError as error:
        raise RequestError("wrong retention", hint=str(error)) from None
    found = {}
    for name in TABLES:
        table = run.table(name)
        if table.exists():
            run.say(f"vacuum: {name}")
            found[name] = table.vacuum(age, dry_run=dry_run, removed=run.say)
    return found


def vacuum_leftovers(run: Run, dry_run: bool, grace: timedelta = GRACE) -> list[str]:
    """Remove the folders of jobs that ended without cleaning up, old worker environments, and uploads to S3 that were
    never finished; their paths or URIs.

    A folder is left over when nothing in it has changed for `grace`, longer than any attempt runs, an upload when it
    was begun before that. Uploads are those below the pipeline's own folder, and those of models, reports and jobs;
    all else belongs to all pipelines of the profile.
    """
    run.say("vacuum: what dead jobs left")
    found = [*_in_work_folder(run.profile, grace), *_on_this_machine(run.profile.home, grace)]
    uploads = list(_never_finished(run, grace))
    if not dry_run:
        for uri in found:
            run.say(f"removing {uri}")
            _remove(uri)
        for upload in uploads:
            run.say(f"giving up {upload}")
            abort_upload(upload)
    return [*found, *map(str, uploads)]


def _never_finished(run: Run, grace: timedelta) -> Iterator[Upload]:
    """Uploads that were begun long ago, in the folders on S3 that are ours: a bucket may hold those of others."""
    profile = run.profile
    if not profile.root.startswith("s3"):
        return
    from millrace.mapreduce.cluster import work_folder

    folders = (profile.table_uri(run.pipeline.name, ""), profile.models, profile.reports, work_folder(profile))
    before = store_now(profile.root) - grace
    for folder in sorted({folder.rstrip("/") for folder in folders if folder.startswith("s3")}):
        yield from unfinished_uploads(folder, before)


def _in_work_folder(profile: Profile, grace: timedelta) -> Iterator[str]:
    if profile.runner not in CLUSTERS:
        return
    from millrace.mapreduce.cluster import work_folder
    from millrace.mapreduce.pack import FOLDER, USED

    work = work_folder(profile)
    changes = last_changes(work)
    if not changes:
        return
    now = store_now(work)
    yield from _older(work, {name: changes[name] for name in changes if name != FOLDER}, now - grace)
    packs = last_changes(f"{work}/{FOLDER}")
    used = {name: max(packs[name], packs.get(name.removesuffix(USED) + USED, packs[name])) for name in packs}
    yield from _older(f"{work}/{FOLDER}", used, now - PACKS_KEPT)


def _on_this_machine(home: Path, grace: timedelta) -> Iterator[str]:
    """Of this user: shuffle files, and what tasks that were killed left in the folder for temporary files."""
    shuffles = home / "shuffle"
    if shuffles.is_dir():
        yield from _older(str(shuffles), last_changes(str(shuffles)), store_now(str(shuffles)) - grace)
    for path in sorted(Path(tempfile.gettempdir()).glob("millrace-*")):
        try:
            mine = path.stat().st_uid == os.getuid()
            newest = max((each.lstat().st_mtime for each in (path, *path.rglob("*"))), default=0.0)
        except OSError:  # it goes away at this moment, or isn't ours to read
            continue
        if mine and path.is_dir() and datetime.fromtimestamp(newest, UTC) <= datetime.now(UTC) - grace:
            yield str(path)


def _older(folder: str, changes: dict[str, datetime], moment: datetime) -> Iterable[str]:
    return [f"{folder}/{name}" for name in sorted(changes) if changes[name] <= moment]


def _remove(uri: str) -> None:
    from millrace.mapreduce.store_fs import remove

    try:
        if "://" in uri:
            remove(uri)
        elif Path(uri).is_dir():
            shutil.rmtree(uri)
        else:
            Path(uri).unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise write_refused(uri, error) from error
