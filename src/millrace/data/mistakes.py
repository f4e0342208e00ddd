"""One mistake of a pipeline file as the checks find it: where, what was expected, what was found, and a hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Found(NamedTuple):
    """A mistake: the path of the key, what was expected, what was found (as it is shown), and a hint."""

    path: Sequence[str | int]
    expected: str
    found: str
    hint: str | None = None


def nearest(name: object, known: Iterable[str]) -> str | None:
    """A hint that names the nearest known name, None where nothing is near.

    >>> nearest("tiem", ["time", "uri"])
    "did you mean 'time'?"
    """
    options = list(known)
    text = str(name)
    close = difflib.get_close_matches(text, options, n=1) or [each for each in options if each.startswith(text)]
    return f"did you mean {close[0]!r}?" if close else None


def unknown_column(path: Sequence[str | int], name: str | None, known: Sequence[str]) -> Iterator[Found]:
    """A mistake where `name` is given and none of the known columns.

    >>> [found.expected for found in unknown_column(["shard", "by"], "usr", ["user", "n"])]
    ['one of the columns user, n']
    """
    if name is not None and name not in known:
        yield Found(path, f"one of the columns {', '.join(known)}", repr(name), nearest(name, known))
