"""Reading a version: its schema, its files in a fixed order, and its rows with every footer and page checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import xxhash
from deltalake import DeltaTable

from millrace.buffers import repeated
from millrace.errors import CorruptData, WorkError
from millrace.storage.parts import Part
from millrace.storage.refusals import outage, plain
from millrace.storage.seal import check_seal

if TYPE_CHECKING:
    import pyarrow.dataset as pads  # imports pandas: below, only where rows are read

BLOCK = 4 * 1024 * 1024
AT_ONCE = 16  # footers looked at, at a time


def arrow_schema(handle: DeltaTable) -> pa.Schema:
    """The table's schema as Arrow."""
    return pa.schema(handle.schema().to_arrow())


def list_parts(handle: DeltaTable) -> list[Part]:
    """The files of a version in reading order; of their statistics the log's snapshot gives only the number of rows."""
    actions = pa.RecordBatchReader.from_stream(
        handle.get_add_actions(flatten=True)
    ).read_all()  # no pandas, as pa.table
    keys = {name: f"partition.{name}" for name in handle.metadata().partition_columns}
    kept = actions.select(["path", "size_bytes", "num_records", *keys.values()])
    with Reads(handle.table_uri):  # a damaged log may lack the number of rows
        parts = [
            Part(
                path=row["path"],
                rows=row["num_records"],
                size=row["size_bytes"],
                partition={name: str(row[key]) for name, key in keys.items()},
                stats=json.dumps({"numRecords": row["num_records"]}),
            )
            for row in kept.to_pylist()
        ]
    return sorted(parts, key=lambda part: part.order)


def read_parts(schema: pa.Schema, system: pafs.FileSystem, root: str, parts: Sequence[Part]) -> pa.Table:
    """The rows of these files of a version in reading order, with the columns of `schema`; each page's CRC is checked.

    Columns that came to the table after a file was written are null there. `dataset` reads the same, but its import
    takes as long as reading a small table: it imports pandas.
    """

    def read(part: Part) -> pa.Table:
        with Reads(part.path), system.open_input_file(root + part.path) as file:
            footer = pq.read_metadata(pa.BufferReader(check_seal(file, part.path)))
            opened = pq.ParquetFile(file, metadata=footer, page_checksum_verification=True, pre_buffer=True)
            names = opened.schema_arrow.names
            rows = opened.read([name for name in schema.names if name in names and name not in part.partition])
            count = footer.num_rows
            if rows.column_names and rows.num_rows != count:
                raise ValueError(f"{count - rows.num_rows:,} rows are missing")
        columns = []
        for field in schema:
            if field.name in part.partition:
                columns.append(repeated(part.partition[field.name], count).cast(field.type))
            elif field.name in rows.column_names:
                columns.append(rows.column(field.name).cast(field.type))
            else:
                columns.append(pa.nulls(count, field.type))
        return pa.Table.from_arrays(columns, schema=schema)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return pa.concat_tables([pa.Table.from_batches([], schema), *pool.map(read, parts)])


def dataset(schema: pa.Schema, system: pafs.FileSystem, root: str, parts: Sequence[Part]) -> pads.FileSystemDataset:
    """These files of a version as a dataset, in their order, so that equal tables read as equal rows.

    Files are left out by their partition and the bounds in their sealed footers, not by those in the log.
    """
    import pyarrow.dataset as pads

    table = pafs.SubTreeFileSystem(root, system) if root else system
    check_seals(table, [part.path for part in parts])
    kind = pads.ParquetFileFormat()

    def fragment(part: Part) -> pads.ParquetFileFragment:
        where = pc.scalar(True)
        for name, value in part.partition.items():
            where &= pc.field(name) == pa.scalar(value).cast(schema.field(name).type)
        return kind.make_fragment(part.path, table, where)

    return pads.FileSystemDataset([fragment(part) for part in parts], schema, kind, table)


def check_seals(table: pafs.FileSystem, paths: Sequence[str]) -> None:
    """Raise CorruptData where the footer of one of these files isn't as it was written, or a file is gone."""

    def check(path: str) -> None:
        with Reads(path), table.open_input_file(path) as file:
            check_seal(file, path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(check, paths))


def scanner(
    source: pads.FileSystemDataset, columns: Sequence[str] | None, where: pc.Expression | None, batch_rows: int
) -> pads.Scanner:
    """A scan that checks the CRC of each page it reads."""
    import pyarrow.dataset as pads

    options = pads.ParquetFragmentScanOptions(page_checksum_verification=True, pre_buffer=True)
    return source.scanner(
        columns=None if columns is None else list(columns),
        filter=where,
        batch_size=batch_rows,
        fragment_scan_options=options,
    )


class Reads:
    """Turns failures of reading committed files into CorruptData that names the table; ServiceError in an outage."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FileNotFoundError):
            raise CorruptData(
                "a file of this version is gone",
                found=f"{self.uri}: {plain(error)}",
                hint="a vacuum removes what is past its retention: read a newer version",
            ) from error
        if isinstance(error, OSError) and (away := outage(self.uri, error)):
            raise away from error
        if isinstance(error, OSError | ValueError):  # a page's header that says nonsense is a plain ValueError
            raise CorruptData("a file of the table is damaged", found=f"{self.uri}: {plain(error)}") from error


def check_bytes(system: pafs.FileSystem, path: str, checksum: str) -> None:
    """Compare the bytes of a file with its checksum (xxh64, hex). Raises CorruptData."""
    digest = xxhash.xxh64()
    with Reads(path), system.open_input_file(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != checksum:
        raise CorruptData(
            "a file has changed since it was written", expected=checksum, found=digest.hexdigest(), hint=path
        )


def check_schema(table: pa.Schema, commit: pa.Schema, where: str) -> None:
    """Raise WorkError unless the commit has the table's columns in their types, and else only nullable columns."""
    for field in table:
        index = commit.get_field_index(field.name)
        if index < 0:
            raise _misfit(where, f"column {field.name!r} ({field.type})", "no such column")
        if commit.field(index).type != field.type:
            raise _misfit(where, f"column {field.name!r} as {field.type}", str(commit.field(index).type))
    for field in commit:
        if field.name not in table.names and not field.nullable:
            raise _misfit(where, f"a nullable column {field.name!r}, as earlier rows have none", "not nullable")


def check_partitions(table: Sequence[str], commit: Sequence[str], where: str) -> None:
    """Raise WorkError unless the partition columns are the same."""
    if list(table) != list(commit):
        raise _misfit(where, f"partitions by {list(table)}", str(list(commit)))


def _misfit(where: str, expected: str, found: Any) -> WorkError:
    hint = "a table keeps its columns: give the pipeline a new name, or remove this table and run all intervals again"
    return WorkError(f"the rows don't fit the table {where}", expected=expected, found=found, hint=hint)
