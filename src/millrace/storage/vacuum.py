"""Vacuum: what no kept version and no running attempt needs is removed; nothing else is.

All times are the store's own: when it says a file was changed, and when it says a probe, written now, was. The clocks
of drivers, workers and this machine may be wrong by any amount, and so may be the times that drivers wrote into a log.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from millrace.storage.commits import read_log
from millrace.storage.files import filesystem, open_output
from millrace.storage.refusals import write_refused

if TYPE_CHECKING:
    from millrace.storage.tables import Table

GRACE = timedelta(days=3)
"""An attempt may run for a day, wait for a cluster for another, and the store's clock may be set right by a third."""

NEVER = datetime.max.replace(tzinfo=UTC)
INDEX = "_index/"
DRAFT = re.compile(r"(^|/)(\.[^/]*\.tmp(\.\d+)?|_commit_[^/]*\.tmp)$")
"""What a writer that was killed leaves: HDFS's and our own files before they get their name, deltalake's of commits."""


def vacuum(
    table: Table,
    retention: timedelta,
    *,
    protect: Collection[str | int] = (),
    grace: timedelta = GRACE,
    dry_run: bool = False,
    removed: Callable[[str], None] = lambda path: None,
) -> list[str]:
    """Remove unneeded files of a table. Returns their paths below the table, sorted; `dry_run` only names them.

    Kept are the files of every version that was the newest at some moment of the last `retention`, of every version
    in `protect` (readers that hold one), files whose path is in `protect` (parts that wait for their commit), and any
    file younger than `grace` that isn't committed (an attempt may still be running). Hidden files and the log stay,
    but for drafts (half-written files that never got their name) older than `grace`. `removed` hears of each file.
    """
    now = store_now(table.uri)  # first: what is written from here on is younger
    # Files first, log second: a part that is committed in between is seen as needed.
    files = _files(table._system, table._root)
    kept, ever = _read_history(table, now - retention, files)
    kept.update(item for item in protect if isinstance(item, int))
    needed = {item for item in protect if isinstance(item, str)}
    for version in kept:
        needed.update(part.path for part in table.parts(version))
    old = now - grace
    gone = sorted(
        path
        for path, changed in files.items()
        if (DRAFT.search(path) and changed <= old)
        or (not _hidden(path) and (part := _part_of(path)) not in needed and (part in ever or changed <= old))
    )
    if not dry_run:
        for path in gone:
            try:
                with contextlib.suppress(FileNotFoundError):  # another vacuum was faster
                    table._system.delete_file(table._root + path)
            except OSError as error:
                raise write_refused(f"{table.uri}/{path}", error) from error
            removed(path)
    return gone


def store_now(folder: str) -> datetime:
    """What time it is by the clock of the store that holds a folder (UTC)."""
    system, path, _ = filesystem(folder)
    probe = f"{path}/_clock-{uuid.uuid4().hex}"
    try:
        with open_output(system, probe) as file:
            file.write(b"now")
        try:
            moment: datetime = system.get_file_info(probe).mtime
        finally:
            system.delete_file(probe)
    except OSError as error:
        raise write_refused(folder, error) from error
    return moment


def last_changes(folder: str) -> dict[str, datetime]:
    """The name of everything in a folder, with the time of the last change in it at any depth; empty without a folder.

    A folder without a file counts by its own time.
    """
    system, path, _ = filesystem(folder)
    found: dict[str, datetime] = {}
    for info in system.get_file_info(pafs.FileSelector(path, allow_not_found=True, recursive=True)):
        name = info.path.removeprefix(f"{path}/").partition("/")[0]
        if info.mtime is not None:
            found[name] = max(info.mtime, found.get(name, info.mtime))
    return found


def _files(system: pafs.FileSystem, root: str) -> dict[str, datetime]:
    """Every file below the table, with the time of its last change."""
    infos = system.get_file_info(pafs.FileSelector(root, recursive=True))
    return {info.path.removeprefix(root): info.mtime for info in infos if info.type == pafs.FileType.File}


def _hidden(path: str) -> bool:
    return any(name.startswith(("_", ".")) for name in _part_of(path).split("/"))


def _part_of(path: str) -> str:
    """The part that a file is, or that it is the lookup index of: they live and go together."""
    return path.removeprefix(INDEX).removesuffix(".arrow") if path.startswith(INDEX) else path


def _read_history(table: Table, cutoff: datetime, files: dict[str, datetime]) -> tuple[set[int], set[str]]:
    """The versions that were the newest at some moment since `cutoff`, and every path that ever was committed.

    A version came when the store says that its log file did, and never before the version that it follows.
    """
    newest = table.version()
    paths: set[str] = set()
    came: list[datetime] = []
    for version in range(newest + 1):
        actions = read_log(table._system, table._root, version)
        paths.update(action["add"]["path"] for action in actions if "add" in action)
        moment = files.get(f"_delta_log/{version:020d}.json", NEVER)  # one that isn't listed was committed since
        came.append(max([moment, *came[-1:]]))
    # A version stays the newest until the next one comes.
    kept = {version for version in range(newest) if came[version + 1] > cutoff}
    return kept | {newest}, paths
