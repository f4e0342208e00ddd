"""Specified hashing: which shard, sample or row id a value gets is fixed by this text, on every machine and engine.

**Values** (`hash_values`): xxh64, seed 0, of the UTF-8 bytes of the value's canonical text, so that equal keys meet
whatever their column's type is:

    integer            decimal digits, with ``-`` where negative              42
    float              integral and below 2^63: as the integer;               42.0 → 42, -0.0 → 0
                       otherwise the shortest text that reads back as the     0.1, 1e+300, nan, inf
                       same binary64 (Python's ``repr``); binary32 is widened
    boolean            true, false
    timestamp          ISO 8601, UTC, six decimals                            2018-04-01T05:30:00.000000
    date               ISO 8601                                               2018-04-01
    string, binary     the bytes themselves
    null               no text: the constant `NULL_HASH`

**Rows** (`hash_rows`): fields are hashed by type, cheaper than by text, because a row is only ever compared with rows
of the same columns:

    number, boolean, time   fmix64(bits + GOLDEN); bits: int64 two's complement of an integer, boolean, microseconds
                            since 1970 (timestamp) or days (date); IEEE 754 binary64 of a float, with -0.0 as 0.0
                            and one NaN
    string, binary          xxh64 of the bytes
    null                    NULL_HASH

and combined in the order of the columns: ``h = fmix64(h ^ field)`` from ``h = 0``.

xxh64: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. fmix64: the finaliser of MurmurHash3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from millrace.buffers import array_of, flags, stored_numbers, without_dictionary
from millrace.data import native
from millrace.errors import InputError

Hashes = npt.NDArray[np.uint64]

NULL_HASH = 0xA0761D6478BD642F
GOLDEN = 0x9E3779B97F4A7C15

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)
_SHORT = 32  # bytes; xxh64 takes four lanes from here on


def fmix64(bits: Hashes) -> Hashes:
    """MurmurHash3's 64-bit finaliser: a bijection in which every input bit moves every output bit.

    >>> [hex(h) for h in fmix64(np.array([0, 1], np.uint64)).tolist()]
    ['0x0', '0xb456bcfc34c2cb2c']
    """
    mixed = bits ^ (bits >> np.uint64(33))
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def hash_values(array: pa.Array | pa.ChunkedArray) -> Hashes:
    """The specified 64-bit hash of every value (see above), uint64, as long as the array.

    Equal for equal values whatever the type, the chunking or the encoding (plain, large, dictionary).

    >>> [hex(h) for h in hash_values(pa.array(["42", None])).tolist()]
    ['0x6de6f5d076d742b9', '0xa0761d6478bd642f']
    >>> bool((hash_values(pa.array([42])) == hash_values(pa.array([42.0]))).all())
    True
    """
    indices, values = _encode(array)
    return _spread(indices, hash_texts(canonical_text(values)), values)


def hash_rows(batch: pa.RecordBatch | pa.Table, columns: Sequence[str]) -> Hashes:
    """The specified 64-bit hash of every row over `columns`, in their order (see above); uint64.

    >>> batch = pa.record_batch({"a": [1, 1, 2], "b": ["x", "x", None]})
    >>> [hex(h) for h in hash_rows(batch, ["a", "b"]).tolist()]
    ['0x35a1449c88494e01', '0x35a1449c88494e01', '0xcb5cba1ee91355f2']
    """
    row = np.zeros(batch.num_rows, np.uint64)
    for name in columns:
        field = batch.column(name)
        if isinstance(field, pa.ChunkedArray) and not pa.types.is_dictionary(field.type):
            field = _whole(field)
        if native.available():
            native.fold(row, _wide(field) if _has_bits(field.type) else _hash_field(field))
        else:
            row = fmix64(row ^ _hash_field(field))
    return row


def mix(hashes: Hashes, seed: int) -> Hashes:
    """fmix64(hash ^ seed): for each seed another uniform rank of the same values, independent of the hash itself.

    >>> [hex(h) for h in mix(np.array([0, 1], np.uint64), 1).tolist()]
    ['0xb456bcfc34c2cb2c', '0x0']
    """
    return fmix64(hashes ^ np.uint64(seed & 0xFFFFFFFFFFFFFFFF))


def unit(hashes: Hashes) -> npt.NDArray[np.float64]:
    """Hashes as numbers in [0, 1): the upper 53 bits.

    >>> unit(np.array([0, 1 << 63, 2**64 - 1], np.uint64)).tolist()
    [0.0, 0.5, 0.9999999999999999]
    """
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_of(*parts: str) -> int:
    """A seed in [0, 2^63) from names (pipeline, stage, interval): xxh64 of the parts joined by U+001F.

    >>> seed_of("clicks", "sample", "2018-04-01")
    2317828401570484916
    """
    return int(xxhash.xxh64_intdigest("\x1f".join(parts).encode())) >> 1


def canonical_text(array: pa.Array) -> pa.Array:
    """The canonical text of every value as a string array (binary stays binary); null where null."""
    import pyarrow.compute as pc  # slow to import

    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return array
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_large_binary(kind):
        return array.cast(pa.binary())
    if pa.types.is_floating(kind):
        return _float_text(array.cast(pa.float64()))
    if pa.types.is_timestamp(kind):
        return pc.strftime(_naive_micros(array), format="%Y-%m-%dT%H:%M:%S")
    if pa.types.is_date(kind):
        return array.cast(pa.date32()).cast(pa.string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    raise InputError("values of this type have no hash", expected="a number, string, boolean or time", found=str(kind))


def _float_text(array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    numbers = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    whole = (np.abs(numbers) < 2.0**63) & (np.floor(numbers) == numbers)
    text = pa.array(np.where(whole, numbers, 0.0).astype(np.int64)).cast(pa.string())
    if not whole.all():
        broken = pa.array([repr(number) for number in numbers[~whole].tolist()], pa.string())
        text = pc.replace_with_mask(text, pa.array(~whole), broken)
    return pc.if_else(array.is_valid(), text, pa.scalar(None, pa.string()))


def _encode(array: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.int64] | None, pa.Array]:
    """The distinct values, and for every row its place among them (-1: null); None for the places: as they are."""
    if isinstance(array, pa.ChunkedArray):
        array = array.unify_dictionaries().combine_chunks() if pa.types.is_dictionary(array.type) else _whole(array)
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_boolean(array.type) or pa.types.is_null(array.type) or len(array) < _SHORT:
        return None, without_dictionary(array)
    if native.available() and pa.types.is_string(array.type):
        return None, array  # to hash a text takes less time than to look for it
    if native.available() and pa.types.is_int64(array.type):
        found, first, _ = native.encode(array)
        return found.astype(np.int64), array.take(array_of(first))
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    places = stored_numbers(encoded.indices.cast(pa.int64())).copy()
    if encoded.indices.null_count:
        places[flags(encoded.indices.is_null())] = -1
    return places, encoded.dictionary


def _whole(array: pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)


def _spread(places: npt.NDArray[np.int64] | None, hashes: Hashes, values: pa.Array) -> Hashes:
    """One hash per row from one hash per distinct value; the last place, -1, is null's."""
    if values.null_count:
        hashes[flags(values.is_null())] = NULL_HASH
    if places is None:
        return hashes
    return np.append(hashes, np.uint64(NULL_HASH))[places]


