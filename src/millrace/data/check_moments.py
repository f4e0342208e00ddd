"""Exact sums: mean, deviation and sum that don't depend on how the rows are split or in which order they merge.

Numbers flow in, two big integers are kept: Σx and Σx² in fixed point, wide enough for every binary64. Nothing is
rounded until a figure is asked for, so merging is associative and commutative to the last bit, and each figure is
within 1 ulp of the true value. The usual alternative, Chan, Golub and LeVeque's pairwise update
(https://doi.org/10.1080/00031305.1983.10483115), rounds at each merge: its result changes with the number of splits.
For the idea of a long accumulator: Kulisch, https://doi.org/10.1515/9783110203196.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNIT = 1126  # one unit of Σx is 2^-1126: 2^-1074, the smallest binary64, with 52 places to spare for its mantissa
_PART = 27  # bits per summand: 2^26 of them add up exactly in binary64
_CHUNK = 1 << 22
_EXACT = 1 << 53


@dataclass(frozen=True)
class Moments:
    """Count, Σx in units of 2^-1126 and Σx² in units of 2^-2252 of the finite values; infinities are counted apart.

    >>> moments = Moments.of(pa.array([0.1, 0.2, 0.3, None])).merge(Moments.of(pa.array([1e100, -1e100])))
    >>> moments.count, moments.sum(), moments.mean()
    (5, 0.6, 0.12)
    >>> Moments.of(pa.array([1, 2, 3, 4])).deviation()
    1.2909944487358056
    """

    count: int = 0
    total: int = 0
    squares: int = 0
    plus: int = 0
    minus: int = 0

    @classmethod
    def of(cls, values: pa.Array) -> Moments:
        """The moments of an array of integers or floats; nulls don't count."""
        values = values.drop_null()
        if pa.types.is_integer(values.type):
            return cls._of_integers(values.cast(pa.int64()).to_numpy(zero_copy_only=False))
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        finite = np.isfinite(numbers)
        if finite.all():
            return cls(len(numbers), *_sums(numbers))
        plus, minus = int((numbers == np.inf).sum()), int((numbers == -np.inf).sum())
        return cls(int(finite.sum()), *_sums(numbers[finite]), plus, minus)

    @classmethod
    def _of_integers(cls, numbers: npt.NDArray[np.int64]) -> Moments:
        large = (numbers > _EXACT) | (numbers < -_EXACT)
        if not large.any():
            return cls(len(numbers), *_sums(numbers.astype(np.float64)))
        small = cls._of_integers(numbers[~large])
        whole = numbers[large].tolist()
        total, squares = sum(whole) << UNIT, sum(value * value for value in whole) << 2 * UNIT
        return cls(len(numbers), small.total + total, small.squares + squares)

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of values."""
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            self.plus + other.plus,
            self.minus + other.minus,
        )

    def sum(self) -> float:
        """Σx, correctly rounded; 0 without values; infinite or nan where the values are."""
        if self.plus or self.minus:
            return math.nan if self.plus and self.minus else math.inf if self.plus else -math.inf
        return _divide(self.total, 1 << UNIT)

    def whole_sum(self) -> int:
        """Σx of integers, of any size."""
        return self.total >> UNIT

    def mean(self) -> float | None:
        """Σx / n, correctly rounded; None without values."""
        if self.plus or self.minus:
            return self.sum()
        return _divide(self.total, self.count << UNIT) if self.count else None

    def deviation(self) -> float | None:
        """The sample standard deviation √((nΣx² − (Σx)²) / (n(n − 1))); None below two values or with infinities."""
        if self.count < 2 or self.plus or self.minus:
            return None
        spread = self.count * self.squares - self.total * self.total
        return math.sqrt(_divide(spread, self.count * (self.count - 1) << 2 * UNIT))

    def to_json(self) -> list[str]:
        """The five integers as hexadecimal text."""
        return [hex(value) for value in (self.count, self.total, self.squares, self.plus, self.minus)]

    @classmethod
    def from_json(cls, text: list[str]) -> Moments:
        """The moments that `to_json` wrote."""
        return cls(*(int(value, 16) for value in text))


def _divide(numerator: int, denominator: int) -> float:
    """Correctly rounded; infinite where binary64 overflows."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def _sums(numbers: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Σx in units of 2^-UNIT and Σx² in units of 2^-2·UNIT of finite numbers."""
    total = squares = 0
    for start in range(0, len(numbers), _CHUNK):
        fractions, exponents = np.frexp(numbers[start : start + _CHUNK])
        mantissas = np.ldexp(fractions, 53).astype(np.int64)  # x = mantissa · 2^(exponent − 53), exactly
        shifts = exponents.astype(np.int64) + (UNIT - 53)
        total += _weighted(mantissas, shifts)
        size = np.abs(mantissas)
        high, low = size >> _PART, size & ((1 << _PART) - 1)
        squares += _weighted(high * high, 2 * shifts + 2 * _PART)
        squares += _weighted(high * low, 2 * shifts + _PART + 1)
        squares += _weighted(low * low, 2 * shifts)
    return total, squares


def _weighted(parts: npt.NDArray[np.int64], shifts: npt.NDArray[np.int64]) -> int:
    """Σ part · 2^shift as one integer; |part| below 2^54, shifts not negative."""
    if not len(parts):
        return 0
    first = int(shifts.min())
    places = shifts - first
    high = np.bincount(places, weights=parts >> _PART)
    low = np.bincount(places, weights=parts & ((1 << _PART) - 1))
    total = 0
    for place in np.flatnonzero((high != 0) | (low != 0)).tolist():
        total += ((int(high[place]) << _PART) + int(low[place])) << (first + place)
    return total


def extremes(values: pa.Array) -> tuple[object, object]:
    """The least and the greatest value, both None without values."""
    found = pc.min_max(values)
    return found["min"].as_py(), found["max"].as_py()
