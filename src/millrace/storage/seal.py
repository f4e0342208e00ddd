"""The seal of a part: a checksum of its Parquet footer, in the file itself.

Pages carry a CRC each; the footer, which says where columns lie, of what type they are and how many rows there are,
carries none. A flipped bit there may change values without a word (63 of 2,650 did), so that a part holds, just before
its footer, a mark and the xxh64 of all bytes from the footer to the file's end. Parquet readers look at the end
and at what the footer points to: they never see it.
"""

from __future__ import annotations

import pyarrow as pa
import xxhash

from millrace.errors import CorruptData

MARK = b"\x8fMRseal\n"
LENGTH = len(MARK) + 8
TAIL = 8 * 1024  # bytes read at once: more than most footers have, and few beside a small part


def sealed(ending: bytes) -> bytes:
    """The last bytes that a Parquet writer put out, the footer among them, with the seal before the footer."""
    start = len(ending) - _footer_length(ending)
    footer = ending[start:]
    return ending[:start] + MARK + xxhash.xxh64_digest(footer) + footer


def check_seal(file: pa.NativeFile, path: str) -> bytes:
    """The last bytes of an open part, the footer among them. Raises CorruptData where that isn't what was written.

    Files of other writers have no seal, and pass.
    """
    size = file.size()
    tail = file.read_at(min(size, TAIL), max(0, size - TAIL))
    wanted = _footer_length(tail) + LENGTH
    if len(tail) < wanted <= size:
        tail = file.read_at(wanted, size - wanted)
    file.seek(0)  # for whoever reads on
    place = tail.rfind(MARK)
    if place < 0:
        return tail
    footer = tail[place + LENGTH :]
    found = xxhash.xxh64_digest(footer)
    expected = tail[place + len(MARK) : place + LENGTH]
    if found != expected:
        hint = "the disk may be failing, or the file was changed: run the stage again with --force"
        raise CorruptData(
            "the footer of a file has changed since it was written",
            expected=expected.hex(),
            found=f"{found.hex()} in {path}",
            hint=hint,
        )
    return tail


def _footer_length(ending: bytes) -> int:
    """Bytes of the footer, its length and the magic word behind it."""
    return int.from_bytes(ending[-8:-4], "little") + 8
