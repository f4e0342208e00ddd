"""The parts of a column's state: moments, value counts, distinct count, quantiles, text lengths.

Distinct values with their counts flow in; each part merges with another of its kind. Merging is associative and
commutative — exactly, but for the last bits of floating-point sums and for the stated errors of `ValueCounts` past its
limit (count error at most rows / 1,024), `Distinct` (standard error 0.6 %) and `Quantiles` (rank error 0.9 %).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import datasketches
import numpy as np
import numpy.typing as npt

from millrace.data import native

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Value = str | int | float

EXACT_VALUES = 2048  # distinct values counted exactly; past it, at most so many are kept
KEPT_VALUES = 1024  # what a purge leaves: the error is at most rows / KEPT_VALUES
LG_REGISTERS = 15  # HyperLogLog: standard error 1.04 / sqrt(2^15) = 0.57 %
PICKED = 8192  # rows of a batch that enter a quantile sketch by themselves, at most
KLL_K = 400  # rank error 0.68 % for one rank, 0.86 % for all at once, each at 99 % confidence


@dataclass
class Moments:
    """Count, mean and the central sums M2, M3, M4 of numbers; exact minimum, maximum and (for integers) sum.

    Merged by the pairwise formulas of Chan, Golub and LeVeque (DOI 10.1080/00031305.1983.10483115) and Pébay
    (DOI 10.2172/1028931).

    >>> both = Moments.of(np.array([1.0, 2.0]), np.array([1, 1])).merge(Moments.of(np.array([6.0]), np.array([1])))
    >>> both.mean, both.variance, both.minimum, both.maximum
    (3.0, 7.0, 1.0, 6.0)
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0
    total: int | float = 0
    minimum: int | float | None = None
    maximum: int | float | None = None

    @classmethod
    def of(cls, values: npt.NDArray[Any], counts: Counts) -> Moments:
        """The moments of finite `values`, each repeated `counts` times."""
        if len(values) == 0:
            return cls()
        count = int(counts.sum())
        low, high = values.min().item(), values.max().item()
        numbers = values.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            total: int | float
            if isinstance(low, int):  # in two halves of 32 bits, so that no sum overflows
                halves = (values >> 32).astype(np.int64), (values & 0xFFFFFFFF).astype(np.int64)
                total = (int((counts * halves[0]).sum()) << 32) + int((counts * halves[1]).sum())
                mean = total / count
            else:
                shift = float(numbers[0])  # sums stay accurate where the spread is small beside the mean
                total, mean = float((counts * numbers).sum()), shift + float((counts * (numbers - shift)).sum()) / count
            deviation = numbers - mean
            square = deviation * deviation
            weighted = counts * square  # sums by numpy: those of a BLAS depend on its threads
            m2, m3 = float(weighted.sum()), float((weighted * deviation).sum())
            m4 = float((weighted * square).sum())
        return cls(count, mean, m2, m3, m4, total, low, high)

    def merge(self, other: Moments) -> Moments:
        """The moments of both."""
        if not self.count or not other.count:
            return self if self.count else other
        na, nb = self.count, other.count
        n = na + nb
        try:
            delta = other.mean - self.mean
            m2 = self.m2 + other.m2 + delta**2 * na * nb / n
            m3 = (
                self.m3
                + other.m3
                + delta**3 * na * nb * (na - nb) / n**2
                + 3 * delta * (na * other.m2 - nb * self.m2) / n
            )
            m4 = (
                self.m4
                + other.m4
                + delta**4 * na * nb * (na**2 - na * nb + nb**2) / n**3
                + 6 * delta**2 * (na**2 * other.m2 + nb**2 * self.m2) / n**2
                + 4 * delta * (na * other.m3 - nb * self.m3) / n
            )
        except OverflowError:  # huge values: the higher moments are beyond a float
            m2 = m3 = m4 = math.inf
        total = self.total + other.total
        return Moments(
            n,
            total / n if isinstance(total, int) else (na * self.mean + nb * other.mean) / n,
            m2,
            m3,
            m4,
            total,
            _least(self.minimum, other.minimum),
            _most(self.maximum, other.maximum),
        )

    @property
    def variance(self) -> float | None:
        """The sample variance M2 / (n - 1); None below two numbers."""
        return self.m2 / (self.count - 1) if self.count > 1 else None

    @property
    def skewness(self) -> float | None:
        """sqrt(n) M3 / M2^1.5; None where all numbers are equal."""
        return math.sqrt(self.count) * self.m3 / self.m2**1.5 if 0 < self.m2 < 1e200 else None

    @property
    def kurtosis(self) -> float | None:
        """Excess kurtosis, n M4 / M2² - 3; None where all numbers are equal."""
        return self.count * self.m4 / self.m2**2 - 3 if 0 < self.m2 < 1e150 else None


