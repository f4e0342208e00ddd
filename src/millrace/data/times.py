"""Text and numbers become moments: microseconds since 1970 in UTC, null where a cell names no real moment.

`parse` tries each format in order on the cells that earlier ones couldn't read. ISO 8601 text is cast by Arrow where
the whole column is plain (no zone); else its parts are taken apart by one regular expression on the distinct values and
put together as numbers, so that a date that doesn't exist is found without a loop over rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.buffers import array_of, flags, null_scalar, scalar, stored_numbers
from millrace.data import numeric

MICROS = pa.timestamp("us")
EMPTY, ZERO = scalar(""), scalar("0")
EPOCHS = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
FIRST = -62_135_596_800_000_000  # 0001-01-01
LAST = 253_402_300_800_000_000  # 10000-01-01, exclusive
ISO = (
    r"^(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[Tt ](?P<hour>\d{2})(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?)?)?"
    r" ?(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>\d{2})(?::?(?P<zone_minute>\d{2}))?)?$"
)


def parse(values: pa.Array, formats: Sequence[str]) -> pa.Array:
    """Text as timestamps: the first of `formats` that reads a cell decides; null where none does.

    >>> parse(pa.array(["2018-04-01", "04/02/2018", "3 Apr 2018", "2018-02-30"]),
    ...       ["iso", "%m/%d/%Y", "%d %b %Y"]).cast(pa.date32()).to_pylist()
    [datetime.date(2018, 4, 1), datetime.date(2018, 4, 2), datetime.date(2018, 4, 3), None]
    """
    result = _parse_one(values, formats[0])
    for text_format in formats[1:]:
        unread = pc.and_(pc.is_null(result), pc.is_valid(values))
        if not pc.any(unread).as_py():
            break
        encoded = values.filter(unread).dictionary_encode()
        result = pc.replace_with_mask(result, unread, _parse_one(encoded.dictionary, text_format).take(encoded.indices))
    return result


def parse_numbers(values: pa.Array, formats: Sequence[str]) -> pa.Array:
    """Numbers as timestamps by the first of `formats` that fits: an epoch word, or a pattern such as ``%Y%m%d``."""
    result = pa.nulls(len(values), MICROS)
    for number_format in formats:
        if number_format in EPOCHS:
            result = pc.coalesce(result, _epoch(values, EPOCHS[number_format]))
        elif pa.types.is_integer(values.type):
            result = pc.coalesce(result, _parse_one(values.cast(pa.string()), number_format))
    return result


def within_years(values: pa.Array) -> pa.Array:
    """Timestamps of the years 1 to 9999; others become null: no file format and no calendar agrees on them."""
    limits = pc.min_max(values.cast(pa.int64()))
    low, high = limits["min"].as_py(), limits["max"].as_py()
    if low is None or (low >= FIRST and high < LAST):
        return values
    micros = values.cast(pa.int64())
    return pc.if_else(
        pc.and_(pc.greater_equal(micros, scalar(FIRST)), pc.less(micros, scalar(LAST))),
        values,
        null_scalar(values.type),
    )


def _parse_one(values: pa.Array, text_format: str) -> pa.Array:
    if text_format == "iso":
        return _parse_iso(values)
    if text_format in EPOCHS:
        return _epoch(numeric.readable(values, pa.float64()), EPOCHS[text_format])
    import polars as pl

    pattern = text_format.replace(".%f", "%.f")  # chrono's name for a fraction of any length
    series = pl.Series(values, dtype=pl.String).str.to_datetime(pattern, strict=False, time_unit="us", exact=True)
    result = series.dt.replace_time_zone(None).to_arrow()
    if "%Y" in text_format:  # chrono reads the 18 of 12/31/18 as the year 18
        result = pc.if_else(pc.greater_equal(pc.year(result), scalar(1000)), result, null_scalar(result.type))
    return within_years(result)


def _epoch(values: pa.Array, scale: int) -> pa.Array:
    """Numbers since 1970 as timestamps; `scale` is the number of microseconds in one unit."""
    low, high = FIRST // scale, LAST // scale
    if pa.types.is_integer(values.type):
        values = values.cast(pa.int64(), safe=False)
        inside = pc.and_(pc.greater_equal(values, scalar(low)), pc.less(values, scalar(high)))
        micros = pc.multiply(pc.if_else(inside, values, null_scalar(values.type)), scalar(scale))
    else:
        inside = pc.and_(pc.greater_equal(values, scalar(float(low))), pc.less(values, scalar(float(high))))
        values = pc.if_else(inside, values, null_scalar(values.type))
        micros = pc.round(pc.multiply(values, scalar(float(scale)))).cast(pa.int64())
    return micros.cast(MICROS)


def _parse_iso(values: pa.Array) -> pa.Array:
    """ISO 8601 dates and times; a zone is applied, a missing one means UTC."""
    try:
        plain = values
        if pc.all(pc.ends_with(values, pattern="Z")).as_py():
            plain = pc.utf8_slice_codeunits(values, 0, -1)
        return within_years(plain.cast(MICROS))
    except pa.ArrowInvalid:
        encoded = values.dictionary_encode()
        return _iso_parts(encoded.dictionary).take(encoded.indices)


def _iso_parts(values: pa.Array) -> pa.Array:
    """Distinct ISO texts by their parts: exact, and null where a part is out of its range."""
    parts = pc.extract_regex(values, pattern=ISO)

    def part(name: str) -> pa.Array:
        return pc.coalesce(pc.struct_field(parts, name), EMPTY)

    def number(name: str) -> np.ndarray:
        text = part(name)
        return stored_numbers(pc.if_else(pc.equal(text, EMPTY), ZERO, text).cast(pa.int64()))

    year, month, day = number("year"), number("month"), number("day")
    hour, minute, second = number("hour"), number("minute"), number("second")
    zone_hour, zone_minute = number("zone_hour"), number("zone_minute")
    fraction = pc.utf8_slice_codeunits(part("fraction"), 0, 6)
    micro = stored_numbers(pc.utf8_rpad(fraction, 6, "0").cast(pa.int64()))
    minus = flags(pc.equal(part("sign"), scalar("-")))

    months = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    first_day = months.astype("datetime64[D]").astype(np.int64)
    days_in_month = (months + 1).astype("datetime64[D]").astype(np.int64) - first_day
    real = flags(pc.is_valid(parts))
    real &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= days_in_month)
    real &= (hour <= 23) & (minute <= 59) & (second <= 59) & (zone_hour <= 23) & (zone_minute <= 59)
    offset = np.where(minus, -1, 1) * (zone_hour * 60 + zone_minute)
    seconds = ((first_day + day - 1) * 24 + hour) * 3600 + (minute - offset) * 60 + second
    moments = array_of(np.where(real, seconds * 1_000_000 + micro, 0)).cast(MICROS)
    return within_years(pc.if_else(array_of(real), moments, null_scalar(MICROS)))
