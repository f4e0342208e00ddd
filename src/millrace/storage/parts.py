"""Parts: Parquet files that workers write below a table and only the driver commits.

Record batches flow in, a `Part` flows out: where the file is, how many rows it has, Delta's statistics of its columns
and the checksum of its bytes. No reader sees a part before it is committed; a part that never is, vacuum removes.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Mapping
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from pydantic import BaseModel, ConfigDict

from millrace.errors import WorkError
from millrace.storage import faults
from millrace.storage.files import open_output, table_filesystem
from millrace.storage.part_stats import PartStats
from millrace.storage.refusals import write_refused
from millrace.storage.seal import sealed

INTERVAL = "data_interval"
ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 * 1024 * 1024
PAGE_ROWS = 20_000  # what Arrow writes as a page at most: encoded at once, it takes a tenth less time than by 1,024
SAMPLED_ROWS = 8192  # the first rows, by which a column's encoding is chosen
DELTAS = "DELTA_BINARY_PACKED"

TYPES: dict[pa.DataType, pa.DataType] = {
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.null(): pa.string(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.int64(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
}


class Part(BaseModel):
    """One written file: its path below the table, its partition values, and the checksum (xxh64, hex) of its bytes.

    A part without rows has no file; a commit leaves it out. `stats` is Delta's JSON: numRecords, minValues, maxValues
    and nullCount.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    rows: int
    size: int
    partition: dict[str, str]
    stats: str
    checksum: str | None = None

    @property
    def interval(self) -> str | None:
        """The data interval of its rows, where the table is partitioned by it."""
        return self.partition.get(INTERVAL)

    @property
    def order(self) -> tuple[str, int, str]:
        """Parts of a table are read in this order: by interval, shard number, name."""
        shard = self.partition.get("shard", "")
        return self.interval or "", int(shard) if shard.isdigit() else -1, self.path


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type under which Delta stores a column of this Arrow type; times are microseconds.

    >>> stored_type(pa.dictionary(pa.int32(), pa.large_string())), stored_type(pa.timestamp("ns"))
    (DataType(string), TimestampType(timestamp[us]))
    """
    if pa.types.is_dictionary(kind):
        return stored_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(stored_type(kind.value_type))
    return TYPES.get(kind, kind)


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema as Delta stores it, without metadata."""
    return pa.schema([pa.field(field.name, stored_type(field.type), field.nullable) for field in schema])


