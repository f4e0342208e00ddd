"""The bytes of a raw file as chunks: a byte range of a plain file, or the whole of a compressed one, decompressed.

Every byte that can be had from a damaged file is given before `DamagedStream` says where it ends.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa

from millrace.data.records import DamagedStream

CHUNK = 8 << 20
COMPRESSED_CHUNK = 256 << 10  # at the most, gzip makes 1,000 times as many bytes of it
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def codec_of(path: str, head: bytes) -> str | None:
    """How a file is compressed: by its first bytes, or else by its name (then the file is corrupt).

    >>> codec_of("clicks.csv.gz", b"a,b"), codec_of("clicks.csv", bytes([31, 139])), codec_of("clicks.csv", b"a,b")
    ('gzip', 'gzip', None)
    """
    for magic, codec in MAGIC.items():
        if head.startswith(magic):
            return codec
    return next((codec for suffix, codec in SUFFIXES.items() if head and path.lower().endswith(suffix)), None)


def plain_chunks(file: Any, start: int, length: int | None, size: int = CHUNK) -> Iterator[bytes]:
    """The bytes from `start` on, `length` of them, or all, `size` at a time.

    Raises DamagedStream (truncated) where the file is shorter than it was when the split was planned.
    """
    file.seek(start)
    left = length
    while left is None or left > 0:
        chunk = file.read(size if left is None else min(size, left))
        if not chunk:
            if left:
                raise DamagedStream("truncated", f"the file ends {left} bytes early")
            return
        if left is not None:
            left -= len(chunk)
        yield chunk


def decompressed_chunks(file: Any, codec: str) -> Iterator[bytes]:
    """The decompressed bytes of a whole file; members one after the other, as gzip and others write them.

    Raises DamagedStream: truncated where the file ends inside a member, corrupt where the bytes are wrong.
    """
    file.seek(0)
    if codec == "zstd":
        yield from _arrow_chunks(file, codec)
        return
    member: _Decompressor | None = None
    while data := file.read(COMPRESSED_CHUNK):
        while data:
            if member is None:
                member = _new_member(codec)
            yield from _decompress(member, data, codec)
            data = b""
            if member.eof:
                data, member = member.unused_data.lstrip(b"\0"), None
    if member is not None:
        raise DamagedStream("truncated", f"the {codec} stream ends inside")


def _new_member(codec: str) -> _Decompressor:
    if codec == "gzip":
        return zlib.decompressobj(31)
    return bz2.BZ2Decompressor() if codec == "bz2" else lzma.LZMADecompressor()


def _decompress(member: _Decompressor, data: bytes, codec: str) -> Iterator[bytes]:
    """What `data` decompresses to; on an error, byte by byte from the state before it, to give all there is."""
    before = member.copy() if codec == "gzip" else None  # type: ignore[attr-defined]
    try:
        out = member.decompress(data)
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError) as error:
        if before is not None:
            yield _salvage(before, data)
        raise DamagedStream("corrupt", f"not a sound {codec} stream: {error}") from None
    if out:
        yield out


def _salvage(member: Any, data: bytes) -> bytes:
    out = bytearray()
    for index in range(len(data)):
        try:
            out += member.decompress(data[index : index + 1])
        except zlib.error:
            break
    return bytes(out)


def _arrow_chunks(file: Any, codec: str) -> Iterator[bytes]:
    try:
        with pa.CompressedInputStream(file, codec) as stream:
            while chunk := stream.read(COMPRESSED_CHUNK):
                yield chunk
    except OSError as error:
        reason = "truncated" if "truncated" in str(error).lower() else "corrupt"
        raise DamagedStream(reason, f"not a sound {codec} stream: {error}") from None


def gathered_chunks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of about `CHUNK`, so that small pieces don't make small batches."""
    held: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if size >= CHUNK:
                yield b"".join(held)
                held, size = [], 0
    except DamagedStream as damage:
        yield b"".join(held)
        raise damage from None
    if held:
        yield b"".join(held)


def transcoded_chunks(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """UTF-16 or UTF-32 as UTF-8. A unit that isn't valid becomes a NUL, which marks its record as unreadable."""
    codecs.register_error("millrace-nul", _as_nul)
    decoder = codecs.getincrementaldecoder(encoding)("millrace-nul")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _as_nul(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\0", error.end
    raise error
