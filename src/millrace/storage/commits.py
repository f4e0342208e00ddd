"""What one stage adds to a table in one transaction, and the record of it in the table's log.

A `Commit` flows in, Delta actions and commit metadata flow out; a `CommitRecord` comes back from the log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
import xxhash
from deltalake.transaction import AddAction, RemoveAction
from pydantic import BaseModel, ConfigDict

from millrace.errors import CorruptData, RequestError, WorkError
from millrace.storage.ledger import Ledger
from millrace.storage.parts import INTERVAL, Part, stored_schema
from millrace.storage.refusals import outage

EVERYTHING: Literal["everything"] = "everything"
PARTITION_COLUMNS = (INTERVAL, "shard")
METADATA = "millrace"
CHECKSUM = "millrace_xxh64"
Replace = Collection[str] | Literal["everything"]


@dataclass(frozen=True)
class Commit:
    """One transaction on one table.

    `transaction` names it: the same name commits once, however often it is tried. `replace` names the data intervals
    whose earlier rows the parts take the place of (`EVERYTHING` for all of them; none: the parts are added); every
    part must then belong to one of them. `schema` is the whole table's, partition columns included. `ledger` must
    balance and count the parts' rows as rows out; without one, the parts' rows are in and out. `inputs` are the
    versions that were read (table or file → version or fingerprint), `details` what was learned (limits, bounds,
    verdicts): plain JSON. `tokens` (interval → token) are recorded as ``details["tokens"]`` in place of those of the
    replaced intervals; all other intervals keep theirs, those of a writer who was faster too. Under `known_as` (what
    was learned from, say) `Table.committed` finds the version too: the newest of that name.
    """

    parts: Collection[Part]
    schema: pa.Schema
    transaction: str
    replace: Replace = ()
    ledger: Ledger | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[str, str] | None = None
    known_as: str | None = None

    def upon(self, before: Mapping[str, Any]) -> Commit:
        """The same commit upon a version with the details `before`, its tokens among its details."""
        if self.tokens is None:
            return self
        replaced = before.get("tokens", {}) if self.replace == EVERYTHING else self.replace
        kept = {name: token for name, token in before.get("tokens", {}).items() if name not in replaced}
        return replace(self, details={**self.details, "tokens": kept | dict(self.tokens)}, tokens=None)

    @property
    def partition_by(self) -> list[str]:
        """The partition columns: those of ``data_interval`` and ``shard`` that the schema holds."""
        return [name for name in PARTITION_COLUMNS if name in self.schema.names]

    @property
    def stored(self) -> pa.Schema:
        """The schema as Delta stores it."""
        return stored_schema(self.schema)

    @property
    def files(self) -> list[Part]:
        """The parts that have rows, in reading order."""
        return sorted((part for part in self.parts if part.rows), key=lambda part: part.order)

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    def full_ledger(self) -> Ledger:
        """The ledger given, else all rows in and out."""
        return self.ledger or Ledger(rows_in=self.rows, rows_out=self.rows)

    def check(self, where: str) -> None:
        """Raise LedgerError, RequestError or WorkError where this can't be right, whatever the table holds."""
        ledger = self.full_ledger()
        ledger.check(where)
        if ledger.rows_out != self.rows:
            Ledger(rows_in=ledger.rows_out, rows_out=self.rows).check(f"{where} (rows out against rows in its parts)")
        if not self.transaction:
            raise RequestError("a commit needs a transaction name")
        if isinstance(self.replace, str) and self.replace != EVERYTHING:
            raise RequestError("bad replace", expected="a list of intervals or EVERYTHING", found=repr(self.replace))
        paths = [part.path for part in self.parts]
        if len(set(paths)) != len(paths):
            twice = next(path for path in paths if paths.count(path) > 1)
            raise WorkError("a part is named twice in one commit", found=twice)
        for part in self.parts:
            self._check_part(part)

    def _check_part(self, part: Part) -> None:
        if sorted(part.partition) != sorted(self.partition_by):
            raise WorkError(
                "a part has other partition columns than the schema",
                expected=str(self.partition_by),
                found=f"{sorted(part.partition)} in {part.path}",
            )
        if self.replace and self.replace != EVERYTHING and part.interval not in self.replace:
            raise WorkError(
                "a part lies outside the intervals that the commit replaces",
                expected=str(sorted(self.replace)),
                found=f"{part.interval} in {part.path}",
            )
        extra = set(json.loads(part.stats)["nullCount"]) - set(self.schema.names)
        if extra:
            raise WorkError(
                "a part has other columns than the schema", expected=str(self.schema.names), found=str(sorted(extra))
            )

    def live_after(self, before: Iterable[Part]) -> list[Part]:
        """The files of the version that this commit makes of a version with the files `before`."""
        return [part for part in before if not self._replaces(part)] + self.files

    def _replaces(self, part: Part) -> bool:
        return self.replace == EVERYTHING or part.interval in self.replace

    def metadata(self, before: Iterable[Part]) -> dict[str, Any]:
        """The commit metadata upon a version with the files `before`, and its checksum.

        One JSON text, since Delta's own JSON knows neither infinity nor our order of keys.
        """
        record = {
            "transaction": self.transaction,
            "ledger": self.full_ledger().model_dump(),
            "replaced": self.replace if self.replace == EVERYTHING else sorted(self.replace),
            "inputs": dict(self.inputs),
            "checksums": {part.path: part.checksum for part in self.files},
            "live": digest_of(self.live_after(before)),
            "columns": {field.name: str(field.type) for field in self.stored},
            "details": dict(self.details),
        }
        text = json.dumps(record, ensure_ascii=False)
        return {METADATA: text, CHECKSUM: xxhash.xxh64_hexdigest(text.encode())}

    def add_actions(self) -> list[AddAction]:
        """One Delta action per file."""
        moment = int(time.time() * 1000)
        return [AddAction(part.path, part.size, dict(part.partition), moment, True, part.stats) for part in self.files]

    def remove_actions(self, files: Iterable[Part]) -> list[RemoveAction]:
        """One Delta action per file of the table whose interval is replaced; all other files stay untouched."""
        moment = int(time.time() * 1000)
        return [
            RemoveAction(part.path, True, moment, part.size, dict(part.partition))
            for part in files
            if self._replaces(part)
        ]


