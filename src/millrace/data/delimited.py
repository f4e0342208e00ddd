"""csv and tsv: blocks of whole records flow in, string columns under the pipeline's names flow out.

A sound block is parsed by the kernels (`millrace.data.native`). Of any other, flawed records are taken out first, and
Arrow parses the rest in one call. Either names the records with too few or too many fields.
"""

from __future__ import annotations

import csv
import difflib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from millrace.buffers import no_rows, row_numbers
from millrace.data import native
from millrace.data.bytestream import plain_chunks
from millrace.data.records import Block, DamagedStream, Dialect, record_blocks, scan
from millrace.data.split import TEXT_LIMIT, BadRow, RawBatch, Split
from millrace.data.textfile import encoding_name, sound_records, text_chunks
from millrace.errors import InputError, UncertainCut
from millrace.spec import Pipeline

HEADER_LIMIT = 1 << 20
HEADER_CHUNK = 1 << 14


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
        header, _ = read_header(split.path, file, pipeline)
        names = match_header(pipeline, split.path, header or b"")
    chunks = text_chunks(split.path, file, encoding, split.start, split.length)
    if pipeline.source.header and split.start == 0:
        header, _, chunks = split_header(chunks, dialect)
        if header is not None:
            names = match_header(pipeline, split.path, header)
    parser = _Parser(pipeline, names, wanted, types)
    row = split.first_row
    for block in record_blocks(chunks, dialect):
        if split.guessed and block.scanned is None:
            raise UncertainCut("a split may begin or end inside a record", found=str(split))
        found, count = parser.parse(block, row, encoding)
        row += count
        if found.batch.num_rows or found.bad:
            yield found


def read_header(path: str, file: Any, pipeline: Pipeline) -> tuple[bytes | None, int]:
    """The first record of a plain file, and the offset behind it and a byte order mark."""
    file.seek(0)
    mark = len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
    header, behind, _ = split_header(plain_chunks(file, mark, None, HEADER_CHUNK), dialect_of(pipeline))
    return header, mark + behind


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
        self.schema = pa.schema([(name, pa.string()) for name in self.wanted])
        self.types = {name: types.get(name, pa.string()) if name in self.wanted else None for name in self.names}

    def parse(self, block: Block, first_row: int, encoding: str) -> tuple[RawBatch, int]:
        """The batch of a block, and how many records the block holds."""
        sound = sound_records(block, first_row, encoding)
        found = self._typed(sound.text, block) if sound.text is block.data else None
        if found is not None:
            batch, ragged, trimmed = found
        else:
            (batch, ragged), trimmed = self._arrow(sound.text), frozenset()
        parsed = batch.num_rows + len(ragged)
        if sound.numbers is None:
            numbers = np.arange(first_row, first_row + parsed)
            count = parsed
        else:
            numbers, count = sound.numbers, sound.count or 0
        if len(numbers) != parsed:
            raise AssertionError(f"{parsed} records parsed of {len(numbers)} found")
        records = np.arange(parsed)
        bad = sound.bad
        if ragged:
            records = np.delete(records, [number - 1 for number, _ in ragged])
            bad = [*bad, *(BadRow(int(numbers[number - 1]), "ragged", text) for number, text in ragged)]
            bad.sort(key=lambda row: row.row)
        written = None if found is None else lambda rows: self._written(block, records[rows])
        return RawBatch(batch, row_numbers(numbers[records]), bad, trimmed, written), count

    def _written(self, block: Block, records: NDArray[np.int64]) -> pa.RecordBatch:
        """Some records of a block as text."""
        starts, ends = block.bounds()
        return self._arrow(b"".join(block.data[starts[record] : ends[record]] for record in records))[0]

    def _typed(self, text: bytes, block: Block) -> tuple[pa.RecordBatch, list[tuple[int, str]], frozenset[str]] | None:
        """The batch by the kernels, where they read this text: with it the ragged records, and the trimmed columns.

        A column with a cell that isn't plainly of its type stays text, in this block and those behind it.
        """
        if block.scanned is None or not self.wanted:
            return None
        dialect = (self.dialect.delimiter, self.dialect.quote)
        found = native.parse(text, block.scanned, dialect, self.types, self.null_values)
        if found is None:
            return None
        columns, trimmed = found.columns, found.trimmed
        unread = [name for name, column in columns.items() if column is None]
        if unread:
            self.types |= dict.fromkeys(unread, pa.string())
            again = {name: pa.string() if name in unread else None for name in self.names}
            more = native.parse(text, block.scanned, dialect, again, self.null_values)
            assert more is not None, "any cell is text"
            columns, trimmed = columns | more.columns, trimmed | more.trimmed
        batch = pa.RecordBatch.from_arrays([columns[name] for name in self.wanted], names=self.wanted)
        ragged = [
            (number, _ragged(cells, len(self.names), text[begin:end].decode()))
            for number, cells, begin, end in found.ragged
        ]
        return batch, ragged, trimmed

    def _arrow(self, text: bytes) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
        """The batch of some sound records as text, and (number, text) of those with another number of fields."""
        if not text:
            return no_rows(self.schema), []
        ragged: list[tuple[int, str]] = []

        def note(row: Any) -> str:
            ragged.append((row.number, _ragged(row.actual_columns, row.expected_columns, row.text)))
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
                column_types=dict.fromkeys(self.names, pa.string()),
                include_columns=self.wanted or self.names[:1],
                null_values=self.null_values,
                strings_can_be_null=bool(self.null_values),
                quoted_strings_can_be_null=True,
                check_utf8=False,  # done for whole records before
            ),
        )
        return _one_batch(table, self.schema), ragged


def _one_batch(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        chunked.chunk(0) if chunked.num_chunks == 1 else pa.concat_arrays(chunked.chunks)
        for chunked in (table.column(name) for name in schema.names)
        if chunked.num_chunks
    ]
    if len(columns) < len(schema):
        return no_rows(schema)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _ragged(cells: int, expected: int, text: str) -> str:
    return f"[{cells} fields, not {expected}] {text[:TEXT_LIMIT]}"
