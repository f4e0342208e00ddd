"""What the readers of text share: a raw file's chunks as text, flawed records told apart from sound ones."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.data import native
from millrace.data.bytestream import (
    WIDE,
    codec_of,
    decompressed_chunks,
    gathered_chunks,
    plain_chunks,
    transcoded_chunks,
)
from millrace.data.records import Block, DamagedStream, Positions, positions
from millrace.data.split import TEXT_LIMIT, BadRow
from millrace.errors import InputError

HEAD = 8192
TAR = b"ustar"  # at byte 257
CONTROL = bytes({*range(32)} - {9, 10, 12, 13, 27})
"""Control characters that text does not hold: all but tab, line ends, form feed and escape."""
BINARY = {
    TAR: ("a tar archive", "unpack it"),
    b"PAR1": ("a Parquet file", "set `source.format: parquet`"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack or export it"),
    b"\x7fELF": ("a program", None),
    b"%PDF": ("a PDF document", None),
    b"\x89PNG": ("a picture", None),
    b"ARROW1": ("an Arrow file", None),
    b"ORC": ("an ORC file", None),
    b"SQLite format 3": ("a database", None),
}
WIDE_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def encoding_name(encoding: str) -> str:
    """Python's name of an encoding; a byte order mark is always stripped, so utf-8-sig is utf-8.

    >>> encoding_name("Latin1"), encoding_name("UTF-8-SIG")
    ('iso8859-1', 'utf-8')
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise InputError("unknown encoding", expected="a name such as utf-8 or latin-1", found=repr(encoding)) from None
    return "utf-8" if name == "utf-8-sig" else name


def is_whole(path: str, file: Any, encoding: str) -> bool:
    """Whether a text file can't be read from its middle: compressed, or of more than one byte a character."""
    file.seek(0)
    return codec_of(path, file.read(8)) is not None or encoding_name(encoding) in WIDE


