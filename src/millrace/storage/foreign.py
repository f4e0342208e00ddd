"""Delta tables that others write: opened at their newest version and listed, never written.

Such a table may lack what ours always have: statistics of its files, a partition by data interval, plain file names.
What Millrace can't read soundly (rows deleted by a vector, columns under other names in the files) is refused in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from millrace.errors import CorruptData, InputError
from millrace.intervals import ALL, UNKNOWN
from millrace.storage.files import SCHEME, filesystem
from millrace.storage.object_store import delta_options
from millrace.storage.parts import INTERVAL, Part
from millrace.storage.reading import arrow_schema
from millrace.storage.refusals import plain

READABLE = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "variantType", "deletionVectors"}
"""Reader features that change nothing for the rows that we read; deletion vectors, only while no file has one."""


@dataclass(frozen=True)
class ForeignTable:
    """A version of a table: its files, each with its interval (``all`` where there are none), and for each file the
    values of the partition columns, which the file itself doesn't hold."""

    uri: str
    version: int
    schema: pa.Schema
    parts: list[Part]
    values: dict[str, dict[str, str | None]]


def open_foreign(uri: str) -> ForeignTable:
    """The newest version of a Delta table by its folder, or ``s3://`` or ``hdfs://`` URI.

    Raises InputError where there is no table, and where it needs what Millrace doesn't read.
    """
    system, path, prefix = filesystem(uri)
    where = f"{prefix}{path}"
    options = delta_options(uri)
    try:
        if not DeltaTable.is_deltatable(where, options):
            raise TableNotFoundError
        handle = DeltaTable(where, storage_options=options)
    except TableNotFoundError:
        hint = "a table of this pipeline is sharded, clean or sample, one of another pipeline PIPELINE/sharded"
        raise InputError(
            "no Delta Lake table", expected="a folder that holds _delta_log", found=uri, hint=hint
        ) from None
    except (DeltaError, OSError) as error:
        raise InputError("can't open the Delta Lake table", found=uri, hint=plain(error)) from error
    _check_features(handle, uri)
    found = pa.RecordBatchReader.from_stream(handle.get_add_actions(flatten=True)).read_all().to_pylist()
    keys = handle.metadata().partition_columns
    parts, values = [], {}
    for row in found:
        file = _path(row["path"], uri)
        values[file] = {key: _text(row[f"partition.{key}"]) for key in keys}
        interval = (values[file][INTERVAL] or UNKNOWN) if INTERVAL in keys else ALL
        rows = row.get("num_records")
        if rows is None:
            rows = _counted(system, f"{path}/{file}", uri)
        parts.append(Part(path=file, rows=rows, size=row["size_bytes"], partition={INTERVAL: interval}, stats=""))
    ordered = sorted(parts, key=lambda part: part.order)
    return ForeignTable(where, int(handle.version()), arrow_schema(handle), ordered, values)


def _check_features(handle: DeltaTable, uri: str) -> None:
    needed = set(handle.protocol().reader_features or ())
    if handle.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        needed.add("columnMapping")
    unread = sorted(needed - READABLE)
    if unread:
        raise InputError(
            "the Delta Lake table needs what Millrace doesn't read",
            expected="plain Parquet files under the columns' own names",
            found=f"{', '.join(unread)} in {uri}",
            hint="score a copy of it that is written without them",
        )
    if "deletionVectors" in needed and _has_deletion_vectors(handle):
        raise InputError(
            "the Delta Lake table has deletion vectors, which Millrace doesn't read",
            expected="files whose rows all count",
            found=uri,
            hint="purge it (REORG TABLE … APPLY (PURGE)), or score a copy",
        )


def _has_deletion_vectors(handle: DeltaTable) -> bool:
    """Whether a file has one; where they can't be read, one has."""
    try:
        return any(batch.num_rows for batch in handle.deletion_vectors())
    except DeltaError:
        return True


def _path(path: str, uri: str) -> str:
    """The path below the table; the log's paths are URIs, percent-encoded."""
    if SCHEME.match(path) or path.startswith("/"):
        hint = "a shallow clone reads another table's files: score that table, or a deep clone"
        raise InputError("a file of the Delta Lake table lies outside it", found=f"{path} in {uri}", hint=hint)
    return unquote(path)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _counted(system: Any, path: str, uri: str) -> int:
    """The rows of a file whose number the log doesn't tell."""
    try:
        with system.open_input_file(path) as file:
            return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise CorruptData("a file of a table can't be read", found=f"{uri}: {plain(error)}") from error
