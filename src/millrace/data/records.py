"""Where records of delimited text begin and end: chunks of bytes flow in, blocks of whole records flow out.

A quote opens a field only at the field's beginning, as in RFC 4180, the csv module and Arrow; elsewhere it is a letter.
A quoted field must end with a quote before a delimiter, a line end or the end of the file. A record that breaks this,
or whose quoted field makes it longer than `MAX_RECORD`, loses its first physical line (reason ``unbalanced_quotes``),
and reading goes on with the next line, so that one stray quote never swallows a file. The outcome doesn't depend on
how the bytes were cut into chunks: the planner and every reader agree on each boundary and number.

Line ends are LF, CR LF, and a CR alone. A line without a single character is not a record.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from millrace.data import native

MAX_RECORD = 16 << 20
"""Bytes of the longest record that is read; a longer one is unreadable (reason ``too_long``)."""

LF, CR = 10, 13
Positions = NDArray[np.int64]
NONE: Positions = np.empty(0, np.int64)


class DamagedStream(Exception):
    """The bytes of a file end or break too early: `reason` is truncated or corrupt. All bytes before were given."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Dialect:
    """The delimiter and the quote, one byte each; no quote where the format has none (JSON lines)."""

    delimiter: int = 44
    quote: int | None = 34


@dataclass(frozen=True)
class Flaw:
    """A piece of a block that isn't a readable record, and what to say of it beside its text."""

    start: int
    end: int
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Block:
    """Whole records: `data` begins and ends at record boundaries; `toggles` are the quotes that open and close fields;
    `flaws` are the records that must not be parsed; `length` is the number of bytes that the block stands for, where
    that isn't its data's; `scanned` is what the kernels know of sound text, instead of toggles."""

    data: bytes
    toggles: Positions = field(default_factory=lambda: NONE)
    flaws: tuple[Flaw, ...] = ()
    length: int | None = None
    scanned: native.Scanned | None = None

    @property
    def size(self) -> int:
        """The bytes of the stream that this block stands for."""
        return len(self.data) if self.length is None else self.length

    def bounds(self) -> tuple[Positions, Positions]:
        """Start and end of every record, its line end included; lines without a character are left out.

        >>> Block(b"a,b\\n\\nc,d").bounds()
        (array([0, 5]), array([4, 8]))
        """
        if not self.data:
            return NONE, NONE
        if self.scanned is not None:
            ends = self.scanned.ends
        else:
            ends = outside(line_ends(self.data, final=True), self.toggles)
        if not len(ends) or ends[-1] < len(self.data):
            ends = np.append(ends, len(self.data))
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
        first = np.frombuffer(self.data, np.uint8)[starts]
        full = (first != LF) & (first != CR)  # a blank line begins with its own line end
        return starts[full], ends[full]


def record_blocks(chunks: Iterable[bytes], dialect: Dialect) -> Iterator[Block]:
    """Blocks of whole records, about one for each chunk. The chunks begin at a record boundary.

    Where the chunks raise DamagedStream, the last block is what is left of the record that was cut, with that flaw.
    """
    source = iter(chunks)
    rest = b""
    while True:
        try:
            chunk = next(source, None)
        except DamagedStream as damage:
            yield Block(rest, NONE, (Flaw(0, len(rest), damage.reason, damage.detail),))
            return
        data = rest + chunk if chunk is not None else rest
        if data:
            block, used = scan(data, dialect, final=chunk is None)
            if used:
                yield block
            rest = data[used:]
            if chunk is not None and len(rest) > MAX_RECORD and not len(line_ends(rest, final=False)):
                rest = yield from _skip_line(rest, source)
        if chunk is None:
            return


