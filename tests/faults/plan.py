"""Which request of S3 is struck, and how: what the proxy asks for each request that passes."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import unquote

Kind = Literal["commit", "part", "list", "head", "log", "rows", "other"]
Action = Literal[
    "reset_before",
    "reset_after",
    "cut_request",
    "cut_answer",
    "answer_409",
    "answer_412",
    "answer_503",
    "done_but_503",
    "delay",
    "twice",
    "again_later",
    "held",
]
"""What happens to a request:

================  ====================================================================================
``reset_before``  the connection is reset, the store has seen nothing
``reset_after``   the store has done it, the connection is reset: no answer
``cut_request``   the store gets half of it, then both connections are reset
``cut_answer``    the store has done it, half of the answer arrives, then the connection is reset
``answer_409``    409 ConditionalRequestConflict, the store has seen nothing
``answer_412``    412 PreconditionFailed, the store has seen nothing
``answer_503``    503 SlowDown, the store has seen nothing
``done_but_503``  the store has done it, the answer is 503
``delay``         it waits before the store sees it
``twice``         the store gets it twice, the second answer arrives
``again_later``   it is answered, and reaches the store a second time later
``held``          the connection is reset, and it reaches the store later
================  ====================================================================================
"""
ACTIONS: tuple[Action, ...] = get_args(Action)
LOG = re.compile(r"/_delta_log/[0-9]{20}\.json$")


def kind_of(method: str, target: str) -> Kind:
    """What a request is for, by its method and target."""
    path, _, query = target.partition("?")
    path = unquote(path)
    if method in ("PUT", "POST"):
        if LOG.search(path):
            return "commit"
        return "part" if path.endswith(".parquet") else "other"
    if method == "HEAD":
        return "head"
    if method == "GET":
        if "list-type" in query or "prefix=" in query:
            return "list"
        return "log" if LOG.search(path) else "rows"
    return "other"


@dataclass(frozen=True)
class Strike:
    """`action` for the requests of a kind number `first` (from 1) to ``first + count - 1``; of any kind where None."""

    action: Action
    kind: Kind | None
    first: int = 1
    count: int = 1


class Plan:
    """Strikes that wait for their requests. Safe to ask and change from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Counter[Kind | None] = Counter()
        self._strikes: list[Strike] = []
        self.struck = 0

    def arm(self, *strikes: Strike) -> None:
        """From now on these and no others; all counts begin anew."""
        with self._lock:
            self._strikes = list(strikes)
            self._seen.clear()
            self.struck = 0

    def ask(self, method: str, target: str) -> Action | None:
        """What happens to this request."""
        kind = kind_of(method, target)
        with self._lock:
            self._seen[kind] += 1
            self._seen[None] += 1
            for strike in self._strikes:
                if strike.kind in (kind, None) and 0 <= self._seen[strike.kind] - strike.first < strike.count:
                    self.struck += 1
                    return strike.action
        return None