def _hash_field(array: pa.Array | pa.ChunkedArray) -> Hashes:
    if _has_bits(array.type):
        return _spread(None, _mixed(array), array)
    places, values = _encode(array)
    hashes = _mixed(values) if _has_bits(values.type) else hash_texts(canonical_text(values))
    return _spread(places, hashes, values)


def _has_bits(kind: pa.DataType) -> bool:
    """Whether values of a type are hashed by their bits, not by their text, nor by a dictionary."""
    return not (_is_text(kind) or pa.types.is_decimal(kind) or pa.types.is_dictionary(kind))


def _is_text(kind: pa.DataType) -> bool:
    types: Any = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _mixed(array: pa.Array) -> Hashes:
    """The hashes of numbers, booleans and times; anything where they are null."""
    wide = _wide(array)
    numbers = stored_numbers(wide)
    if pa.types.is_floating(wide.type):
        numbers = numbers + 0.0  # -0.0 + 0.0 is 0.0
        numbers[np.isnan(numbers)] = np.nan
    return fmix64(numbers.view(np.uint64) + np.uint64(GOLDEN))


def _wide(array: pa.Array) -> pa.Array:
    """Numbers, booleans and times as the 64-bit numbers whose bits are hashed (see above)."""
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), pa.int64())
    if pa.types.is_floating(kind):
        return array.cast(pa.float64())
    if pa.types.is_timestamp(kind):
        return _naive_micros(array).cast(pa.int64())
    if pa.types.is_date(kind):
        return array.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
    if pa.types.is_uint64(kind):
        return array.view(pa.int64())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return array.cast(pa.int64())
    raise InputError("values of this type have no hash", expected="a number, string, boolean or time", found=str(kind))