def _skip_line(head: bytes, source: Iterator[bytes]) -> Generator[Block, None, bytes]:
    """Passes over a line that is too long to hold; returns the bytes behind it."""
    kept, last, length = head[:1024], head, len(head)
    reason, detail, behind = "too_long", "", b""
    try:
        for chunk in source:
            piece = last[-1:] + chunk  # a CR at the end may belong to this chunk's LF
            ends = line_ends(piece, final=False)
            if len(ends):
                length += int(ends[0]) - 1
                behind = piece[ends[0] :]
                break
            last, length = chunk or last, length + len(chunk)
    except DamagedStream as damage:
        reason, detail = damage.reason, damage.detail
    yield Block(kept, NONE, (Flaw(0, len(kept), reason, detail),), length)
    return behind


def scan(data: bytes, dialect: Dialect, *, final: bool) -> tuple[Block, int]:
    """The whole records at the beginning of `data`, and how many bytes they are. `final`: nothing follows."""
    scanned = native.scan(data, dialect.delimiter, dialect.quote, final=final)
    if scanned is not None and max(scanned.longest, len(data) - scanned.used) <= MAX_RECORD:
        return Block(data[: scanned.used], scanned=scanned), scanned.used
    quotes = positions(data, dialect.quote) if dialect.quote is not None else NONE
    if not len(quotes):
        used = len(data) if final else _last_line_end(data)
        return _flag_long(Block(data[:used])), used
    if len(quotes) % 2 and (final or len(data) > MAX_RECORD) or not _well_formed(data, quotes, dialect):
        block, used = _Walker(data, quotes, dialect, final).run()
        return _flag_long(block), used
    ends = outside(line_ends(data, final=final), quotes)
    used = len(data) if final else int(ends[-1]) if len(ends) else 0
    if used > MAX_RECORD and np.diff(ends, prepend=0, append=used).max() > MAX_RECORD:
        block, used = _Walker(data, quotes, dialect, final).run()
        return _flag_long(block), used
    return Block(data[:used], quotes[: np.searchsorted(quotes, used)]), used


def positions(data: bytes, code: int) -> Positions:
    """Where a byte occurs, ascending."""
    if code not in data:
        return NONE
    return np.flatnonzero(np.frombuffer(data, np.uint8) == code)


def line_ends(data: bytes, *, final: bool) -> Positions:
    """The offset behind every physical line end. A CR at the very end counts only if nothing follows.

    >>> line_ends(b"a\\r\\nb\\rc\\n", final=True)
    array([3, 5, 7])
    """
    ends = positions(data, LF) + 1
    returns = positions(data, CR)
    if len(returns):
        codes = np.frombuffer(data, np.uint8)
        following = np.append(codes, 0 if final else LF)[returns + 1]
        alone = returns[following != LF] + 1
        if len(alone):
            ends = np.sort(np.concatenate((ends, alone)))
    return ends


def outside(ends: Positions, toggles: Positions) -> Positions:
    """The line ends that are not inside quotes."""
    if not len(toggles):
        return ends
    return ends[np.searchsorted(toggles, ends) % 2 == 0]


def _last_line_end(data: bytes) -> int:
    """The offset behind the last line end, where more bytes follow."""
    used = data.rfind(b"\n") + 1
    alone = data.rfind(b"\r", used, len(data) - 1)  # not the last byte: its LF may be still to come
    return alone + 1 if alone >= 0 else used


def _flag_long(block: Block) -> Block:
    """The block with a flaw for each record that is longer than is read."""
    if len(block.data) <= MAX_RECORD:
        return block
    known = {flaw.start for flaw in block.flaws}
    starts, ends = block.bounds()
    spans = [(int(starts[i]), int(ends[i])) for i in np.flatnonzero(ends - starts > MAX_RECORD)]
    long = [Flaw(start, end, "too_long") for start, end in spans if start not in known]
    return Block(block.data, block.toggles, tuple(sorted([*block.flaws, *long], key=lambda flaw: flaw.start)))


