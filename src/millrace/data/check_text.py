"""Text judged by Python's own rules (regular expressions, strptime, JSON), on Arrow columns.

Great Expectations asks Python's `re` of every row. Here RE2, Arrow's engine, is asked of the whole batch wherever it
provably means the same — plain patterns on ASCII text without line ends — and Python of each distinct value elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

_ESCAPES = frozenset("dDwW.\\^$*+?()[]{}|/-")  # mean the same to both engines on ASCII text


def matches(text: pa.Array, pattern: str) -> pa.BooleanArray:
    """Whether `pattern` is found anywhere in each text (as Python's `re.search`); null where the text is null.

    >>> matches(pa.array(["a1", "b", None]), "^[a-z][0-9]$").to_pylist()
    [True, False, None]
    """
    if _is_plain(pattern) and _is_plain_text(text):
        return pc.match_substring_regex(text, pattern)
    found = re.compile(pattern).search
    return on_distinct(text, lambda value: found(value) is not None)


def parses_as_time(text: pa.Array, pattern: str) -> pa.BooleanArray:
    """Whether `datetime.strptime` reads each text by `pattern`; null where null.

    >>> parses_as_time(pa.array(["2018-02-28", "2018-02-30"]), "%Y-%m-%d").to_pylist()
    [True, False]
    """

    def parses(value: str) -> bool:
        try:
            datetime.strptime(value, pattern)
        except ValueError:
            return False
        return True

    return on_distinct(text, parses)


def parses_as_json(text: pa.Array) -> pa.BooleanArray:
    """Whether each text is a JSON document; null where null.

    >>> parses_as_json(pa.array(['{"a": 1}', "{a: 1}"])).to_pylist()
    [True, False]
    """

    def parses(value: str) -> bool:
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return False
        return True

    return on_distinct(text, parses)


def on_distinct(text: pa.Array, judge: Callable[[str], bool]) -> pa.BooleanArray:
    """`judge` called once for each distinct value, spread over the rows; null where null."""
    encoded = text.dictionary_encode()
    judged = pa.array([judge(value) for value in encoded.dictionary.to_pylist()], pa.bool_())
    return judged.take(encoded.indices)


def _is_plain_text(text: pa.Array) -> bool:
    ascii_only = pc.all(pc.string_is_ascii(text), min_count=0).as_py()
    return bool(ascii_only) and not pc.any(pc.match_substring_regex(text, r"[\n\r]"), min_count=0).as_py()


@lru_cache(maxsize=256)
def _is_plain(pattern: str) -> bool:
    """Whether Python and RE2 give this pattern the same meaning on ASCII text without line ends."""
    if not pattern.isascii() or "[[" in pattern or "[:" in pattern or "{," in pattern or "&&" in pattern:
        return False
    if re.search(r"\(\?(?!:)", pattern):  # flags, look-around, named groups
        return False
    escapes = re.findall(r"\\(.)", pattern, re.DOTALL)
    if not _ESCAPES.issuperset(escapes):
        return False
    if re.search(r"[*+?}][+]", pattern):  # possessive to Python 3.11, a repeat of a repeat to RE2
        return False
    return all(int(count) <= 1000 for count in re.findall(r"\d+", pattern))
