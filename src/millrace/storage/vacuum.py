"""Vacuum: what no kept version and no running attempt needs is removed; nothing else is."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.fs as pafs

from millrace.storage.commits import read_log, read_time
from millrace.storage.refusals import write_refused

if TYPE_CHECKING:
    from millrace.storage.tables import Table

INDEX = "_index/"


def vacuum(
    table: Table,
    retention: timedelta,
    *,
    protect: Collection[str | int] = (),
    grace: timedelta = timedelta(days=1),
    dry_run: bool = False,
) -> list[str]:
    """Remove unneeded files of a table. Returns their paths below the table, sorted; `dry_run` only names them.

    Kept are the files of every version that was the newest at some moment of the last `retention`, of every version
    in `protect` (readers that hold one), files whose path is in `protect` (parts that wait for their commit), and any
    file younger than `grace` that isn't committed (an attempt may still be running). Hidden files and the log stay.
    """
    now = datetime.now(UTC)
    # Files first, log second: a part that is committed in between is seen as needed.
    files = _data_files(table._system, table._root)
    kept, ever = _read_history(table, now - retention)
    kept.update(item for item in protect if isinstance(item, int))
    needed = {item for item in protect if isinstance(item, str)}
    for version in kept:
        needed.update(part.path for part in table.parts(version))
    gone = sorted(
        path
        for path, changed in files.items()
        if (part := _part_of(path)) not in needed and (part in ever or changed < now - grace)
    )
    if not dry_run:
        for path in gone:
            try:
                with contextlib.suppress(FileNotFoundError):  # another vacuum was faster
                    table._system.delete_file(table._root + path)
            except OSError as error:
                raise write_refused(f"{table.uri}/{path}", error) from error
    return gone


def _data_files(system: pafs.FileSystem, root: str) -> dict[str, datetime]:
    """Every file below the table but hidden ones, with the time of its last change."""
    found: dict[str, datetime] = {}
    for info in system.get_file_info(pafs.FileSelector(root, recursive=True)):
        path = info.path[len(root) :] if info.path.startswith(root) else info.path
        hidden = any(name.startswith(("_", ".")) for name in _part_of(path).split("/"))
        if info.type == pafs.FileType.File and not hidden:
            found[path] = info.mtime
    return found


def _part_of(path: str) -> str:
    """The part that a file is, or that it is the lookup index of: they live and go together."""
    return path.removeprefix(INDEX).removesuffix(".arrow") if path.startswith(INDEX) else path


def _read_history(table: Table, cutoff: datetime) -> tuple[set[int], set[str]]:
    """The versions that were the newest at some moment since `cutoff`, and every path that ever was committed."""
    newest = table.version()
    kept = {newest}
    paths: set[str] = set()
    for version in range(newest, -1, -1):
        actions = read_log(table._system, table._root, version)
        paths.update(action["add"]["path"] for action in actions if "add" in action)
        moment = read_time(actions)
        # A version stays the newest until the next one comes.
        if version > 0 and version in kept and (moment is None or moment > cutoff):
            kept.add(version - 1)
    return kept, paths