@dataclass
class Lengths:
    """Shortest, longest and mean length of texts, in characters."""

    count: int = 0
    total: int = 0
    shortest: int | None = None
    longest: int | None = None

    @classmethod
    def of(cls, lengths: Counts, counts: Counts) -> Lengths:
        """The lengths of texts, each repeated `counts` times."""
        if len(lengths) == 0:
            return cls()
        return cls(int(counts.sum()), int((counts * lengths).sum()), int(lengths.min()), int(lengths.max()))

    def merge(self, other: Lengths) -> Lengths:
        """The lengths of both."""
        shortest, longest = _least(self.shortest, other.shortest), _most(self.longest, other.longest)
        return Lengths(
            self.count + other.count,
            self.total + other.total,
            None if shortest is None else int(shortest),
            None if longest is None else int(longest),
        )

    @property
    def mean(self) -> float | None:
        """The mean length."""
        return self.total / self.count if self.count else None


@dataclass
class ValueCounts:
    """How often each value occurs: exact up to 2,048 distinct values, past that the frequent ones with an error bound.

    A mergeable Misra-Gries summary (Agarwal et al., DOI 10.1145/2500128): where more than 2,048 values are held, the
    1,025th largest count is subtracted from all, and what is not positive is dropped. The true count of a value lies
    in [counts[value], counts[value] + error], with counts[value] = 0 for a value that is absent, and
    error <= rows / 1,024. `error` is 0 exactly while every value is held, and whether it is doesn't depend on the
    order of merging.

    >>> state = ValueCounts.of(["a", "b"], np.array([3, 1])).merge(ValueCounts.of(["a"], np.array([2])))
    >>> state.counts, state.error
    ({'a': 5, 'b': 1}, 0)
    """

    counts: dict[Value, int] = field(default_factory=dict)
    error: int = 0

    @classmethod
    def of(cls, values: Sequence[Value] | npt.NDArray[np.generic], counts: Counts) -> ValueCounts:
        """From distinct values and their counts."""
        if len(values) <= EXACT_VALUES:
            listed = values.tolist() if isinstance(values, np.ndarray) else values
            held = dict(zip(listed, counts.tolist(), strict=True))
            if len(held) < len(listed):  # 0.0 and -0.0 came as two values and are one
                held = dict.fromkeys(held, 0)
                for value, times in zip(listed, counts.tolist(), strict=True):
                    held[value] += times
            return cls(held)
        purged = _threshold(counts)
        left = np.flatnonzero(counts > purged)
        kept = values[left].tolist() if isinstance(values, np.ndarray) else [values[place] for place in left.tolist()]
        return cls(dict(zip(kept, (counts[left] - purged).tolist(), strict=True)), purged)

    @property
    def exact(self) -> bool:
        """Whether every value is held with its true count."""
        return self.error == 0

    def merge(self, other: ValueCounts) -> ValueCounts:
        """The counts of both."""
        large, small = (self, other) if len(self.counts) >= len(other.counts) else (other, self)
        counts = dict(large.counts)
        for value, times in small.counts.items():
            counts[value] = counts.get(value, 0) + times
        error = self.error + other.error
        if len(counts) > EXACT_VALUES:
            purged = _threshold(np.fromiter(counts.values(), np.int64, len(counts)))
            counts = {value: times - purged for value, times in counts.items() if times > purged}
            error += purged
        return ValueCounts(counts, error)

    def estimate(self, value: Value) -> int:
        """The best estimate of a value's count: its upper bound where it is held, else 0."""
        held = self.counts.get(value)
        return 0 if held is None else held + self.error

    def top(self, k: int) -> list[tuple[Value, int]]:
        """The k most frequent values with their least counts; those that may be below the error are left out."""
        sure = [(value, times) for value, times in self.counts.items() if times > self.error]
        sure.sort(key=lambda pair: (-pair[1], type(pair[0]).__name__, pair[0]))
        return sure[:k]


def _threshold(counts: Counts) -> int:
    """The (KEPT_VALUES + 1)th largest of more than so many positive counts."""
    several = counts[counts > 1]  # most of many values come once
    if len(several) <= KEPT_VALUES:
        return 1
    return int(np.partition(several, len(several) - KEPT_VALUES - 1)[len(several) - KEPT_VALUES - 1])


