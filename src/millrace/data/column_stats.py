"""Results for one column: its state flows in, numbers and JSON flow out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.data.sketches import Floats, Lengths, Value
from millrace.data.states import ColumnState, Kind


@dataclass(frozen=True)
class TopValue:
    """A frequent value. Its true count lies in [at_least, at_most]; `label_rates`: share of each label class."""

    value: Value
    count: int
    share: float
    at_least: int
    at_most: int
    label_rates: dict[str, float]


@dataclass(frozen=True)
class ColumnStats:
    """Results for one column over all label classes, and the state of each class in `by_class`.

    Numbers: booleans count as 0 and 1, times as microseconds since 1970 (UTC). NaN and infinite numbers are counted
    and left out of all else.
    """

    name: str
    state: ColumnState
    by_class: Mapping[str | None, ColumnState]

    @property
    def kind(self) -> Kind:
        """integer, float, boolean, time or string."""
        return self.state.kind

    @property
    def count(self) -> int:
        """Rows, nulls included."""
        return self.state.count

    @property
    def nulls(self) -> int:
        """Rows without a value."""
        return self.state.nulls

    @property
    def nans(self) -> int:
        """Rows that are not a number (NaN)."""
        return self.state.nans

    @property
    def infinities(self) -> int:
        """Rows with an infinite number."""
        return self.state.infinities

    @property
    def min(self) -> Any:
        """The least value, exactly; texts by code point. None without values."""
        return self.state.moments.minimum if self.state.numeric else self.state.first

    @property
    def max(self) -> Any:
        """The greatest value, exactly."""
        return self.state.moments.maximum if self.state.numeric else self.state.last

    @property
    def mean(self) -> float | None:
        """The mean of the finite numbers; None without any."""
        return self.state.moments.mean if self.state.moments.count else None

    @property
    def sum(self) -> int | float:
        """The sum; exact for integers."""
        return self.state.moments.total

    @property
    def variance(self) -> float | None:
        """The sample variance (n - 1)."""
        return self.state.moments.variance

    @property
    def stddev(self) -> float | None:
        """The sample standard deviation."""
        variance = self.variance
        return None if variance is None or variance < 0 or math.isnan(variance) else math.sqrt(variance)

    @property
    def skewness(self) -> float | None:
        """The skewness; None where all are equal."""
        return self.state.moments.skewness

    @property
    def kurtosis(self) -> float | None:
        """The excess kurtosis; None where all are equal."""
        return self.state.moments.kurtosis

    @property
    def lengths(self) -> Lengths:
        """Lengths of texts in characters: shortest, longest, mean."""
        return self.state.lengths

    def quantile(self, fraction: float) -> float | None:
        """The least number with at least `fraction` (0 to 1) of numbers at or below it; None without numbers.

        Exact up to 2,048 distinct values, else within a rank error of 0.9 %.
        """
        return self.quantiles([fraction])[0]

    def quantiles(self, fractions: Sequence[float]) -> list[float | None]:
        """Several quantiles at once."""
        return self.state.quantiles(fractions)

    def cumulative(self, points: Sequence[float]) -> Floats:
        """The fraction of numbers at or below each of `points` (ascending, distinct)."""
        return self.state.cumulative(points)

    @property
    def rank_error(self) -> float:
        """The error of one rank at 99 % confidence: 0 where ranks are exact."""
        return self.state.ranks.rank_error if self.state.ranks else 0.0

    def distinct(self) -> int:
        """The number of distinct values (nulls, NaN and infinities aside): exact up to 2,048, else within 2 %."""
        if not self.state.sketched:
            return len(self.state.values.counts)
        return round(self.state.distinct_sketch().estimate())

    @property
    def distinct_exact(self) -> bool:
        """Whether counts of values, distinct values and quantiles are exact."""
        return not self.state.sketched

    def top(self, k: int = 10) -> list[TopValue]:
        """The k most frequent values, most frequent first; none whose least count may be below the error."""
        found = []
        error = self.state.values.error
        for value, least in self.state.values.top(k):
            by_class = {name: state.values.estimate(value) for name, state in self.by_class.items() if name is not None}
            known = sum(by_class.values())
            rates = {name: times / known for name, times in sorted(by_class.items())} if known else {}
            shown = bool(value) if self.kind == "boolean" else value
            most = min(least + error, self.count)
            found.append(TopValue(shown, most, most / self.count, least, most, rates))
        return found

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        """All results as JSON values; times as ISO text."""
        known = {
            "kind": self.kind,
            "rows": self.count,
            "nulls": self.nulls,
            "nans": self.nans,
            "infinities": self.infinities,
            "distinct": self.distinct(),
            "exact": self.distinct_exact,
            "min": self.shown(self.min),
            "max": self.shown(self.max),
            "top": [
                {
                    "value": item.value,
                    "count": item.count,
                    "error": item.at_most - item.at_least,
                    "share": item.share,
                    "label_rates": item.label_rates,
                }
                for item in self.top(top)
            ],
        }
        if self.kind == "string":
            lengths = self.lengths
            known["lengths"] = {"shortest": lengths.shortest, "longest": lengths.longest, "mean": lengths.mean}
            return known
        fractions = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
        quantiles = zip(fractions, self.quantiles(fractions), strict=True)
        known["quantiles"] = {str(fraction): self.shown(value) for fraction, value in quantiles}
        if self.kind != "time":
            for name in ("mean", "stddev", "skewness", "kurtosis", "sum"):
                known[name] = finite(getattr(self, name))
        return known

    def shown(self, value: Any) -> Any:
        """A value as JSON shows it: a time as ISO text, a boolean as such, an unknown number as null."""
        if value is None or isinstance(value, str):
            return value
        if self.kind == "time":
            try:
                moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(value))
            except OverflowError:
                return finite(value)
            return moment.replace(tzinfo=None).isoformat()
        return bool(value) if self.kind == "boolean" and value in (0, 1) else finite(value)


def finite(value: Any) -> Any:
    """JSON has no NaN: unknown is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