class PartWriter:
    """Writes record batches to one new Parquet file of a table.

    The file lies below ``data_interval=…/(shard=…/)`` as `partition` says, under `name` and a suffix of its own, so
    that attempts of one task never meet. `schema` is the table's; its partition columns aren't written into the file.
    Reading order inside a partition follows `name`: give each task's parts names that sort. Every page carries a CRC,
    the footer a seal.

        with PartWriter(uri, {"data_interval": "2026-01-05"}, schema, "00007") as writer:
            for batch in batches:
                writer.write(batch)
            part = writer.close()

    Leaving the block without `close` removes the file. Raises WorkError where there is no room or no permission.
    """

    def __init__(
        self,
        table_uri: str,
        partition: Mapping[str, str],
        schema: pa.Schema,
        name: str = "part",
    ) -> None:
        self.partition = {column: str(value) for column, value in partition.items()}
        self.schema = stored_schema(pa.schema([field for field in schema if field.name not in partition]))
        folders = [f"{_safe(column)}={_safe(value)}" for column, value in self.partition.items()]
        self.path = "/".join([*folders, f"{_safe(name)}-{uuid.uuid4().hex[:16]}.parquet"])
        self.where = f"{table_uri.rstrip('/')}/{self.path}"
        self._system, self._root = table_filesystem(table_uri)
        self._stats = PartStats(self.schema)
        self._layout: pa.Schema | None = None  # the schema, where some texts may come dictionary-encoded
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._sink: _Checksummed | None = None
        self._writer: pq.ParquetWriter | None = None
        self._footers: list[pq.FileMetaData] = []  # that of the file, once it is whole
        self._part: Part | None = None
        self._aborted = False

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add the rows of a batch: columns by name, cast to the schema; partition columns in it are left out.

        Texts may come dictionary-encoded: where those of the first batch do, they are written as they are.
        """
        if batch.num_rows == 0:
            return
        rows = self._fit(batch)
        self._stats.update(rows)
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        self._pending_bytes += rows.nbytes
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush(whole=True)

    def close(self) -> Part:
        """Finish the file. Returns the part, to be committed by the driver."""
        if self._aborted:
            raise WorkError("the part was given up", found=self.where)
        if self._part is None:
            try:
                self._flush()
                if self._writer is not None and self._sink is not None:
                    self._sink.hold()
                    self._writer.close()
                    self._sink.release()
                    self._sink.close()
            except (OSError, pa.ArrowException) as error:
                self.abort()
                raise write_refused(self.where, error) from error
            self._part = Part(
                path=self.path,
                rows=self._stats.rows,
                size=self._sink.size if self._sink else 0,
                partition=self.partition,
                stats=self._stats.to_json(self._footers[0] if self._footers else None),
                checksum=self._sink.digest() if self._sink else None,
            )
            faults.reach("after_part_write")
        return self._part

    def abort(self) -> None:
        """Remove the unfinished file; after `close`, nothing."""
        if self._part is not None:
            return
        self._aborted = True
        if self._sink is None:
            return
        # The file is thrown away: whatever its last bytes answer on the way out is of no use.
        with contextlib.suppress(OSError, pa.ArrowException, RuntimeError):  # RuntimeError: there is no footer
            if self._writer is not None and self._writer.is_open:
                self._writer.close()
        with contextlib.suppress(OSError):
            self._sink.close()
        with contextlib.suppress(OSError):
            self._system.delete_file(self._root + self.path)
        self._sink = self._writer = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _fit(self, batch: pa.RecordBatch | pa.Table) -> pa.Table:
        rows = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        names = [name for name in rows.column_names if name not in self.partition]
        if sorted(names) != sorted(self.schema.names):
            raise WorkError("a batch doesn't fit the part", expected=str(self.schema.names), found=str(names))
        rows = rows.select(self.schema.names)
        if self._layout is None:
            kept = [_as_coded(field, rows.schema.field(field.name).type) for field in self.schema]
            self._layout = pa.schema(kept)
        try:
            return rows.cast(self._layout)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise WorkError("a batch doesn't fit the part", expected=str(self.schema), found=str(error)) from error

    def _flush(self, *, whole: bool = False) -> None:
        """Write what is pending; with `whole`, only whole row groups where the rows, not the bytes, are many."""
        if not self._pending:
            return
        table = pa.concat_tables(self._pending).unify_dictionaries()
        take = table.num_rows
        if whole and self._pending_bytes < ROW_GROUP_BYTES:
            take -= take % ROW_GROUP_ROWS
        rest = table.slice(take)
        self._pending, self._pending_rows = [rest] if rest.num_rows else [], rest.num_rows
        self._pending_bytes = rest.nbytes if rest.num_rows else 0
        try:
            self._open(table.slice(0, SAMPLED_ROWS)).write_table(table.slice(0, take), row_group_size=ROW_GROUP_ROWS)
        except (OSError, pa.ArrowException) as error:
            self.abort()
            raise write_refused(self.where, error) from error

    def _open(self, first: pa.Table) -> pq.ParquetWriter:
        """The writer, opened with encodings that fit the first rows."""
        if self._writer is None:
            faults.reach("before_part_write")
            path = self._root + self.path
            self._sink = _Checksummed(open_output(self._system, path))
            self._writer = pq.ParquetWriter(
                self._sink,
                first.schema,
                compression="zstd",
                use_dictionary=[name for name in first.column_names if _repeats(first.column(name))],
                column_encoding={name: DELTAS for name in first.column_names if _lie_close(first.column(name))},
                write_batch_size=PAGE_ROWS,
                write_page_checksum=True,
                write_statistics=[field.name for field in self.schema if not pa.types.is_binary(field.type)],
                store_schema=False,
                metadata_collector=self._footers,
            )
        return self._writer


class _Checksummed:
    """A file to write that keeps the checksum and the size of what went through it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream
        self._hash = xxhash.xxh64()
        self._held: bytearray | None = None
        self.size = 0
        self.closed = False

    def hold(self) -> None:
        """Keep what is written from now on: the footer."""
        self._held = bytearray()

    def release(self) -> None:
        """Write what was kept, sealed."""
        ending, self._held = self._held, None
        if ending is not None:
            self.write(sealed(bytes(ending)))

    def write(self, data: bytes) -> int:
        if self._held is not None:
            self._held += data
            return len(data)
        self._hash.update(data)
        self.size += len(data)
        self._stream.write(data)
        return len(data)

    def tell(self) -> int:
        return self.size + len(self._held or b"")

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._stream.close()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def digest(self) -> str:
        return self._hash.hexdigest()


def _as_coded(field: pa.Field, kind: pa.DataType) -> pa.Field:
    """The field as it is written: dictionary-encoded where a text is."""
    coded = pa.dictionary(pa.int32(), pa.string())
    return field.with_type(coded) if kind == coded and pa.types.is_string(field.type) else field


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether a dictionary is worth trying: small numbers, and texts most of which come again; not ids and measures."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return 2 * len(column.unique()) <= max(len(column), SAMPLED_ROWS // 2)
    return pa.types.is_int8(kind) or pa.types.is_int16(kind) or pa.types.is_int32(kind)


def _lie_close(column: pa.ChunkedArray) -> bool:
    """Whether ids or times are better stored as differences: not numbers that are spread over all 64 bits."""
    if not (pa.types.is_int64(column.type) or pa.types.is_timestamp(column.type)):
        return False
    ends = pc.min_max(column.cast(pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return low is not None and high - low < 1 << 48


def _safe(text: str) -> str:
    """A name for a folder or file. Readers take partition values from the log alone, so nothing needs to be undone."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:120]