@dataclass
class Distinct:
    """The number of distinct values: HyperLogLog registers (Flajolet et al., DOI 10.46298/dmtcs.3545).

    Registers are kept as an array, which takes a batch of 64-bit hashes at once and merges by maximum, exactly;
    `datasketches` estimates from them with its composite estimator. 2^15 registers: standard error 0.57 %.

    >>> from millrace.data.hashing import hash_values
    >>> import pyarrow as pa
    >>> round(Distinct.of(hash_values(pa.array(range(100_000)))).estimate(), -3)
    100000.0
    """

    registers: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64]) -> Distinct:
        """From hashes: the low 15 bits choose the register, which keeps the most leading zeros + 1."""
        if native.available():
            return cls(native.registers(hashes))
        registers = np.zeros(1 << LG_REGISTERS, np.uint8)
        slots = (hashes & np.uint64((1 << LG_REGISTERS) - 1)).astype(np.int64)
        _, exponents = np.frexp((hashes >> np.uint64(11)).astype(np.float64))
        np.maximum.at(registers, slots, (54 - exponents).astype(np.uint8))
        return cls(registers)

    def merge(self, other: Distinct) -> Distinct:
        """The distinct values of both."""
        return Distinct(np.maximum(self.registers, other.registers))

    def estimate(self) -> float:
        """The estimated number of distinct values."""
        return float(datasketches.hll_sketch.deserialize(self._image()).get_estimate())

    def _image(self) -> bytes:
        """The registers as a datasketches HLL_8 image, updatable, out of order (no HIP)."""
        powers = np.ldexp(1.0, -self.registers.astype(np.int32))
        low = self.registers < 32
        head = bytes([10, 1, 7, LG_REGISTERS, 0, 16, 0, 2 | (2 << 2)])
        sums = np.array([0.0, powers[low].sum(), powers[~low].sum()], "<f8").tobytes()
        zeros = np.array([np.count_nonzero(self.registers == 0), 0], "<i4").tobytes()
        return head + sums + zeros + self.registers.tobytes()


@dataclass
class Quantiles:
    """Quantiles of numbers: a KLL sketch of `datasketches` (DOI 10.1109/FOCS.2016.17), k = 400.

    It draws random bits: two runs over the same rows agree within the rank error only.
    """

    sketch: datasketches.kll_doubles_sketch = field(default_factory=lambda: datasketches.kll_doubles_sketch(KLL_K))

    @classmethod
    def of(cls, values: Floats, counts: Counts) -> Quantiles:
        """From distinct numbers and their counts.

        Above `PICKED` rows, one of every 2^j rows in their order stands for its neighbours, with weight 2^j, which adds
        1 / PICKED at most to the rank error (0.02 %). A weight of 2^j enters by merging the sketch j times with itself.
        """
        state = cls()
        if len(values) == 0:
            return state
        total = int(counts.sum())
        doublings = max(0, math.ceil(math.log2(total / PICKED)))
        if total <= 4 * len(values) + 100_000:
            ordered = np.sort(np.repeat(values, counts))
            picked = ordered[(1 << doublings) // 2 :: 1 << doublings]
        else:
            order = np.argsort(values)
            ordered = values[order]
            ranks = np.arange((1 << doublings) // 2, total, 1 << doublings)
            picked = ordered[np.searchsorted(np.cumsum(counts[order]), ranks, side="right")]
        picked[0], picked[-1] = ordered[0], ordered[-1]  # the ends are exact
        state.sketch.update(picked)
        for _ in range(doublings):
            state.sketch.merge(_copy(state.sketch))
        return state

    def merge(self, other: Quantiles) -> Quantiles:
        """The quantiles of both."""
        merged = _copy(self.sketch)
        merged.merge(other.sketch)
        return Quantiles(merged)

    @property
    def rank_error(self) -> float:
        """The error of one rank, as a fraction, at 99 % confidence; 0 while the sketch holds all."""
        return float(self.sketch.normalized_rank_error(False)) if self.sketch.is_estimation_mode() else 0.0


def _copy(sketch: datasketches.kll_doubles_sketch) -> datasketches.kll_doubles_sketch:
    fresh = datasketches.kll_doubles_sketch(KLL_K)
    fresh.merge(sketch)
    return fresh


def _least(a: int | float | None, b: int | float | None) -> int | float | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: int | float | None, b: int | float | None) -> int | float | None:
    return b if a is None else a if b is None else max(a, b)
