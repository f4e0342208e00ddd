"""How large a sample is, and how it is shared out among strata."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from millrace.spec import Sample

LEAST_ROWS, MOST_ROWS = 20_000, 500_000
LEAST_PER_STRATUM = 50
Allocation = Literal["proportional", "neyman", "equal"]


def sample_rows(sample: Sample, population: int, label_rate: float | None = None) -> int:
    """The number of rows to draw from `population` rows: by `rows` or `fraction`, else by `loss` and `confidence`.

    Then it is the least n at which the mean log loss over n rows is known within `loss` at this confidence (two-sided):
    n = (z σ / loss)², with z the normal quantile and σ² the variance of one row's log loss. A model that knows the
    label rate p alone has σ² = p (1 - p) ln²(p / (1 - p)); p (1 - p) is the least assumed, and p = 1/2 where it is
    unknown.
    The result lies within 20,000 and 500,000, and never above `population`.

    >>> sample_rows(Sample(loss=0.002, confidence=0.95), 10_000_000, label_rate=0.02)
    285101
    >>> sample_rows(Sample(fraction=0.1), 1_000), sample_rows(Sample(rows=5_000), 1_000), sample_rows(Sample(), 1_000)
    (100, 1000, 1000)
    """
    if sample.rows is not None:
        return min(sample.rows, population)
    if sample.fraction is not None:
        return min(population, max(1, round(sample.fraction * population)))
    rate = label_rate if label_rate is not None and 0 < label_rate < 1 else 0.5
    variance = rate * (1 - rate) * max(1.0, math.log(rate / (1 - rate)) ** 2)
    quantile = NormalDist().inv_cdf((1 + sample.confidence) / 2)
    rows = math.ceil(variance * (quantile / sample.loss) ** 2)
    return min(population, max(LEAST_ROWS, min(MOST_ROWS, rows)))


def allocate(
    sizes: Sequence[int],
    rows: int,
    method: Allocation = "proportional",
    spreads: Sequence[float] | None = None,
    least: int = LEAST_PER_STRATUM,
) -> list[int]:
    """How many of `rows` each stratum of these `sizes` gives: min(rows, Σ sizes) in all, and none more than it has.

    proportional: in proportion to size; neyman: to size × `spreads`, the standard deviation inside the stratum
    (DOI 10.2307/2342192); equal: as many from each. What a small stratum can't give, the others do, so that of a rare
    class all rows are taken. Every stratum gives `least` rows at least, or all it has.

    >>> allocate([9_800, 200], 1_000, "equal"), allocate([9_800, 200], 1_000, least=10)
    ([800, 200], [980, 20])
    """
    size = np.asarray(sizes, np.int64)
    rows = min(int(rows), int(size.sum()))
    if not len(size):
        return []
    shares = {"proportional": size.astype(float), "equal": (size > 0).astype(float)}.get(method)
    if shares is None:
        shares = size * np.asarray(spreads if spreads is not None else np.ones(len(size)), float)
    floor = np.minimum(size, min(least, rows // len(size)))
    amounts = _fill(shares + 1e-12 * size, floor.astype(float), size.astype(float), rows)
    return [int(amount) for amount in _round(amounts, size, rows)]


def _fill(
    shares: npt.NDArray[np.float64], floor: npt.NDArray[np.float64], ceiling: npt.NDArray[np.float64], rows: int
) -> npt.NDArray[np.float64]:
    """clip(c × shares, floor, ceiling) with the c at which the sum is `rows`, by bisection."""
    low, high = 0.0, 1.0
    while np.clip(high * shares, floor, ceiling).sum() < rows and high < 1e300:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(middle * shares, floor, ceiling).sum() < rows else (low, middle)
    return np.asarray(np.clip(high * shares, floor, ceiling))


def _round(amounts: npt.NDArray[np.float64], size: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """Whole numbers with this sum, by largest remainder; equal remainders in the order of the strata."""
    whole = np.minimum(np.floor(amounts + 1e-9).astype(np.int64), size)
    order = np.argsort(-(amounts - whole), kind="stable")
    for place in order[whole[order] < size[order]][: max(0, rows - int(whole.sum()))]:
        whole[place] += 1
    return whole
