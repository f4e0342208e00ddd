"""Shuffle by reference: rows with their partition flow into one Arrow IPC file per map task; the engine moves only the
`Ref`s (where a partition's rows lie in it), and a reducer reads them back, one read each."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import xxhash
from numpy.typing import NDArray

from millrace.buffers import array_of, without_dictionary
from millrace.errors import CorruptData
from millrace.storage import faults
from millrace.storage.files import filesystem, open_input, open_output

BUFFER = 64 << 20
"""Bytes that a writer holds before it writes a run of every partition."""

_PLAIN, _COMPRESSED = (pyarrow.ipc.IpcWriteOptions(compression=codec) for codec in (None, "lz4"))


@dataclass(frozen=True)
class Ref:
    """Where one run of a partition's rows lies: `length` bytes from `offset` on, an Arrow IPC stream of `rows` rows
    whose xxh64 is `checksum`."""

    path: str
    partition: int
    offset: int
    length: int
    rows: int
    checksum: str

    def to_json(self) -> dict[str, Any]:
        """As a value that a map task can emit."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any] | str) -> Ref:
        """The reference that `to_json` gave."""
        return cls(**(json.loads(value) if isinstance(value, str) else value))


class ShuffleWriter:
    """Writes the rows of one map task, grouped by partition, to a file of a name that no other attempt has.

    Memory is bounded by `buffer` bytes and one batch: when so much is held, each partition's rows are written as a run,
    so a partition of a large task has several refs. Inside a partition the order of the rows is kept.

    Columns may come dictionary-encoded, each batch with a dictionary of its own: they are moved so where that is
    shorter. On a local disk nothing is compressed: that takes longer than writing.
    """

    def __init__(self, folder: str, *, buffer: int = BUFFER) -> None:
        self._system, inside, prefix = filesystem(folder)
        self._inside = f"{inside}/{uuid.uuid4().hex}.arrows"
        self.path = prefix + self._inside
        self.buffer = buffer
        self.held: list[tuple[NDArray[np.int64], pa.RecordBatch]] = []
        self.held_bytes = 0
        self.refs: list[Ref] = []
        self.file: Any = None
        self.offset = 0

    def write(self, partition_ids: NDArray[Any], batch: pa.RecordBatch) -> None:
        """Takes rows and the partition (≥ 0) of each. All batches have one schema, dictionaries aside."""
        if len(partition_ids) != batch.num_rows:
            raise ValueError(f"{len(partition_ids)} partitions for {batch.num_rows} rows")
        if not batch.num_rows:
            return
        self.held.append((np.asarray(partition_ids, np.int64), batch))
        self.held_bytes += batch.nbytes + 8 * batch.num_rows
        if self.held_bytes >= self.buffer:
            self._flush()

    def close(self) -> list[Ref]:
        """Writes what is held; returns the refs in the order of the file. Without rows there is no file."""
        faults.reach("before_shuffle_index")
        self._flush()
        if self.file is not None:
            self.file.close()
            self.file = None
        faults.reach("after_shuffle_index")
        return self.refs

    def discard(self) -> None:
        """Removes the file, after a failure."""
        self.held, self.held_bytes = [], 0
        if self.file is not None:
            self.file.close()
            self.file = None
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(self._inside)

    def _flush(self) -> None:
        if not self.held:
            return
        held, self.held, self.held_bytes = self.held[::-1], [], 0
        runs: dict[int, list[pa.RecordBatch]] = {}
        while held:  # one at a time, so that all rows aren't held twice
            ids, batch = held.pop()
            order = np.argsort(ids, kind="stable")
            ids = ids[order]
            first = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
            rows = batch.take(array_of(order))
            for start, end in zip(first.tolist(), [*first[1:].tolist(), len(ids)], strict=True):
                runs.setdefault(int(ids[start]), []).append(rows.slice(start, end - start))
        for partition in sorted(runs):
            self._append(partition, runs[partition])

    def _append(self, partition: int, run: Sequence[pa.RecordBatch]) -> None:
        if self.file is None:
            self.file = open_output(self._system, self._inside)
        sink = pa.BufferOutputStream()
        run = _shorter(run)
        options = _PLAIN if self._system.type_name == "local" else _COMPRESSED
        with pyarrow.ipc.new_stream(sink, run[0].schema, options=options) as stream:
            for rows in run:
                stream.write_batch(rows)
        data = sink.getvalue()
        self.file.write(data)
        checksum = xxhash.xxh64_hexdigest(data)
        count = sum(rows.num_rows for rows in run)
        self.refs.append(Ref(self.path, partition, self.offset, data.size, count, checksum))
        self.offset += data.size


def read_refs(refs: Iterable[Ref], *, encoded: bool = False) -> Iterator[pa.RecordBatch]:
    """The rows of refs, in the order of the refs, with one read for each.

    `encoded`: columns that were moved dictionary-encoded come so, each batch with a dictionary of its own.
    Raises CorruptData where the bytes aren't those that were written.
    """
    path, file = None, None
    try:
        for ref in refs:
            if ref.path != path:
                if file is not None:
                    file.close()
                path, file = ref.path, open_input(ref.path)
            for rows in _read(ref, file):
                yield rows if encoded else _plain(rows, range(rows.num_columns))
    finally:
        if file is not None:
            file.close()


def _read(ref: Ref, file: Any) -> Iterator[pa.RecordBatch]:
    data = file.read_at(ref.length, ref.offset)
    found = xxhash.xxh64_hexdigest(data)
    if found != ref.checksum:
        where = f"{ref.path}, bytes {ref.offset}-{ref.offset + ref.length}"
        hint = "the disk may be failing, or the file was changed: run the job again"
        raise CorruptData(f"shuffled rows changed on disk: {where}", expected=ref.checksum, found=found, hint=hint)
    with pyarrow.ipc.open_stream(pa.py_buffer(data)) as stream:
        yield from stream


def _shorter(run: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The run without dictionaries that have more entries than there are rows, and those that not all batches have."""
    rows = sum(batch.num_rows for batch in run)
    plain = [
        place
        for place in range(run[0].num_columns)
        if not all(pa.types.is_dictionary(batch.schema.types[place]) for batch in run)
        or sum(len(batch.column(place).dictionary) for batch in run) > rows
    ]
    return [_plain(batch, plain) for batch in run]


def _plain(batch: pa.RecordBatch, places: Iterable[int]) -> pa.RecordBatch:
    """The batch with the values of some columns one by one."""
    columns = batch.columns
    for place in places:
        columns[place] = without_dictionary(columns[place])
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)
