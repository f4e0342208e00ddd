"""What a trial may lose, and how two states of a table are compared."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class Trial:
    """One trial: its kind, where and how it strikes, and its number; all that it draws follows from these."""

    kind: str
    point: str
    number: int
    seed: int

    def draw(self) -> random.Random:
        """The trial's own random numbers."""
        return random.Random(f"{self.seed}:{self.kind}:{self.point}:{self.number}")

    def __str__(self) -> str:
        return f"{self.kind} {self.point} number {self.number}"


@dataclass
class Losses:
    """What one trial lost: all zero where nothing was.

    `struck`: how often the fault really hit; `refused`: attempts under it that failed in words, which is no loss.
    """

    struck: int = 0
    refused: int = 0
    lost_rows: int = 0
    doubled_rows: int = 0
    half_reads: int = 0
    failed_reruns: int = 0
    differences: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether this trial lost something."""
        return bool(self.lost_rows or self.doubled_rows or self.half_reads or self.failed_reruns or self.differences)

    def half(self, words: str) -> None:
        """A reader saw what no commit made."""
        self.half_reads += 1
        self.notes.append(f"half read: {words}")

    def failed(self, words: str) -> None:
        """Something that must succeed didn't, or failed without words."""
        self.failed_reruns += 1
        self.notes.append(f"failed: {words}")

    def rows(self, name: str, found: pa.Table, wanted: pa.Table) -> None:
        """Count the rows that are missing and those that are too many."""
        if found.equals(wanted):
            return
        have, want = _counted(found), _counted(wanted)
        lost, doubled = sum((want - have).values()), sum((have - want).values())
        self.lost_rows += lost
        self.doubled_rows += doubled
        if lost or doubled:
            self.notes.append(f"{name}: {lost} rows lost, {doubled} too many")
        else:
            self.differ(name, "the order or the types of its rows", "the same")

    def differ(self, name: str, found: object, wanted: object) -> None:
        """Count one difference that isn't rows: a ledger, a version, a model, an alias."""
        if found != wanted:
            self.differences += 1
            self.notes.append(f"{name}: {str(found)[:400]} instead of {str(wanted)[:400]}")

    def compare(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Compare what two looks at a home saw (`tests.stages.forked`)."""
        self.differ("tables", sorted(found), sorted(wanted))
        for name in sorted(found.keys() & wanted.keys()):
            if isinstance(wanted[name], dict) and "rows" in wanted[name]:
                self.rows(name, found[name]["rows"], wanted[name]["rows"])
                for what in ("parts", "records"):
                    self.differ(f"{name}'s {what}", found[name][what], wanted[name][what])
            else:
                self.differ(name, found[name], wanted[name])


class Bench(Protocol):
    """Servers, processes and prepared states for the trials of some kinds."""

    def trial(self, trial: Trial) -> Losses:
        """Strike, rerun undisturbed, and compare with an undisturbed run."""


def _counted(table: pa.Table) -> Counter[str]:
    return Counter(json.dumps(row, default=str, sort_keys=True) for row in table.to_pylist())