def _well_formed(data: bytes, quotes: Positions, dialect: Dialect) -> bool:
    """Whether the 1st, 3rd, 5th… quote open a field (or are the second of a doubled pair), and the others close."""
    codes = np.frombuffer(data, np.uint8)
    openers, closers = quotes[0::2], quotes[1::2]
    edge = np.zeros(256, bool)
    edge[[dialect.delimiter, LF, CR]] = True
    begins = edge[codes[openers - 1]]
    if openers[0] == 0:
        begins[0] = True
    begins[1:] |= openers[1:] == closers[: len(openers) - 1] + 1
    if not begins.all():
        return False
    edge[dialect.quote] = True  # of a doubled pair, as the openers showed
    return bool(edge[codes[closers[closers + 1 < len(data)] + 1]].all())


class _Walker:
    """Walks over the quotes of one block; see the module's words for the rules."""

    def __init__(self, data: bytes, quotes: Positions, dialect: Dialect, final: bool) -> None:
        self.data, self.final = data, final
        self.quotes: list[int] = quotes.tolist()
        self.ends = line_ends(data, final=final)
        self.opens = bytes([dialect.delimiter, LF, CR])
        self.toggles: list[int] = []
        self.flaws: list[Flaw] = []
        self.record = 0  # start of the record that holds the quote at hand
        self.closed = 0  # behind the last quoted field

    def run(self) -> tuple[Block, int]:
        index, count = 0, len(self.quotes)
        while index < count:
            opening = self.quotes[index]
            if opening < self.closed or (opening > 0 and self.data[opening - 1] not in self.opens):
                index += 1  # a letter in an unquoted field
                continue
            self._advance(opening)
            verdict, behind = self._close(index)
            if verdict == "wait" or (verdict == "broken" and not self._drop_line()):
                return self._result(self.record)
            if verdict == "broken":
                index = int(np.searchsorted(self.quotes, self.closed))
                continue
            self.toggles += [opening, self.quotes[behind - 1]]
            self.closed = self.quotes[behind - 1] + 1
            index = behind
        self._advance(len(self.data))
        return self._result(len(self.data) if self.final else self.record)

    def _advance(self, position: int) -> None:
        """Moves the record's start behind the last line end between the last quoted field and `position`."""
        last = int(np.searchsorted(self.ends, position, side="right")) - 1
        if last >= 0 and self.ends[last] > self.closed:
            self.record = int(self.ends[last])

    def _close(self, index: int) -> tuple[str, int]:
        """What becomes of the field that quote `index` opens: closed (and the index behind), broken, or wait."""
        behind, count, size = index + 1, len(self.quotes), len(self.data)
        while behind + 1 < count and self.quotes[behind + 1] == self.quotes[behind] + 1:
            behind += 2  # doubled
        if behind >= count:
            broken = self.final or size - self.record > MAX_RECORD
            return ("broken" if broken else "wait"), behind
        close = self.quotes[behind]
        if close + 1 == size and not self.final:
            return ("broken" if close - self.record > MAX_RECORD else "wait"), behind
        if close - self.record > MAX_RECORD or (close + 1 < size and self.data[close + 1] not in self.opens):
            return "broken", behind
        return "closed", behind + 1

    def _drop_line(self) -> bool:
        """The record's first physical line is unreadable, a new record begins behind it; False if it hasn't ended."""
        following = int(np.searchsorted(self.ends, self.record, side="right"))
        if following == len(self.ends) and not self.final:
            return False
        end = int(self.ends[following]) if following < len(self.ends) else len(self.data)
        while self.toggles and self.toggles[-1] >= self.record:
            self.toggles.pop()
        reason = "too_long" if end - self.record > MAX_RECORD else "unbalanced_quotes"
        self.flaws.append(Flaw(self.record, end, reason))
        self.record = self.closed = end
        return True

    def _result(self, used: int) -> tuple[Block, int]:
        toggles = np.array([toggle for toggle in self.toggles if toggle < used], np.int64)
        return Block(self.data[:used], toggles, tuple(self.flaws)), used
