"""csv and tsv: blocks of whole records flow in, string columns under the pipeline's names flow out.

Flawed records are taken out of a block first; Arrow parses the others in one call, and names those with too few or too
many fields.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from millrace.data import native
from millrace.data.bytestream import WIDE
from millrace.data.records import Block, DamagedStream, Dialect, record_blocks, scan
from millrace.data.split import TEXT_LIMIT, BadRow, RawBatch, Split, row_numbers
from millrace.data.textfile import encoding_name, sound_records, text_chunks
from millrace.data.times import within_years
from millrace.errors import InputError
from millrace.spec import Pipeline

HEADER_LIMIT = 1 << 20


def dialect_of(pipeline: Pipeline) -> Dialect:
    """The delimiter and quote of a pipeline's csv or tsv files.

    Raises InputError where one of them is more than one byte.
    """
    quote = pipeline.source.quote
    for what, text in (("delimiter", pipeline.source.separator), ("quote", quote)):
        if len(text.encode()) > 1:
            raise InputError(f"{what} of {pipeline.name}", expected="one ASCII character", found=repr(text))
    return Dialect(ord(pipeline.source.separator), ord(quote) if quote else None)


def raw_name(pipeline: Pipeline, column: str) -> str:
    """A column's name in the raw files."""
    source = pipeline.columns[column].source
    return column if source is None else source


def read_delimited(
    split: Split, pipeline: Pipeline, file: Any, wanted: Sequence[str], types: Mapping[str, pa.DataType]
) -> Iterator[RawBatch]:
    """The records of one split of a csv or tsv file; `types` are those that columns may get at once.

    See `millrace.data.raw.read_split`.
    """
    encoding = encoding_name(pipeline.source.encoding)
    dialect = dialect_of(pipeline)
    names = list(pipeline.columns)
    if pipeline.source.header and split.start > 0:
        header, _, _ = split_header(text_chunks(split.path, file, encoding), dialect)
        names = match_header(pipeline, split.path, header or b"")
    chunks = text_chunks(split.path, file, encoding, split.start, split.length)
    if pipeline.source.header and split.start == 0:
        header, _, chunks = split_header(chunks, dialect)
        if header is not None:
            names = match_header(pipeline, split.path, header)
    parser = _Parser(pipeline, names, wanted, types)
    row = split.first_row
    for block in record_blocks(chunks, dialect):
        found, count = parser.parse(block, row, encoding)
        row += count
        if found.batch.num_rows or found.bad:
            yield found


def split_header(chunks: Iterator[bytes], dialect: Dialect) -> tuple[bytes | None, int, Iterator[bytes]]:
    """The first record that isn't a blank line, the offset behind it, and the chunks from there on.

    None and 0 where no record is whole before the stream ends or breaks; the chunks then are what is left of it.
    """
    data = b""
    last: bytes | DamagedStream | None = b""
    while isinstance(last, bytes) and len(data) <= 2 * HEADER_LIMIT:
        try:
            last = next(chunks, None)
        except DamagedStream as damage:
            last = damage
        data += last if isinstance(last, bytes) else b""
        bounds = first_record(data, dialect, final=last is None)
        if bounds is not None:
            return data[bounds[0] : bounds[1]], bounds[1], _chain(data[bounds[1] :], chunks, last)
    return None, 0, _chain(data, chunks, last)


def _chain(first: bytes, rest: Iterator[bytes], last: bytes | DamagedStream | None) -> Iterator[bytes]:
    if first:
        yield first
    if isinstance(last, DamagedStream):
        raise last
    if last is not None:
        yield from rest


def first_record(data: bytes, dialect: Dialect, *, final: bool) -> tuple[int, int] | None:
    """Start and end of the first record of some text, None where it isn't whole."""
    head = data[:HEADER_LIMIT]
    block, _ = scan(head, dialect, final=final or len(data) > len(head))
    starts, ends = block.bounds()
    return (int(starts[0]), int(ends[0])) if len(starts) else None


def match_header(pipeline: Pipeline, path: str, header: bytes) -> list[str]:
    """The pipeline's names of a file's columns, in the file's order. Raises InputError where they don't match."""
    fields = _fields(header, dialect_of(pipeline), encoding_name(pipeline.source.encoding))
    return match_columns(path, {raw_name(pipeline, name): name for name in pipeline.columns}, fields)


def _fields(header: bytes, dialect: Dialect, encoding: str) -> list[str]:
    """The cells of a header line."""
    text = header.decode("utf-8" if encoding.startswith(("utf-16", "utf-32")) else encoding, "replace").rstrip("\r\n")
    if dialect.quote is None:
        return text.split(chr(dialect.delimiter))
    return next(csv.reader([text], delimiter=chr(dialect.delimiter), quotechar=chr(dialect.quote)))


def match_columns(path: str, expected: dict[str, str], fields: Sequence[str]) -> list[str]:
    """Maps the column names found in a file (`fields`) by `expected`: raw name → pipeline name.

    Raises InputError naming the file and the columns that are missing, too many, or there twice.
    """
    names = [field if field in expected else field.strip() for field in fields]
    missing = [name for name in expected if name not in names]
    unknown = [name for name in names if name not in expected]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not missing and not unknown and not twice:
        return [expected[name] for name in names]
    if missing:
        close = difflib.get_close_matches(missing[0], unknown or names, n=1, cutoff=0.6)
        hint = f"{missing[0]!r} may be {close[0]!r}: set `source: {close[0]}` for the column" if close else None
        if len(missing) == len(expected) and len(fields) == len(expected) and not close:
            hint = "if the file has no header line, set `source.header: false`"
        message = f"missing column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing[:5]))} in {path}"
    elif unknown:
        entry = f"{unknown[0]}: {{type: string, role: ignore}}"
        hint = f"add it to `columns`; where it isn't needed, as `{entry}`, and in `clean` as `{unknown[0]}: drop`"
        message = f"column{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown[:5]))} too many in {path}"
    else:
        hint = "names of columns must differ"
        message = f"column {twice[0]!r} is there twice in {path}"
    raise InputError(message, expected=_listed(list(expected)), found=_listed(list(fields)), hint=hint)