class CommitRecord(BaseModel):
    """What the log of a table says about one of its versions.

    `checksums`: path of each file it added → xxh64, hex. `live`: `digest_of` all its files. `columns`: name → type.
    """

    model_config = ConfigDict(frozen=True)

    version: int
    timestamp: datetime
    transaction: str
    ledger: Ledger
    replaced: list[str] | Literal["everything"]
    inputs: dict[str, Any]
    checksums: dict[str, str]
    live: str
    columns: dict[str, str]
    details: dict[str, Any]

    def fits(self, parts: Iterable[Part], schema: pa.Schema) -> bool:
        """Whether these are the files and columns of the version; a step that only adds columns has no record."""
        found = {field.name: str(field.type) for field in schema}
        return digest_of(parts) == self.live and self.columns.items() <= found.items()


def digest_of(parts: Iterable[Part]) -> str:
    """A checksum (xxh64, hex) of the files of a version: path, bytes, rows and partition of each, in any order."""
    lines = sorted(json.dumps([part.path, part.size, part.rows, sorted(part.partition.items())]) for part in parts)
    return xxhash.xxh64_hexdigest("\n".join(lines).encode())


def read_log(system: pafs.FileSystem, root: str, version: int) -> list[dict[str, Any]]:
    """The actions of one version. Raises CorruptData where its log file is gone or can't be read."""
    path = f"{root}_delta_log/{version:020d}.json"
    try:
        with system.open_input_stream(path, compression=None) as stream:
            return [json.loads(line) for line in stream.read().decode().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        if away := outage(path, error):
            raise away from error
        raise CorruptData("a file of the table's log is gone or damaged", found=path, hint=str(error)) from error


def read_time(info: Mapping[str, Any]) -> datetime:
    """When a version was committed (UTC), by the clock of its driver."""
    return datetime.fromtimestamp(info["timestamp"] / 1000, UTC)


def read_record(actions: Iterable[Mapping[str, Any]], version: int) -> CommitRecord | None:
    """The record in one version's actions; None where a version only changed the schema.

    Raises CorruptData where it isn't as it was committed.
    """
    for action in actions:
        info = action.get("commitInfo", {})
        if CHECKSUM in info and xxhash.xxh64_hexdigest(info.get(METADATA, "").encode()) != info[CHECKSUM]:
            raise CorruptData("the record of a commit has changed since it was written", found=f"version {version}")
        if METADATA in info:
            try:
                return CommitRecord(version=version, timestamp=read_time(info), **json.loads(info[METADATA]))
            except (KeyError, ValueError) as error:
                raise CorruptData("the record of a commit is damaged", found=f"version {version}") from error
    return None
