"""Lookup: which shard and which files hold the rows of one key, and the rows themselves.

The plan names the shard, and the parts of a commit (their partition values and column bounds) name the files. Beside
each part lies its index, `index_path(part)`: the sorted hashes of its keys, each with the first row and the number of
rows (`KeyIndex`); a lookup is one binary search in each. A part without an index is searched itself: its rows are in
order of the key, so that the bounds of its row groups leave one group to read, and of it the key column alone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from millrace.buffers import array_of, null_scalar, scalar, stored_numbers
from millrace.data.hashing import Hashes, hash_values
from millrace.data.shard import KeyValue, ShardPlan, shard_of, typed_keys
from millrace.errors import CorruptData

OpenFile = Callable[[str], pa.NativeFile]  # a path below the table → an open file, or a FileNotFoundError
DIGEST = 8  # bytes of an index's checksum
T = TypeVar("T")
R = TypeVar("R")


class PartLike(Protocol):
    """What lookup needs of a part of the table (`storage.parts.Part`)."""

    @property
    def path(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def partition(self) -> dict[str, str]: ...
    @property
    def stats(self) -> str: ...


@dataclass(frozen=True)
class Location:
    """Where rows of the key are: `rows` of them in the file `path`, from row `start` (0-based) on."""

    data_interval: str | None
    shard: int
    path: str
    start: int
    rows: int


def index_path(part: str) -> str:
    """Where the index of a part is, below the table too. Delta leaves folders that begin with ``_`` alone.

    >>> index_path("data_interval=2026-01-05/shard=3/00003-ab.parquet")
    '_index/data_interval=2026-01-05/shard=3/00003-ab.parquet.arrow'
    """
    return f"_index/{part}.arrow"


class KeyIndex:
    """Makes the index of a part from its key column, given piece by piece, rows of equal keys being neighbours.

    >>> index = KeyIndex()
    >>> for keys in (["a", "a", "b"], ["b", "c"]):
    ...     index.update(pa.array(keys))
    >>> pa.ipc.open_file(index.to_bytes()[DIGEST:]).read_all().select(["start", "rows"]).to_pylist()
    [{'start': 2, 'rows': 2}, {'start': 4, 'rows': 1}, {'start': 0, 'rows': 2}]
    """

    def __init__(self) -> None:
        self._rows = 0
        self._last = np.zeros(0, np.uint64)  # the hash of the last row, if there is one
        self._hashes: list[Hashes] = []
        self._starts: list[npt.NDArray[np.int64]] = []

    def update(self, keys: pa.Array | pa.ChunkedArray) -> None:
        """Take in the keys of the next rows."""
        hashes = hash_values(keys)
        if not len(hashes):
            return
        first = np.append(hashes[:1] != self._last if len(self._last) else True, hashes[1:] != hashes[:-1])
        self._hashes.append(hashes[first])
        self._starts.append(np.flatnonzero(first) + self._rows)
        self._rows += len(hashes)
        self._last = hashes[-1:]

    def to_bytes(self) -> bytes:
        """An Arrow file after its xxh64.

        Columns: ``hash`` uint64, rising (`hashing.hash_values`), ``start`` int64, ``rows`` int64.
        """
        hashes = np.concatenate([np.zeros(0, np.uint64), *self._hashes])
        starts = np.concatenate([np.zeros(0, np.int64), *self._starts])
        rows = np.diff(np.append(starts, self._rows))
        order = np.argsort(hashes, kind="stable")
        columns = {"hash": hashes[order], "start": starts[order], "rows": rows[order]}
        batch = pa.record_batch({name: array_of(values) for name, values in columns.items()})
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        content = sink.getvalue()
        return xxhash.xxh64_digest(content) + content


def candidates(parts: Iterable[PartLike], plan: ShardPlan, key: KeyValue | None) -> list[PartLike]:
    """The parts that may hold the key, by its shard and the parts' own bounds; no file is opened.

    Raises RequestError where `key` can't be read as the key's type.
    """
    shard = str(shard_of(key, plan))
    typed = None if plan.by is None else typed_keys([key], plan.key_type)[0]
    return [part for part in parts if part.partition.get("shard", shard) == shard and _may_hold(part, plan, typed)]


def lookup(
    parts: Iterable[PartLike], plan: ShardPlan, key: KeyValue | None, open_file: OpenFile, threads: int = 1
) -> list[Location]:
    """Every file that holds rows of the key, oldest interval first, with how many and where; empty where no file does.

    `key` may be given as text whatever its type; None finds the rows without a key. Files are opened one by one, which
    is fastest on a local disk; `threads` at a time suit a store with latency. Raises RequestError where the key can't
    be read as the key column's type.
    """
    found = candidates(parts, plan, key)
    shard = shard_of(key, plan)
    key_hash = None if plan.by is None else hash_values(typed_keys([key], plan.key_type))[0]

    def locate(part: PartLike) -> Location | None:
        start, rows = _find_by_index(part.path, key_hash, open_file) or _find(part.path, plan, key, open_file)
        return Location(part.partition.get("data_interval"), shard, part.path, start, rows) if rows else None

    locations = [location for location in _each(locate, found, threads) if location is not None]
    return sorted(locations, key=lambda place: (place.data_interval or "", place.path))


def read_rows(locations: Sequence[Location], open_file: OpenFile, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows at these locations, in their order, with the columns data_interval and shard added."""

    def read(place: Location) -> pa.Table:
        with pq.ParquetFile(open_file(place.path)) as file:
            groups, skipped = _groups_of(file, place)
            table = file.read_row_groups(groups, columns=None if columns is None else list(columns), use_threads=False)
        table = table.slice(place.start - skipped, place.rows)
        interval = null_scalar(pa.string()) if place.data_interval is None else scalar(place.data_interval)
        table = table.append_column("data_interval", pa.repeat(interval, place.rows))
        return table.append_column("shard", pa.repeat(scalar(place.shard).cast(pa.int32()), place.rows))

    tables = list(_each(read, locations, 1))
    return pa.concat_tables(tables) if tables else pa.table({})


