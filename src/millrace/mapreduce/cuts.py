"""Where a plain text file is cut: the file flows in, offsets of record boundaries and record numbers flow out.

The file is read in pieces side by side, each from the first line end behind its nominal start. Such a start may lie in
a quoted field; then the piece before it doesn't end between two records, and the file is read once more in its order.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.cores import available_cores
from millrace.data import native
from millrace.data.bytestream import plain_chunks
from millrace.data.delimited import dialect_of, match_header, read_header
from millrace.data.jsonlines import LINES
from millrace.data.records import MAX_RECORD, Block, Dialect, Positions, record_blocks
from millrace.data.split import OpenFile
from millrace.data.textfile import HEAD, encoding_name, refuse_binary
from millrace.spec import Pipeline

PIECE = 8 << 20
LINE = 1 << 16  # bytes within which the next line end is looked for

Cut = tuple[int, int]
"""The offset of a cut, and the number of the first record behind it."""


@dataclass(frozen=True)
class Piece:
    """Whole records of a file, and how many they are."""

    start: int
    end: int
    records: int


def find_cuts(path: str, size: int, pipeline: Pipeline, split_size: int, open_file: OpenFile) -> Iterator[Cut]:
    """Each cut is the first record boundary at least `split_size` bytes behind the one before it."""
    handle = open_file(path)
    dialect = _dialect(pipeline)
    try:
        first = _first_record(handle, path, pipeline)
        pieces = _pieces(path, first, size, dialect, open_file) if native.available() else None
        if pieces is not None:
            yield from _cuts_of_pieces(handle, pieces, dialect, split_size)
        else:
            yield from _cuts_in_order(plain_chunks(handle, first, size - first), first, dialect, split_size)
    finally:
        handle.close()


def guess_cuts(path: str, size: int, pipeline: Pipeline, split_size: int, open_file: OpenFile) -> list[int] | None:
    """Each cut is behind the first line end at least `split_size` bytes behind the one before it.

    Next to nothing is read. Such a line end may lie in a quoted field: whoever reads the splits must see that each
    begins and ends between two records. None where a line is too long to find its end so.
    """
    handle = open_file(path)
    cuts: list[int] = []
    try:
        first = _first_record(handle, path, pipeline)
        least = split_size
        while least < size:
            least = max(least, first + 1)  # never inside the header
            handle.seek(least - 1)
            behind = handle.read(LINE).find(b"\n") + 1
            if not behind:
                return None
            cuts.append(least - 1 + behind)
            least = cuts[-1] + split_size
    finally:
        handle.close()
    return [cut for cut in cuts if cut < size]


def _dialect(pipeline: Pipeline) -> Dialect:
    return LINES if pipeline.source.format == "jsonl" else dialect_of(pipeline)


def _first_record(handle: Any, path: str, pipeline: Pipeline) -> int:
    """The offset behind byte order mark and header, which must be the pipeline's."""
    handle.seek(0)
    head = handle.read(HEAD)
    refuse_binary(path, head, encoding_name(pipeline.source.encoding))
    if pipeline.source.format != "jsonl" and pipeline.source.header:
        header, behind = read_header(path, handle, pipeline)
        if header is not None:
            match_header(pipeline, path, header)
        return behind
    return len(BOM_UTF8) if head.startswith(BOM_UTF8) else 0


def _pieces(path: str, first: int, size: int, dialect: Dialect, open_file: OpenFile) -> list[Piece] | None:
    """The file in pieces of whole records; None where that isn't sure."""

    def piece(nominal: int) -> Piece | None:
        handle = open_file(path)
        try:
            handle.seek(nominal)
            data = handle.read(min(PIECE + LINE, size - nominal))
        finally:
            handle.close()
        start = 0 if nominal == first else data.find(b"\n") + 1
        last = nominal + PIECE >= size
        end = len(data) if last else data.find(b"\n", PIECE) + 1
        if end == 0 or (start == 0 and nominal != first):
            return None
        scanned = native.scan(data[start:end], dialect.delimiter, dialect.quote, final=True)
        if scanned is None or scanned.longest > MAX_RECORD or scanned.used < end - start:
            return None
        return Piece(nominal + start, nominal + end, scanned.records)

    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(piece, range(first, size, PIECE)))
    return None if any(each is None for each in found) else [each for each in found if each is not None]


def _cuts_of_pieces(handle: Any, pieces: Sequence[Piece], dialect: Dialect, split_size: int) -> Iterator[Cut]:
    row, start = 1, 0
    for piece in pieces:
        if piece.end >= start + split_size:
            handle.seek(piece.start)
            data = handle.read(piece.end - piece.start)
            scanned = native.scan(data, dialect.delimiter, dialect.quote, final=True)
            _, ends = Block(data, scanned=scanned).bounds()
            for cut in _cuts_of_block(ends, piece.start, row, start, split_size):
                start = cut[0]
                yield cut
        row += piece.records


def _cuts_in_order(chunks: Iterator[bytes], position: int, dialect: Dialect, split_size: int) -> Iterator[Cut]:
    row, start = 1, 0
    for block in record_blocks(chunks, dialect):
        _, ends = block.bounds()
        if block.length is None:
            for cut in _cuts_of_block(ends, position, row, start, split_size):
                start = cut[0]
                yield cut
        row += len(ends)
        position += block.size


def _cuts_of_block(ends: Positions, position: int, row: int, start: int, split_size: int) -> Iterator[Cut]:
    """The cuts in a block that begins at `position` with record `row`, by the ends of its records; `start` is the last
    cut before it."""
    taken = 0
    while taken < len(ends):
        index = max(taken, int(np.searchsorted(ends, start + split_size - position)))
        if index >= len(ends):
            return
        taken = index + 1
        start = position + int(ends[index])
        yield start, row + taken
