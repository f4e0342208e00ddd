"""Delta tables: commits flow in exactly once, rows of a named version flow out.

Every call opens the table anew, so that a `Table` is only a name and may be passed between processes.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import CommitProperties, Transaction, create_table_with_add_actions

from millrace.errors import CommitConflict, CorruptData, InputError
from millrace.storage import faults, reading
from millrace.storage.commits import Commit, CommitRecord, read_log, read_record
from millrace.storage.files import table_filesystem
from millrace.storage.ledger import Ledger
from millrace.storage.object_store import delta_options
from millrace.storage.parts import Part
from millrace.storage.probe import check_put_once
from millrace.storage.refusals import Patience, outage, plain, write_refused

if TYPE_CHECKING:
    import pyarrow.dataset as pads

T = TypeVar("T")
ATTEMPTS = 100
FOREVER = "interval 36500 days"
# The log is the memory of every stage (ledgers, learned limits, checksums): only `vacuum` forgets, and only files.
CONFIGURATION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": FOREVER,
    "delta.deletedFileRetentionDuration": FOREVER,
}


class Table:
    """A Delta table by its folder or URI; it needs not exist before its first commit.

    A `version` argument None means the newest; `intervals` None means all.
    """

    def __init__(self, uri: str) -> None:
        self.uri = str(uri).rstrip("/")
        self._system, self._root = table_filesystem(self.uri)

    def __repr__(self) -> str:
        return f"Table({self.uri!r})"

    def exists(self) -> bool:
        """Whether anything was ever committed."""
        return self._handle() is not None

    def version(self) -> int:
        """The newest version. Raises InputError where there is no table."""
        return int(self._open().version())

    def newest(self) -> int | None:
        """The newest version; None where nothing was ever committed."""
        handle = self._handle()
        return None if handle is None else int(handle.version())

    def schema(self, version: int | None = None) -> pa.Schema:
        """The schema, partition columns included."""
        return reading.arrow_schema(self._open(version))

    def commit(self, commit: Commit) -> int:
        """Add one version, once: a transaction that was committed before returns its version and changes nothing.

        The parts' files are added and the files of the replaced intervals removed in one atomic step, based on the
        newest version; where another writer came first, the step is based on its version anew. New columns may be
        added where they are nullable (a version of its own, just before).

        Raises LedgerError, WorkError (no room, no permission, a schema that doesn't fit), CorruptData (a part is gone),
        CommitConflict (others were always first); then nothing was committed.
        """
        commit.check(self.uri)
        patience = Patience(self.uri)
        for attempt in range(ATTEMPTS):
            handle = self._handle()
            if handle is not None and (done := self._version_of(handle, commit.transaction)) is not None:
                return done
            if attempt == 0:
                self._check_files(commit.files)
            if handle is not None:
                reading.check_schema(reading.arrow_schema(handle), commit.stored, self.uri)
                reading.check_partitions(handle.metadata().partition_columns, commit.partition_by, self.uri)
            faults.reach("before_commit")
            try:
                if handle is None:
                    version = self._create(commit.upon({}))
                else:
                    version = self._append(handle, commit.upon(self._details(int(handle.version()))))
            except (DeltaError, OSError, ValueError) as error:
                # Where only the answer was lost, the table has moved by this very commit: the next round finds it.
                if self._moved(handle):
                    time.sleep(random.uniform(0, 0.01 * min(attempt + 1, 20)))
                elif not patience.lasts(error):
                    raise write_refused(self.uri, error) from error
                continue
            faults.reach("after_commit")
            return version
        raise CommitConflict(f"{ATTEMPTS} times another writer committed first", found=self.uri, hint="run again")

    def committed(self, transaction: str) -> int | None:
        """The version that a transaction made, or the newest `known_as` that; None where there is none."""
        handle = self._handle()
        return None if handle is None else self._version_of(handle, transaction)

    def whole(self, version: int) -> bool:
        """Whether all files of a version are still there: a vacuum removes those of old versions."""
        infos = self._system.get_file_info([self._root + part.path for part in self.parts(version)])
        return all(info.size is not None for info in infos)

    def parts(self, version: int | None = None, intervals: Collection[str] | None = None) -> list[Part]:
        """The files of a version in reading order (interval, shard, name), without their checksums."""
        return self._parts(self._open(version), intervals)

    def intervals(self, version: int | None = None) -> dict[str, int]:
        """Rows of each data interval that has any, in order of interval."""
        rows: dict[str, int] = {}
        for part in self.parts(version):
            rows[part.interval or ""] = rows.get(part.interval or "", 0) + part.rows
        return rows

    def read(
        self,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        intervals: Collection[str] | None = None,
        verify: bool = False,
    ) -> pa.Table:
        """The rows of a version as one table, in reading order.

        `where` is an Arrow expression over any columns; files that can't hold a match are skipped. The values of each
        page are checked against its CRC; with `verify`, the whole of each file against its recorded checksum first.
        Raises CorruptData for damaged or missing files, InputError for an unknown table, version or column.
        """
        if verify:
            self.verify(version, intervals)
        if where is None:
            schema, parts = self._wanted(version, intervals)
            return reading.read_parts(_with_columns(schema, columns), self._system, self._root, parts)
        scanner = self._scanner(version, columns, where, intervals)
        with reading.Reads(self.uri):
            return scanner.to_table()

    def batches(
        self,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        intervals: Collection[str] | None = None,
        batch_rows: int = 131_072,
    ) -> Iterator[pa.RecordBatch]:
        """The same rows as `read`, a batch of at most `batch_rows` rows at a time."""
        scanner = self._scanner(version, columns, where, intervals, batch_rows)
        with reading.Reads(self.uri):
            for batch in scanner.to_batches():
                if batch.num_rows:
                    yield batch

    def record(self, version: int | None = None) -> CommitRecord:
        """What was recorded with a version; for one that only added columns, with the one before."""
        try:
            record = next(self.records(version), None)
        except CorruptData:
            self._open(version)  # raises InputError where there is no such version
            raise
        if record is None:
            raise InputError("no stage committed this version", found=f"version {version} of {self.uri}")
        return record

    def records(self, version: int | None = None) -> Iterator[CommitRecord]:
        """The records of the versions that stages committed, from `version` (the newest) back to the first."""
        for number in range(self.version() if version is None else version, -1, -1):
            record = self._record(number)
            if record is not None:
                yield record

    def details(self, version: int | None = None) -> dict[str, Any]:
        """What the stage learned and recorded: limits, bounds, verdicts."""
        return self.record(version).details

    def ledger(self, version: int | None = None) -> Ledger:
        """The ledger of the commit that made a version."""
        return self.record(version).ledger

    def history(self, limit: int | None = None) -> list[CommitRecord]:
        """The records of the newest `limit` versions that stages committed, newest first."""
        return list(itertools.islice(self.records(), limit))

    def versions(self) -> list[int]:
        """The versions that stages committed, oldest first. Those before a vacuum's retention may be unreadable."""
        return sorted(record.version for record in self.history())

    def verify(self, version: int | None = None, intervals: Collection[str] | None = None) -> int:
        """Read every byte of a version's files and compare with the checksums recorded at their commit.

        Returns the number of files. Raises CorruptData with the first file that is damaged or missing.
        """
        handle = self._open(version)
        wanted = {part.path for part in self._parts(handle, intervals)}
        count = len(wanted)
        for number in range(handle.version(), -1, -1):
            if not wanted:
                break
            record = self._record(number)
            for path, checksum in record.checksums.items() if record else ():
                if path in wanted:
                    reading.check_bytes(self._system, self._root + path, checksum)
                    wanted.discard(path)
        if wanted:
            raise CorruptData("no checksum was recorded for a file", found=min(wanted))
        return count

    def vacuum(
        self,
        retention: timedelta = timedelta(days=30),
        *,
        protect: Collection[str | int] = (),
        grace: timedelta | None = None,
        dry_run: bool = False,
        removed: Callable[[str], None] = lambda path: None,
    ) -> list[str]:
        """Remove the files that nobody needs any more; see `millrace.storage.vacuum.vacuum`."""
        from millrace.storage.vacuum import GRACE, vacuum

        grace = GRACE if grace is None else grace
        return vacuum(self, retention, protect=protect, grace=grace, dry_run=dry_run, removed=removed)

    def _handle(self) -> DeltaTable | None:
        def open_newest() -> DeltaTable | None:
            try:
                return DeltaTable(self.uri, storage_options=delta_options(self.uri))
            except TableNotFoundError:
                return None

        return self._ask_log(open_newest)

    def _version_of(self, handle: DeltaTable, transaction: str) -> int | None:
        version = self._ask_log(lambda: handle.transaction_version(transaction))
        return None if version is None else int(version)

    def _ask_log(self, question: Callable[[], T]) -> T:
        """What deltalake answers; it reads the log bit by bit, and gives up where an answer of the store is cut."""
        patience = Patience(self.uri)
        while True:
            try:
                return question()
            except (DeltaError, OSError) as error:
                if not patience.lasts(error):
                    damaged = CorruptData("the table's log can't be read", found=self.uri, hint=plain(error))
                    raise (outage(self.uri, error) or damaged) from error

    def _open(self, version: int | None = None) -> DeltaTable:
        handle = self._handle()
        if handle is None:
            raise InputError(
                "no such table", found=self.uri, hint="run the stage that makes it, or let this user read it"
            )
        if version is None or version == handle.version():
            return handle
        if not 0 <= version <= handle.version():
            raise InputError("no such version", expected=f"0 to {handle.version()}", found=f"{version} of {self.uri}")
        self._ask_log(lambda: handle.load_as_version(version))
        return handle

    def _parts(self, handle: DeltaTable, intervals: Collection[str] | None) -> list[Part]:
        """The files of a version, as its log's snapshot says. Raises CorruptData where a stage committed others."""
        parts = self._ask_log(lambda: reading.list_parts(handle))
        record = next(self.records(int(handle.version())), None)
        if record is None or not record.fits(parts, reading.arrow_schema(handle)):
            hint = "the log is damaged, or another program wrote to the table"
            found = f"others in version {handle.version()} of {self.uri}"
            raise CorruptData(
                "the table's log", expected="the files and columns that a stage committed", found=found, hint=hint
            )
        return parts if intervals is None else [part for part in parts if part.interval in intervals]

    def _wanted(self, version: int | None, intervals: Collection[str] | None) -> tuple[pa.Schema, list[Part]]:
        handle = self._open(version)
        return reading.arrow_schema(handle), self._parts(handle, intervals)

    def _create(self, commit: Commit) -> int:
        check_put_once(self.uri)
        create_table_with_add_actions(
            self.uri,
            Schema.from_arrow(commit.stored),
            commit.add_actions(),
            mode="error",
            partition_by=commit.partition_by,
            configuration=CONFIGURATION,
            storage_options=delta_options(self.uri),
            commit_properties=_properties(commit, 0, []),
        )
        return 0

    def _append(self, handle: DeltaTable, commit: Commit) -> int:
        """One try, based on exactly the version of the handle: without retries, a stale handle can't commit."""
        known = set(reading.arrow_schema(handle).names)
        added = [field for field in Schema.from_arrow(commit.stored).fields if field.name not in known]
        if added:
            handle.alter.add_columns(added, commit_properties=CommitProperties(max_commit_retries=0))
        version = int(handle.version()) + 1
        before = reading.list_parts(handle)
        handle.create_write_transaction(
            [*commit.add_actions(), *commit.remove_actions(before)],
            "append",
            Schema.from_arrow(commit.stored),
            commit.partition_by,
            commit_properties=_properties(commit, version, before),
        )
        return version

    def _moved(self, handle: DeltaTable | None) -> bool:
        """Whether the table has a version that the handle doesn't know: a failed commit then was only too late."""
        newest = self._handle()
        return newest is not None and (handle is None or newest.version() > handle.version())

    def _check_files(self, parts: Sequence[Part]) -> None:
        try:
            infos = self._system.get_file_info([self._root + part.path for part in parts])
        except OSError as error:
            raise write_refused(self.uri, error) from error
        for part, info in zip(parts, infos, strict=True):
            if info.size != part.size:
                raise CorruptData(
                    "a part is not as it was written",
                    expected=f"{part.size:,} bytes in {part.path}",
                    found="no file" if info.size is None else f"{info.size:,} bytes",
                    hint="run the stage again",
                )

    def _details(self, version: int) -> dict[str, Any]:
        record = next(self.records(version), None)
        return {} if record is None else record.details

    def _record(self, version: int) -> CommitRecord | None:
        return read_record(read_log(self._system, self._root, version), version)

    def _scanner(
        self,
        version: int | None,
        columns: Sequence[str] | None,
        where: pc.Expression | None,
        intervals: Collection[str] | None,
        batch_rows: int = 131_072,
    ) -> pads.Scanner:
        schema, parts = self._wanted(version, intervals)
        _with_columns(schema, columns)
        with reading.Reads(self.uri):
            dataset = reading.dataset(schema, self._system, self._root, parts)
        return reading.scanner(dataset, columns, where, batch_rows)


def _with_columns(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """The schema with these columns alone. Raises InputError for an unknown one."""
    missing = [name for name in columns or () if name not in schema.names]
    if missing:
        raise InputError("no such column", expected=f"one of {', '.join(schema.names)}", found=repr(missing[0]))
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _properties(commit: Commit, version: int, before: Sequence[Part]) -> CommitProperties:
    """The transaction carries the version that it makes, so that `committed` finds it in the snapshot alone."""
    names = [commit.transaction, *filter(None, [commit.known_as])]
    return CommitProperties(
        custom_metadata=commit.metadata(before),
        max_commit_retries=0,
        app_transactions=[Transaction(name, version) for name in names],
    )
