"""The state of one column within one label class, and its bytes.

Distinct values with their counts flow in (`ColumnState.of`), states merge, bytes flow out. While a column has at most
2,048 distinct values, its value counts are the state: quantiles and the number of distinct values come from them,
exactly. Past that, sketches are made from the counts and take over.

Bytes: ``MRS1``, xxh64 of the rest (8 bytes, big-endian), then zstd of: length of the header (4 bytes, big-endian),
the header as JSON, and the arrays that it lists, in order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import datasketches
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from millrace.buffers import array_of, stored_numbers, text_array
from millrace.data.hashing import GOLDEN, fmix64, hash_texts
from millrace.data.sketches import (
    EXACT_VALUES,
    Counts,
    Distinct,
    Floats,
    Lengths,
    Moments,
    Quantiles,
    Value,
    ValueCounts,
)
from millrace.errors import CorruptData, InputError

Kind = Literal["integer", "float", "boolean", "time", "string"]
MAGIC = b"MRS1"
VERSION = 1


@dataclass
class ColumnState:
    """What is known of one column's values in one label class. Merge never changes its operands."""

    kind: Kind
    count: int = 0  # rows, nulls included
    nulls: int = 0
    nans: int = 0
    infinities: int = 0
    moments: Moments = field(default_factory=Moments)
    lengths: Lengths = field(default_factory=Lengths)
    first: str | None = None  # least and greatest text by code point
    last: str | None = None
    values: ValueCounts = field(default_factory=ValueCounts)
    sketched: bool = False  # more than EXACT_VALUES distinct values were seen
    hashes: Distinct | None = None  # while sketched
    ranks: Quantiles | None = None  # while sketched, for numbers and times
    outlined: bool = False  # see `outline`

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers (booleans as 0 and 1, times as microseconds since 1970, UTC)."""
        return self.kind != "string"

    def merge(self, other: ColumnState) -> ColumnState:
        """The state of the rows of both."""
        if self.kind != other.kind:
            raise InputError(
                "statistics of one column have two types",
                expected=self.kind,
                found=other.kind,
                hint="a type can't change within a window: rebuild the table, or name the new column otherwise",
            )
        values = self.values.merge(other.values)
        sketched = self.sketched or other.sketched or values.error > 0
        merged = ColumnState(
            self.kind,
            self.count + other.count,
            self.nulls + other.nulls,
            self.nans + other.nans,
            self.infinities + other.infinities,
            self.moments.merge(other.moments),
            self.lengths.merge(other.lengths),
            min((text for text in (self.first, other.first) if text is not None), default=None),
            max((text for text in (self.last, other.last) if text is not None), default=None),
            values,
            sketched,
            outlined=self.outlined or other.outlined,
        )
        if sketched:
            if self.kind == "time":
                merged.values = ValueCounts()
            if not merged.outlined:
                merged.hashes = self.distinct_sketch().merge(other.distinct_sketch())
            if self.numeric:
                merged.ranks = self.rank_sketch().merge(other.rank_sketch())
        return merged

    def outline(self, *, counted: bool) -> ColumnState:
        """What a distribution is compared by: without the sketch of distinct values, which is two thirds of the bytes.

        Nor with the frequent ones of many numbers, unless they are to be `counted` as categories. Merged, it stays so.
        """
        values = ValueCounts() if self.sketched and self.numeric and not counted else self.values
        return replace(self, values=values, hashes=None, outlined=True)

    def distinct_sketch(self) -> Distinct:
        """The distinct sketch, made from the value counts where they are exact. Not of an outline."""
        if self.outlined and self.sketched:
            raise ValueError("an outline doesn't tell distinct values")
        return self.hashes or Distinct.of(hash_keys(self.kind, list(self.values.counts)))

    def rank_sketch(self) -> Quantiles:
        """The quantile sketch, made from the value counts where they are exact."""
        return self.ranks or Quantiles.of(*self.ordered)

    @cached_property
    def ordered(self) -> tuple[Floats, Counts]:
        """The counted numbers in ascending order, with their counts. The state must not change afterwards."""
        numbers = np.fromiter(self.values.counts, np.float64, len(self.values.counts))
        times = np.fromiter(self.values.counts.values(), np.int64, len(self.values.counts))
        order = np.argsort(numbers, kind="stable")
        return numbers[order], times[order]

    def cumulative(self, points: npt.ArrayLike) -> Floats:
        """The fraction of finite numbers at or below each of `points` (ascending, distinct); NaN without numbers."""
        at = np.asarray(points, np.float64)
        if self.ranks is not None:
            return np.array(self.ranks.sketch.get_cdf(at.tolist(), True)[: len(at)]) if len(at) else at
        numbers, times = self.ordered
        if not len(numbers):
            return np.full(len(at), math.nan)
        sums = np.concatenate([[0], np.cumsum(times)])
        return sums[np.searchsorted(numbers, at, side="right")] / sums[-1]

    def quantiles(self, fractions: Sequence[float]) -> list[float | None]:
        """For each fraction the least number with at least that fraction of numbers at or below it."""
        if not self.numeric or not self.moments.count:
            return [None] * len(fractions)
        if self.ranks is not None:
            return [float(self.ranks.sketch.get_quantile(fraction, True)) for fraction in fractions]
        numbers, times = self.ordered
        sums = np.cumsum(times)
        places = np.searchsorted(sums, np.ceil(np.array(fractions) * sums[-1] - 1e-9), side="left")
        return numbers[np.minimum(places, len(numbers) - 1)].tolist()

    def to_bytes(self) -> bytes:
        """The state as bytes (see the module's docstring)."""
        header, arrays = self._parts()
        return pack(header, arrays)

    def _parts(self) -> tuple[dict[str, Any], list[bytes]]:
        keys = list(self.values.counts)
        header = {
            "kind": self.kind,
            "rows": [self.count, self.nulls, self.nans, self.infinities],
            "moments": [_plain(value) for value in asdict(self.moments).values()],
            "lengths": list(asdict(self.lengths).values()),
            "first": self.first,
            "last": self.last,
            "error": self.values.error,
            "sketched": self.sketched,
            "outlined": self.outlined,
            "texts": keys if self.kind == "string" else None,
        }
        arrays = [np.fromiter(self.values.counts.values(), "<i8", len(keys)).tobytes()]
        if self.kind == "float":
            arrays.append(np.fromiter(keys, "<f8", len(keys)).tobytes())
        elif self.kind != "string":
            arrays.append(json.dumps(keys).encode())
        else:
            arrays.append(b"")
        arrays.append(self.hashes.registers.tobytes() if self.hashes else b"")
        arrays.append(self.ranks.sketch.serialize() if self.ranks else b"")
        return header, arrays

    @classmethod
    def from_bytes(cls, data: bytes) -> ColumnState:
        """The state that `to_bytes` wrote; CorruptData where the bytes are not one."""
        header, (times, keys, registers, ranks) = unpack(data, arrays=4)
        try:
            kind: Kind = header["kind"]
            listed: list[Value]
            if kind == "string":
                listed = header["texts"]
            else:
                listed = np.frombuffer(keys, "<f8").tolist() if kind == "float" else json.loads(keys)
            count, nulls, nans, infinities = header["rows"]
            return cls(
                kind,
                count,
                nulls,
                nans,
                infinities,
                moments=Moments(*(_number(value) for value in header["moments"])),
                lengths=Lengths(*header["lengths"]),
                first=header["first"],
                last=header["last"],
                values=ValueCounts(
                    dict(zip(listed, np.frombuffer(times, "<i8").tolist(), strict=True)), header["error"]
                ),
                sketched=header["sketched"],
                hashes=Distinct(np.frombuffer(registers, np.uint8)) if registers else None,
                ranks=Quantiles(datasketches.kll_doubles_sketch.deserialize(ranks)) if ranks else None,
                outlined=header.get("outlined", False),  # older states don't say
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CorruptData("a column's statistics can't be decoded", found=str(error)) from error


def _plain(value: float | int | None) -> float | int | str | None:
    """JSON has no infinity: it is kept as text."""
    return value if value is None or isinstance(value, int) or math.isfinite(value) else repr(value)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) else value


def pack(header: dict[str, Any], arrays: Sequence[bytes]) -> bytes:
    """A header and arrays as checked bytes.

    >>> unpack(pack({"a": 1}, [b"xyz", b""]), arrays=2)
    ({'a': 1}, [b'xyz', b''])
    """
    text = json.dumps({**header, "version": VERSION, "sizes": [len(array) for array in arrays]}).encode()
    body = b"".join([len(text).to_bytes(4, "big"), text, *arrays])
    packed = len(body).to_bytes(8, "big") + pa.Codec("zstd").compress(body, asbytes=True)
    return MAGIC + xxhash.xxh64_digest(packed) + packed


def unpack(data: bytes, arrays: int | None = None) -> tuple[dict[str, Any], list[bytes]]:
    """The header and arrays that `pack` wrote; CorruptData where a byte is wrong."""
    if len(data) < 20 or data[:4] != MAGIC or xxhash.xxh64_digest(data[12:]) != data[4:12]:
        raise CorruptData(
            "stored statistics are damaged",
            expected=f"{MAGIC.decode()} and a matching checksum",
            found=f"{len(data)} bytes that begin with {data[:4]!r}",
            hint="rebuild them: millrace run NAME --from stats",
        )
    body = pa.Codec("zstd").decompress(data[20:], int.from_bytes(data[12:20], "big"), asbytes=True)
    start = 4 + int.from_bytes(body[:4], "big")
    header = json.loads(body[4:start])
    if header.pop("version") != VERSION:
        raise CorruptData("stored statistics have another version", expected=str(VERSION), hint="rebuild them")
    parts = []
    for size in header.pop("sizes"):
        parts.append(body[start : start + size])
        start += size
    if arrays is not None and len(parts) != arrays:
        raise CorruptData("stored statistics have another shape", expected=f"{arrays} arrays", found=str(len(parts)))
    return header, parts


def hash_keys(kind: Kind, keys: Sequence[Value]) -> npt.NDArray[np.uint64]:
    """The hashes of counted values, equal to those that a batch's values get."""
    if kind == "string":
        return hash_texts(text_array(map(str, keys)))
    if kind == "float":
        bits = (np.array(keys, np.float64) + 0.0).view(np.uint64)
    else:
        bits = np.array([int(key) & 0xFFFFFFFFFFFFFFFF for key in keys], np.uint64)
    return fmix64(bits + np.uint64(GOLDEN))


def state_of(
    kind: Kind, values: pa.Array, counts: Counts, nulls: int, hashes: npt.NDArray[np.uint64] | None = None
) -> ColumnState:
    """The state of a batch: distinct `values` without nulls (text, or numbers as the kind's own type), their `counts`
    (all positive), the number of null rows, and the values' `hashes` (of `hash_keys`) where they are known."""
    count = int(counts.sum()) + nulls
    state = ColumnState(kind, count, nulls)
    if kind == "string":
        return _text_state(state, values, counts, hashes)
    numbers: npt.NDArray[Any] = stored_numbers(values)
    if kind == "float":
        numbers = numbers.astype(np.float64) + 0.0
        finite = np.isfinite(numbers)
        if not finite.all():
            state.nans = int(counts[np.isnan(numbers)].sum())
            state.infinities = int(counts[np.isinf(numbers)].sum())
            numbers, counts = numbers[finite], counts[finite]
            hashes = None if hashes is None else hashes[finite]
    state.moments = Moments.of(numbers, counts)
    state.sketched = len(numbers) > EXACT_VALUES
    if not (state.sketched and kind == "time"):
        state.values = ValueCounts.of(numbers, counts)
    if state.sketched:
        if hashes is None:
            bits = numbers.view(np.uint64) if kind == "float" else numbers.astype(np.int64, copy=False).view(np.uint64)
            hashes = fmix64((numbers if numbers.dtype == np.uint64 else bits) + np.uint64(GOLDEN))
        state.hashes = Distinct.of(hashes)
        state.ranks = Quantiles.of(numbers.astype(np.float64), counts)
    return state


def _text_state(
    state: ColumnState, values: pa.Array, counts: Counts, hashes: npt.NDArray[np.uint64] | None
) -> ColumnState:
    import pyarrow.compute as pc  # slow to import: states that are only read don't need it

    if not len(values):
        return state
    lengths = stored_numbers(pc.utf8_length(values)).astype(np.int64)
    ends = pc.min_max(values).as_py()
    state.lengths, state.first, state.last = Lengths.of(lengths, counts), ends["min"], ends["max"]
    state.sketched = len(values) > EXACT_VALUES
    if state.sketched:
        distinct = Distinct.of(hash_texts(values) if hashes is None else hashes)
        return replace(state, hashes=distinct, values=_frequent(values, counts))
    return replace(state, values=ValueCounts.of(values.to_pylist(), counts))


def _frequent(values: pa.Array, counts: Counts) -> ValueCounts:
    """ValueCounts.of without making Python texts of the values that it drops."""
    places = ValueCounts.of(np.arange(len(values)), counts)
    kept = values.take(array_of(np.fromiter(places.counts, np.int64, len(places.counts)))).to_pylist()
    return ValueCounts(dict(zip(kept, places.counts.values(), strict=True)), places.error)
