"""A mergeable sample of a key column, from which range boundaries are learned.

The rows whose hash rank is among the `capacity` smallest are kept (bottom-k; all rows where there are fewer): a
uniform sample without replacement, for every type that has an order, and equal for every split and order of the rows.
A KLL sketch draws random bits, so it would give other boundaries at every attempt; and it takes strings one at a time.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data.hashing import Hashes, mix

if TYPE_CHECKING:
    import polars as pl

ROWS_PER_SHARD = 4_096  # relative standard error of a shard's size: 1/sqrt(4096) = 1.6 %
SEED = 0x5348415244  # "SHARD": ranks independent of those of the training sample


class KeySketch:
    """The keys of the `capacity` rows with the smallest rank, and the number of rows seen (null keys aside).

    `update` takes keys with their rows' hashes (row_id), `merge` another sketch; both are order-free. A row belongs to
    the sample by its hash alone, so copies of a row are in or out together.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        self.ranks: Hashes = np.zeros(0, np.uint64)
        self.keys: pl.Series | None = None

    def update(self, keys: pa.Array | pa.ChunkedArray, row_ids: npt.NDArray[Any]) -> None:
        """Add rows: their keys, and their 64-bit row hashes of equal length."""
        import polars as pl

        series = _comparable(keys)
        ranks = mix(row_ids.astype(np.uint64, copy=False), SEED)
        valid = series.is_not_null().to_numpy()
        self.rows += int(valid.sum())
        if len(self.ranks) >= self.capacity:
            valid &= ranks <= self.ranks.max()
        self._add(ranks[valid], series.filter(pl.Series(valid)))

    def merge(self, other: KeySketch) -> KeySketch:
        """Both sketches' rows in one; returns self."""
        self.rows += other.rows
        if other.keys is not None:
            self._add(other.ranks, other.keys)
        return self

    def _add(self, ranks: Hashes, keys: pl.Series) -> None:
        import polars as pl

        ranks = np.concatenate([self.ranks, ranks])
        keys = keys if self.keys is None else self.keys.append(keys)
        if len(ranks) > self.capacity:
            limit = np.partition(ranks, self.capacity - 1)[self.capacity - 1]
            kept = ranks <= limit  # all rows of the last rank, so that the order of arrival can't matter
            ranks, keys = ranks[kept], keys.filter(pl.Series(kept))
        self.ranks, self.keys = ranks, keys

    def weights(self) -> tuple[pl.Series, npt.NDArray[np.float64]]:
        """The distinct keys of the sample in rising order, and the estimated number of rows of each."""
        import polars as pl

        if self.keys is None:
            return pl.Series("key", [], pl.Int64), np.zeros(0)
        counts = self.keys.alias("key").to_frame().group_by("key").len("rows").sort("key")
        return counts["key"], counts["rows"].to_numpy() * (self.rows / max(1, len(self.keys)))

    def to_bytes(self) -> bytes:
        """The sketch as an Arrow stream: equal sketches have equal bytes."""
        import polars as pl

        keys = self.keys if self.keys is not None else pl.Series("key", [], pl.Int64)
        frame = pl.DataFrame({"rank": self.ranks, "key": keys}).sort("rank", "key")
        table = frame.to_arrow().replace_schema_metadata({"rows": str(self.rows), "capacity": str(self.capacity)})
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        return sink.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> KeySketch:
        """The sketch that `to_bytes` wrote."""
        table = pa.ipc.open_stream(data).read_all()
        metadata = table.schema.metadata
        sketch = cls(int(metadata[b"capacity"]))
        sketch.rows = int(metadata[b"rows"])
        sketch.ranks = table["rank"].to_numpy().astype(np.uint64)
        if table.num_rows:
            sketch.keys = _comparable(table["key"])
        return sketch


def key_sketch(shards: int) -> KeySketch:
    """An empty sketch with room enough to cut so many shards within 10 % of their mean."""
    return KeySketch(ROWS_PER_SHARD * shards)


def _comparable(keys: pa.Array | pa.ChunkedArray) -> pl.Series:
    """Times and booleans as integers, as `shard.assign` compares them; NaN as null: it has no place in an order."""
    import polars as pl

    kind = keys.type
    if pa.types.is_timestamp(kind):
        keys = keys.cast(pa.timestamp("us")).cast(pa.int64())
    elif pa.types.is_date(kind):
        keys = keys.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_boolean(kind):
        keys = keys.cast(pa.int8())
    series = pl.from_arrow(keys)
    assert isinstance(series, pl.Series)
    if series.dtype.is_float():
        return series.fill_nan(None)
    return series.cast(pl.String) if series.dtype == pl.Categorical else series