def _naive_micros(array: pa.Array) -> pa.Array:
    return array.cast(pa.timestamp("us", tz=array.type.tz), safe=False).cast(pa.timestamp("us"))


def hash_texts(text: pa.Array) -> Hashes:
    """xxh64 of the bytes of every string: `hash_values` for strings that are all distinct, none of them null.

    Texts under 32 bytes are hashed together, one numpy pass for each length.
    """
    count = len(text)
    hashes = np.empty(count, np.uint64)
    if count == 0:
        return hashes
    if native.available():
        return native.hash_texts(text)
    _, offset_buffer, data_buffer = text.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[text.offset : text.offset + count + 1].astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    data = np.zeros(last - first + 8, np.uint8)  # 8 more, so that a lane may be read at every place
    if last > first:
        data[: last - first] = np.frombuffer(data_buffer, np.uint8)[first:last]
    offsets -= first
    lengths = np.diff(offsets)
    order = np.argsort(np.minimum(lengths, _SHORT).astype(np.uint8), kind="stable")
    bounds = np.searchsorted(lengths[order].clip(max=_SHORT), np.arange(_SHORT + 1))
    for length in range(_SHORT):
        rows = order[bounds[length] : bounds[length + 1]]
        if len(rows):
            hashes[rows] = _xxh64_short(data, offsets[rows], length)
    long = order[bounds[_SHORT] :]
    if len(long):
        view = memoryview(data.data)
        spans = zip(offsets[long].tolist(), offsets[long + 1].tolist(), strict=True)
        hashes[long] = np.fromiter(
            (xxhash.xxh64_intdigest(view[start:end]) for start, end in spans), np.uint64, len(long)
        )
    return hashes


def _xxh64_short(data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], length: int) -> Hashes:
    """xxh64 (seed 0) of data[start : start + length] for every start; length below 32."""
    lanes8 = np.ndarray((len(data) - 7,), "<u8", data.data, strides=(1,))
    lanes4 = np.ndarray((len(data) - 3,), "<u4", data.data, strides=(1,))
    acc = np.full(len(starts), (int(_P5) + length) & 0xFFFFFFFFFFFFFFFF, np.uint64)
    done = 0
    while length - done >= 8:
        acc ^= _rotate(lanes8[starts + done] * _P2, 31) * _P1
        acc = _rotate(acc, 27) * _P1 + _P4
        done += 8
    if length - done >= 4:
        acc ^= lanes4[starts + done].astype(np.uint64) * _P1
        acc = _rotate(acc, 23) * _P2 + _P3
        done += 4
    while done < length:
        acc ^= data[starts + done].astype(np.uint64) * _P5
        acc = _rotate(acc, 11) * _P1
        done += 1
    acc ^= acc >> np.uint64(33)
    acc *= _P2
    acc ^= acc >> np.uint64(29)
    acc *= _P3
    acc ^= acc >> np.uint64(32)
    return acc


def _rotate(values: Hashes, bits: int) -> Hashes:
    return (values << np.uint64(bits)) | (values >> np.uint64(64 - bits))