def _listed(names: Sequence[str]) -> str:
    """At most twelve names.

    >>> _listed(["a", "b"])
    "2 columns 'a', 'b'"
    """
    shown = ", ".join(repr(name[:60]) for name in names[:12])
    return f"{len(names)} columns {shown}{', …' if len(names) > 12 else ''}"


class _Parser:
    """Parses blocks of one file: pinned column names, and cells as text or, where all can be read so, as `types`."""

    def __init__(
        self, pipeline: Pipeline, names: Sequence[str], wanted: Sequence[str], types: Mapping[str, pa.DataType]
    ) -> None:
        self.names, self.wanted = list(names), list(wanted)
        self.null_values = pipeline.source.null_values
        self.dialect = dialect_of(pipeline)
        self.text = pa.schema([(name, pa.string()) for name in self.wanted])
        self.typed = pa.schema([(name, types.get(name, pa.string())) for name in self.wanted])
        whole = [name for name in self.wanted if pa.types.is_integer(self.typed.field(name).type)]
        self.no_integers = pa.schema([(f.name, pa.string() if f.name in whole else f.type) for f in self.typed])

    def parse(self, block: Block, first_row: int, encoding: str) -> tuple[RawBatch, int]:
        """The batch of a block, and how many records the block holds."""
        sound = sound_records(block, first_row, encoding)
        trimmed = sound.numbers is None and _is_trimmed(block, encoding)
        batch, ragged = self._typed(sound.text) if trimmed else self._arrow(sound.text, self.text)
        parsed = batch.num_rows + len(ragged)
        if sound.numbers is None:
            numbers = np.arange(first_row, first_row + parsed)
            count = parsed
        else:
            numbers, count = sound.numbers, sound.count or 0
        if len(numbers) != parsed:
            raise AssertionError(f"{parsed} records parsed of {len(numbers)} found")
        keep = np.ones(parsed, bool)
        keep[[number - 1 for number, _ in ragged]] = False
        bad = [BadRow(int(numbers[number - 1]), "ragged", text) for number, text in ragged]
        bad = sorted([*sound.bad, *bad], key=lambda row: row.row)
        written = None if batch.schema == self.text else functools.cache(lambda: self._arrow(sound.text, self.text)[0])
        return RawBatch(batch, row_numbers(numbers[keep]), bad, trimmed, written), count

    def _typed(self, text: bytes) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
        """The batch with the types that its columns may have, or with text where a cell of it can't be read so."""
        schema = self.typed
        if self.typed != self.no_integers and (b"0x" in text or b"0X" in text):  # Arrow would read 0x1f as a number
            schema = self.no_integers
        if schema != self.text:
            with contextlib.suppress(pa.ArrowInvalid):
                batch, ragged = self._arrow(text, schema)
                if all(_as_convert_reads(column) for column in batch.columns):
                    return batch, ragged
        return self._arrow(text, self.text)

    def _arrow(self, text: bytes, schema: pa.Schema) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
        """The batch of some sound records, and (number, text) of those with another number of fields."""
        if not text:
            return _one_batch(schema.empty_table(), schema), []
        ragged: list[tuple[int, str]] = []

        def note(row: Any) -> str:
            cells = f"[{row.actual_columns} fields, not {row.expected_columns}] "
            ragged.append((row.number, cells + row.text[:TEXT_LIMIT]))
            return "skip"

        quote = chr(self.dialect.quote) if self.dialect.quote is not None else False
        table = pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=self.names),
            parse_options=pacsv.ParseOptions(
                delimiter=chr(self.dialect.delimiter),
                quote_char=quote,
                double_quote=bool(quote),
                newlines_in_values=bool(quote),
                invalid_row_handler=note,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()) | {field.name: field.type for field in schema},
                include_columns=self.wanted or self.names[:1],
                null_values=self.null_values,
                strings_can_be_null=bool(self.null_values),
                quoted_strings_can_be_null=True,
                check_utf8=False,  # done for whole records before
            ),
        )
        return _one_batch(table, schema), ragged


def _one_batch(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        chunked.chunk(0) if chunked.num_chunks == 1 else pa.concat_arrays(chunked.chunks)
        for chunked in (table.column(name) for name in schema.names)
        if chunked.num_chunks
    ]
    if len(columns) < len(schema):
        return pa.RecordBatch.from_pylist([], schema=schema)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_trimmed(block: Block, encoding: str) -> bool:
    """Whether it is known that no cell of a block has white space at an end."""
    scanned = block.scanned
    if scanned is None or scanned.has(native.PADDED):
        return False
    return encoding == "utf-8" or encoding in WIDE or not scanned.has(native.WIDE)


def _as_convert_reads(values: pa.Array) -> bool:
    """Whether `millrace.data.convert` would read all these cells, and as these values."""
    if pa.types.is_floating(values.type):
        return bool(pc.all(pc.is_finite(values)).as_py() is not False)
    if pa.types.is_timestamp(values.type):
        return within_years(values) is values
    return True