def _each(function: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def _may_hold(part: PartLike, plan: ShardPlan, key: pa.Scalar | None) -> bool:
    """Whether the part's bounds allow the key. Bounds of texts may be cut, so that they are only ever too wide."""
    if plan.by is None or key is None:
        return True
    stats = json.loads(part.stats or "{}")
    if not key.is_valid:
        return bool(stats.get("nullCount", {}).get(plan.by, 1))
    least, greatest = (stats.get(side, {}).get(plan.by) for side in ("minValues", "maxValues"))
    if least is None or greatest is None or plan.key_type == "bool":
        return True
    bounds = typed_keys([_naive(least), _naive(greatest)], plan.key_type).to_pylist()
    return bool(bounds[0] <= key.as_py() <= bounds[1])


def _naive(bound: Any) -> Any:
    return bound.removesuffix("Z") if isinstance(bound, str) and bound[10:11] == "T" else bound


def _find(path: str, plan: ShardPlan, key: KeyValue | None, open_file: OpenFile) -> tuple[int, int]:
    """The first row of the key in a file, and how many there are: they are neighbours, as the file is in key order."""
    with pq.ParquetFile(open_file(path)) as file:
        if plan.by is None:
            return 0, file.metadata.num_rows
        typed = typed_keys([key], plan.key_type)[0]
        groups, skipped = _groups_with(file, plan.by, typed)
        if not groups:
            return 0, 0
        keys = file.read_row_groups(groups, columns=[plan.by], use_threads=False).column(0)
    hits = pc.equal(keys, typed.cast(keys.type)) if typed.is_valid else pc.is_null(keys)
    first = pc.index(hits, scalar(True)).as_py()
    return (skipped + first, pc.sum(hits).as_py()) if first >= 0 else (0, 0)


def _find_by_index(path: str, key_hash: np.uint64 | None, open_file: OpenFile) -> tuple[int, int] | None:
    """As `_find`, by the part's index; None where there is none."""
    if key_hash is None:
        return None
    try:
        content = open_file(index_path(path)).read_buffer()
    except FileNotFoundError:
        return None
    if xxhash.xxh64_digest(memoryview(content)[DIGEST:]) != content[:DIGEST].to_pybytes():
        hint = "run the stage shard again with --force"
        raise CorruptData("a lookup index has changed since it was written", found=index_path(path), hint=hint)
    index = pa.ipc.open_file(content[DIGEST:])
    if not index.num_record_batches:
        return 0, 0
    batch = index.get_batch(0)
    hashes = stored_numbers(batch.column(0))
    place = int(np.searchsorted(hashes, key_hash))
    if place == len(hashes) or hashes[place] != key_hash:
        return 0, 0
    return batch.column(1)[place].as_py(), batch.column(2)[place].as_py()


def _groups_with(file: pq.ParquetFile, column: str, key: pa.Scalar) -> tuple[list[int], int]:
    """The row groups whose bounds allow the key, and the rows before the first of them."""
    place = file.schema_arrow.names.index(column)
    metadata = file.metadata
    chosen: list[int] = []
    skipped = before = 0
    for group in range(metadata.num_row_groups):
        stats = metadata.row_group(group).column(place).statistics
        bounded = stats is not None and stats.has_min_max and key.is_valid
        if not bounded or stats.min <= key.as_py() <= stats.max:
            if not chosen:
                skipped = before
            chosen.append(group)
        before += metadata.row_group(group).num_rows
    return (list(range(chosen[0], chosen[-1] + 1)) if chosen else []), skipped


def _groups_of(file: pq.ParquetFile, place: Location) -> tuple[list[int], int]:
    """The row groups that hold the rows of a location, and the rows before the first of them."""
    groups: list[int] = []
    skipped = before = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if before < place.start + place.rows and before + rows > place.start:
            if not groups:
                skipped = before
            groups.append(group)
        before += rows
    return groups, skipped