def text_chunks(path: str, file: Any, encoding: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of a text file from a record boundary on, without a byte order mark; UTF-16 and UTF-32 as UTF-8.

    Raises InputError where the file is no text; DamagedStream as `bytestream` does.
    """
    file.seek(0)
    codec = codec_of(path, file.read(8))
    chunks = decompressed_chunks(file, codec) if codec is not None else plain_chunks(file, start, length)
    name = encoding_name(encoding)
    chunks = transcoded_chunks(chunks, name) if name in WIDE else chunks
    chunks = gathered_chunks(chunks) if codec is not None or name in WIDE else chunks
    return _from_beginning(path, chunks, name) if start == 0 or codec is not None else chunks


def _from_beginning(path: str, chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The chunks without a byte order mark; InputError where they are no text."""
    head = b""
    damage: DamagedStream | None = None
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= HEAD:
                break
    except DamagedStream as error:
        damage = error
    refuse_binary(path, head[:HEAD], encoding)
    yield head.removeprefix(codecs.BOM_UTF8)
    if damage is not None:
        raise damage
    yield from chunks


def refuse_binary(path: str, head: bytes, encoding: str) -> None:
    """Raises InputError where the first bytes of a text file are those of something else."""
    for magic, (what, hint) in BINARY.items():
        if head.startswith(magic) or (magic == TAR and head[257:].startswith(TAR)):
            raise InputError(f"not a text file: {path}", expected="text", found=what, hint=hint)
    if encoding not in WIDE:
        for mark, wide in WIDE_MARKS.items():
            if head.startswith(mark):
                hint = f"set `source.encoding: {wide}`"
                raise InputError(f"not {encoding}: {path}", expected=encoding, found=f"{wide} text", hint=hint)
    nuls, control = head.count(0), len(head) - len(head.translate(None, CONTROL))
    if nuls > max(64, 0.1 * len(head)) or (control > max(64, 0.05 * len(head)) and not _is_utf8(head[:-4])):
        share = f"{100 * control / len(head):.0f} % control bytes in the first {len(head)}"
        hint = "if it is UTF-16, set `source.encoding: utf-16`" if nuls > 0.2 * len(head) else None
        raise InputError(f"not a text file: {path}", expected=f"{encoding} text", found=share, hint=hint)


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32).tobytes())
    try:
        pa.StringArray.from_buffers(1, offsets, pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@dataclass(frozen=True)
class SoundRecords:
    """The sound records of a block as UTF-8 text, and the flawed ones.

    `numbers` are the numbers of the sound records, None where all of them are sound (then they follow each other and
    `count` is not known yet).
    """

    text: bytes
    numbers: NDArray[np.int64] | None
    bad: list[BadRow]
    count: int | None


def sound_records(block: Block, first_row: int, encoding: str) -> SoundRecords:
    """Tells the records that can be parsed from those that can't: NUL bytes, wrong encoding, the block's own flaws."""
    data = block.data
    if not block.flaws and not (block.scanned.has(native.NUL) if block.scanned else 0 in data):
        ascii_only = block.scanned is not None and not block.scanned.has(native.WIDE)
        text = data if ascii_only else _as_utf8(data, encoding)
        if text is not None:
            return SoundRecords(text, None, [], None)
    for flaw in block.flaws:
        if flaw.reason in ("truncated", "corrupt"):  # what is left of the record at which the stream broke
            broken = BadRow(first_row, flaw.reason, excerpt(data, encoding, flaw.detail))
            return SoundRecords(b"", np.empty(0, np.int64), [broken], 1)
    starts, ends = block.bounds()
    reasons = {_record_at(starts, flaw.start): flaw.reason for flaw in block.flaws}
    nul = "encoding" if encoding in WIDE else "nul_byte"
    for position in positions(data, 0):
        reasons.setdefault(_record_at(starts, int(position)), nul)
    for position in _undecodable(data, starts, ends, encoding):
        reasons.setdefault(_record_at(starts, position), "encoding")
    sound = np.ones(len(starts), bool)
    sound[list(reasons)] = False
    pieces = [data[start:end] for start, end in _runs(starts, ends, sound)]
    text = _as_utf8(b"".join(pieces), encoding)
    assert text is not None
    bad = [
        BadRow(first_row + index, reason, excerpt(data[int(starts[index]) : int(ends[index])], encoding))
        for index, reason in sorted(reasons.items())
    ]
    return SoundRecords(text, np.flatnonzero(sound) + first_row, bad, len(starts))


def excerpt(data: bytes, encoding: str, detail: str = "") -> str:
    """The beginning of a record's text for people, with what else is known of its flaw in brackets before it."""
    name = "utf-8" if encoding in WIDE else encoding
    text = data[: 4 * TEXT_LIMIT].decode(name, "replace").rstrip("\r\n").replace("\0", "␀")[:TEXT_LIMIT]
    return f"[{detail}] {text}".rstrip() if detail else text


def _record_at(starts: Positions, position: int) -> int:
    return max(0, int(np.searchsorted(starts, position, side="right")) - 1)


def _runs(starts: Positions, ends: Positions, sound: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Byte ranges of neighbouring sound records."""
    edges = np.diff(np.concatenate(([0], sound.astype(np.int8), [0])))
    for first, behind in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        yield int(starts[first]), int(ends[behind - 1])


def _as_utf8(data: bytes, encoding: str) -> bytes | None:
    """The text as UTF-8, None where a byte of it isn't valid."""
    if encoding == "utf-8" or encoding in WIDE:
        return data if _is_utf8(data) else None
    if data.isascii():
        return data
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError:
        return None


def _undecodable(data: bytes, starts: Positions, ends: Positions, encoding: str) -> Iterator[int]:
    """A position of a wrong byte in each record that has one."""
    decode = codecs.getdecoder("utf-8" if encoding in WIDE else encoding)
    view = memoryview(data)
    begin = 0
    while begin < len(data):
        try:
            decode(view[begin:])
        except UnicodeDecodeError as error:
            position = begin + error.start
            yield position
            begin = int(ends[_record_at(starts, position)]) if len(ends) else len(data)
            if begin <= position:
                begin = position + 1
        else:
            return
