"""The ledger of a stage: every row that came in, and where it went.

A stage whose ledger doesn't balance commits nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from millrace.errors import LedgerError


def _by_name(counts: dict[str, int]) -> dict[str, int]:
    """In order of name and without zeros, so that equal counts make equal ledgers and equal bytes."""
    return {name: counts[name] for name in sorted(counts) if counts[name]}


Count = Annotated[int, Field(ge=0)]
Counts = Annotated[dict[str, Count], AfterValidator(_by_name)]


class Ledger(BaseModel):
    """Counts of rows, all ≥ 0, over any set of parts.

    rows_in = rows_out + Σ quarantined + duplicates + not_sampled + Σ other, where `quarantined` counts by reason,
    `duplicates` were merged into a row that stayed, and `other` holds further named places where rows went.

    >>> night = Ledger(rows_in=10, rows_out=7, quarantined={"ragged": 2}, duplicates=1)
    >>> night.balanced, (night + night).rows_in
    (True, 20)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_in: Count = 0
    rows_out: Count = 0
    quarantined: Counts = {}
    duplicates: Count = 0
    not_sampled: Count = 0
    other: Counts = {}

    def merge(self, other: Ledger) -> Ledger:
        """The ledger of both sets of parts together: associative, commutative, `Ledger()` is neutral."""
        return Ledger(
            rows_in=self.rows_in + other.rows_in,
            rows_out=self.rows_out + other.rows_out,
            quarantined=Counter(self.quarantined) + Counter(other.quarantined),
            duplicates=self.duplicates + other.duplicates,
            not_sampled=self.not_sampled + other.not_sampled,
            other=Counter(self.other) + Counter(other.other),
        )

    __add__ = merge

    @classmethod
    def total(cls, ledgers: Iterable[Ledger]) -> Ledger:
        """The ledger of all parts together."""
        result = cls()
        for ledger in ledgers:
            result = result.merge(ledger)
        return result

    @property
    def accounted(self) -> int:
        """Rows whose place is known: the right side of the balance."""
        return (
            self.rows_out
            + sum(self.quarantined.values())
            + self.duplicates
            + self.not_sampled
            + sum(self.other.values())
        )

    @property
    def balanced(self) -> bool:
        """Whether every row that came in has its place."""
        return self.rows_in == self.accounted

    def check(self, stage: str = "stage") -> None:
        """Raise LedgerError with all figures where the ledger doesn't balance."""
        if not self.balanced:
            difference = self.rows_in - self.accounted
            raise LedgerError(
                f"the ledger of {stage} doesn't balance, nothing was committed",
                expected=f"{self.rows_in:,} rows in",
                found=f"{self.accounted:,} accounted for ({self})",
                hint=f"{abs(difference):,} rows {'disappeared' if difference > 0 else 'too many'}",
            )

    def __str__(self) -> str:
        """One line for people.

        >>> print(Ledger(rows_in=1200, rows_out=1190, quarantined={"ragged": 10}))
        1,200 rows in, 1,190 out, 10 quarantined (ragged 10)
        """
        parts = [f"{self.rows_in:,} rows in", f"{self.rows_out:,} out"]
        if self.quarantined:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.quarantined.items())
            parts.append(f"{sum(self.quarantined.values()):,} quarantined ({reasons})")
        if self.duplicates:
            parts.append(f"{self.duplicates:,} duplicates")
        if self.not_sampled:
            parts.append(f"{self.not_sampled:,} not sampled")
        parts += [f"{count:,} {name}" for name, count in self.other.items()]
        return ", ".join(parts)
