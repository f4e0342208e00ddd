"""A look at raw files: sniffed format, header and a sample of rows as text columns flow out, nothing is decided yet."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

import polars as pl
import pyarrow.parquet as pq

from millrace.errors import InputError
from millrace.intervals import file_interval
from millrace.spec import Format, Interval
from millrace.storage.files import SourceFile, filesystem, list_files

SAMPLE_BYTES = 8 << 20
SAMPLE_FILES = 9
DELIMITERS = (",", "\t", ";", "|")
DATE_PATTERNS: tuple[tuple[str, str, Interval], ...] = (
    ("%Y-%m-%dT%H", r"\d{4}-\d{2}-\d{2}T\d{2}", "hourly"),
    ("%Y-%m-%d-%H", r"\d{4}-\d{2}-\d{2}-\d{2}(?!\d)", "hourly"),
    ("%Y-%m-%d", r"\d{4}-[01]\d-[0-3]\d", "daily"),
    ("%Y_%m_%d", r"\d{4}_[01]\d_[0-3]\d", "daily"),
    ("%Y%m%d", r"(?<!\d)(?:19|20)\d{2}[01]\d[0-3]\d(?!\d)", "daily"),
    ("%Y-%m", r"(?:19|20)\d{2}-[01]\d(?!\d)", "monthly"),
    ("%Y_%m", r"(?:19|20)\d{2}_[01]\d(?!\d)", "monthly"),
)


@dataclass(frozen=True)
class Look:
    """What the files show: their format, the header if there is one, and sample rows, every value as text.

    `file_date` and `interval` are the pattern of a date in all files' names and its kind; `row_intervals` then names
    the interval of each sample row's file.
    """

    files: list[SourceFile]
    format: Format
    delimiter: str | None
    header: list[str] | None
    encoding: str
    rows: pl.DataFrame
    file_date: str | None
    interval: Interval | None
    row_intervals: list[str | None] | None = None


def look_at(uris: Sequence[str]) -> Look:
    """Sniff the files and read a sample of rows from some of them, spread over the whole list.

    Raises InputError where there is no file, no row, or the bytes are neither text nor Parquet.
    """
    files = [file for file in list_files(list(uris)) if file.size > 0]
    if not files:
        raise InputError("nothing to look at", expected="files with rows", found="empty files")
    step = max(1.0, (len(files) - 1) / (SAMPLE_FILES - 1))
    chosen = [files[round(i * step)] for i in range(min(SAMPLE_FILES, len(files)))]
    file_date, interval = date_in_names(files)
    first = chosen[len(chosen) // 2]
    kind = sniff_format(first)
    if kind == "parquet":
        frames = [_parquet_rows(file) for file in chosen]
        rows = pl.concat(frames, how="diagonal_relaxed")
        owners = _owners(chosen, [len(frame) for frame in frames], file_date, interval)
        return Look(files, kind, None, rows.columns, "utf-8", rows, file_date, interval, owners)
    texts = [head_text(file) for file in chosen]
    encoding = next((name for _, name in texts if name != "utf-8"), "utf-8")
    if kind == "jsonl":
        frames = [_json_rows(text) for text, _ in texts]
        rows = pl.concat(frames, how="diagonal")
        owners = _owners(chosen, [len(frame) for frame in frames], file_date, interval)
        return Look(files, kind, None, rows.columns, encoding, rows, file_date, interval, owners)
    delimiter = sniff_delimiter(texts[0][0])
    records = [_records(text, delimiter) for text, _ in texts]
    kind = "tsv" if delimiter == "\t" else "csv"
    body = [record for each in records for record in each[1:]]
    header = sniff_header(records[len(chosen) // 2], body)
    width = len(header) if header else _most_common_width(body)
    usable = [[record for record in (each[1:] if header else each) if len(record) == width] for each in records]
    data = [record for each in usable for record in each]
    if not data:
        raise InputError("no row to look at", expected=f"rows of {width} fields below the header", found="none")
    names = header or [f"column_{number}" for number in range(1, width + 1)]
    frame = pl.DataFrame(data, schema={str(i): pl.String for i in range(width)}, orient="row")
    frame.columns = _distinct(names)
    stored = delimiter if delimiter not in (",", "\t") else None
    owners = _owners(chosen, [len(each) for each in usable], file_date, interval)
    return Look(files, kind, stored, header, encoding, frame, file_date, interval, owners)


def _owners(
    files: Sequence[SourceFile], rows: Sequence[int], pattern: str | None, interval: Interval | None
) -> list[str | None] | None:
    """The interval that each row's file is of, where files' names tell."""
    if pattern is None or interval is None:
        return None
    names = [file_interval(file.path, pattern, interval) for file in files]
    return [name for name, count in zip(names, rows, strict=True) for _ in range(count)]


def date_in_names(files: Sequence[SourceFile]) -> tuple[str | None, Interval | None]:
    """The strptime pattern of a date that all files carry in their names, and the interval it stands for."""
    names = [PurePosixPath(file.path).name for file in files]
    for pattern, expression, interval in DATE_PATTERNS:
        if all(re.search(expression, name) for name in names):
            return pattern, interval
    return None, None


def sniff_format(file: SourceFile) -> Format:
    """Parquet by its magic bytes, JSON lines by a first `{`, else delimited text."""
    system, path, _ = filesystem(file.path)
    with system.open_input_stream(path, compression=None) as stream:
        magic = stream.read(4)
    if magic == b"PAR1":
        return "parquet"
    text, _ = head_text(file, 4096)
    return "jsonl" if text.lstrip().startswith("{") else "csv"


def head_text(file: SourceFile, limit: int = SAMPLE_BYTES) -> tuple[str, str]:
    """The first whole lines of a file, decompressed, and the encoding that reads them.

    Raises InputError where the bytes are not text.
    """
    system, path, _ = filesystem(file.path)
    raw: IO[Any] = system.open_input_stream(path, compression=None)
    openers: dict[str, Callable[[IO[Any]], IO[Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # type: ignore[dict-item]
    opener = openers.get(PurePosixPath(path).suffix)
    data = b""
    try:
        stream: Any = opener(raw) if opener else raw
        while len(data) < limit and (chunk := stream.read1(1 << 20)):  # `read` would lose what precedes a broken end
            data += chunk
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if not data:
            raise InputError(f"can't decompress {file.path}", found=str(error)) from None
    if b"\0" in data[:65536]:
        raise InputError(f"{file.path} is not text", expected="CSV, TSV, JSON lines or Parquet", found="NUL bytes")
    data = data[: data.rfind(b"\n") + 1] or data
    for encoding in ("utf-8", "latin-1"):
        try:
            return data.decode(encoding).removeprefix("\ufeff"), encoding
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 reads all bytes")


def sniff_delimiter(text: str) -> str:
    """The delimiter that cuts the first lines into most fields, equally many in each.

    >>> sniff_delimiter("a;b;c\\n1;2,5;3\\n")
    ';'
    """
    lines = text.splitlines()[:200]

    def merit(delimiter: str) -> tuple[float, int]:
        widths = [len(record) for record in csv.reader(lines, delimiter=delimiter)]
        width = _most_common_width([[""] * each for each in widths])
        return (sum(each == width for each in widths) / max(1, len(widths)) if width > 1 else 0.0, width)

    return max(DELIMITERS, key=merit)


def sniff_header(first_file: Sequence[Sequence[str]], body: Sequence[Sequence[str]]) -> list[str] | None:
    """The header, or None where the first record looks like the others.

    A header's cells are all filled, distinct and no numbers, and hardly any of them is a value of its own column.

    >>> sniff_header([["age", "city"], ["39", "Oslo"]], [["39", "Oslo"]])
    ['age', 'city']
    """
    if not first_file:
        return None
    first = [cell.strip() for cell in first_file[0]]
    if not all(first) or len(set(first)) < len(first) or any(_is_number(cell) for cell in first):
        return None
    same_width = [record for record in body if len(record) == len(first)]
    seen = sum(any(record[i].strip() == cell for record in same_width) for i, cell in enumerate(first))
    return list(first_file[0]) if seen <= len(first) // 5 else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _records(text: str, delimiter: str) -> list[list[str]]:
    return [record for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if record]


def _most_common_width(records: Sequence[Sequence[str]]) -> int:
    widths = [len(record) for record in records]
    return max(set(widths), key=widths.count) if widths else 0


def _distinct(names: Sequence[str]) -> list[str]:
    return [name if name not in names[:i] else f"{name}_{i + 1}" for i, name in enumerate(names)]


def _json_rows(text: str) -> pl.DataFrame:
    rows: list[dict[str, str | None]] = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            rows.append({key: None if each is None else _text(each) for key, each in record.items()})
    if not rows:
        raise InputError("no row to look at", expected="one JSON object a line", found="none")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parquet_rows(file: SourceFile) -> pl.DataFrame:
    system, path, _ = filesystem(file.path)
    with system.open_input_file(path) as stream:
        parquet = pq.ParquetFile(stream)
        batch = next(parquet.iter_batches(batch_size=50_000), None)
    if batch is None:
        raise InputError(f"{file.path} has no rows")
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.all().cast(pl.String, strict=False))
