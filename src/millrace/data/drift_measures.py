"""How different two distributions are, and how much of that is chance: histograms flow in, numbers flow out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millrace.data.states import ColumnState

Matrix = npt.NDArray[np.float64]


def psi(reference: npt.ArrayLike, recent: npt.ArrayLike) -> float:
    """Population stability index Σ (q - p) ln(q / p) of two histograms, half a row added to each bin.

    >>> round(psi([500, 500], [300, 700]), 3)
    0.169
    """
    p, q = _smoothed(reference), _smoothed(recent)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(reference: npt.ArrayLike, recent: npt.ArrayLike) -> float:
    """Jensen-Shannon divergence of two histograms, in bits, 0 to 1 (Lin, DOI 10.1109/18.61115).

    >>> jensen_shannon([1, 0], [0, 1]), jensen_shannon([2, 2], [1, 1])
    (1.0, 0.0)
    """
    p, q = _shares(reference), _shares(recent)
    middle = (p + q) / 2
    parts = [np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])) for side in (p, q)]
    return float(sum(parts) / 2)


def l_infinity(reference: npt.ArrayLike, recent: npt.ArrayLike) -> float:
    """The largest difference between the shares of a bin.

    >>> l_infinity([50, 50], [20, 80])
    0.3
    """
    return float(np.round(np.abs(_shares(reference) - _shares(recent)).max(), 15))


def kolmogorov_smirnov(reference: ColumnState, recent: ColumnState) -> float:
    """The largest difference between the distribution functions of finite numbers (DOI 10.1080/01621459.1951.10500769).

    Taken over 257 quantiles of each side. Where ranks are sketched, it errs by their rank errors at most.
    """
    fractions = np.linspace(0, 1, 257).tolist()
    points = np.unique(np.array(reference.quantiles(fractions) + recent.quantiles(fractions), np.float64))
    return float(np.abs(reference.cumulative(points) - recent.cumulative(points)).max())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: below α for no true null hypothesis with a chance of 1 - α.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


@dataclass(frozen=True)
class Variation:
    """The difference between two halves beside the variation between intervals."""

    p_value: float
    scale: float  # tr(S): what X² is by chance, on average
    effective_rows: float  # 1 / (1/N + 1/M)


def halves_test(reference: Matrix, recent: Matrix, sketch_error: float = 0.0) -> Variation:
    """The p-value that two sets of interval histograms (intervals × bins, all bins filled) have equal shares.

    See `millrace.data.drift`. `sketch_error`: standard error of a bin's share where it comes from a sketch.
    """
    from scipy.special import chdtrc, fdtrc

    totals = [half.sum(axis=0) for half in (reference, recent)]
    rows = [float(total.sum()) for total in totals]
    pooled = (totals[0] + totals[1]) / (rows[0] + rows[1])
    effective = 1 / (1 / rows[0] + 1 / rows[1])
    difference = totals[0] / rows[0] - totals[1] / rows[1]
    statistic = effective * float(np.sum(difference**2 / pooled))
    free = len(pooled) - 1.0
    independent = free + effective * 2 * sketch_error**2 * float(np.sum(1 / pooled))
    intervals = len(reference) + len(recent) - 2
    if intervals < 1:
        return Variation(float(chdtrc(free, statistic * free / independent)), independent, effective)
    residuals = np.concatenate(
        [
            (half - half.sum(axis=1, keepdims=True) * (total / count)) / np.sqrt(half.sum(axis=1, keepdims=True))
            for half, total, count in zip((reference, recent), totals, rows, strict=True)
        ]
    ) / np.sqrt(pooled)
    each = np.concatenate([half.sum(axis=1) for half in (reference, recent)])
    uneven = len(each) * float(np.sum(each**2)) / float(each.sum()) ** 2  # large intervals weigh more than rows say
    covariance = residuals.T @ residuals / intervals
    trace, square = float(np.trace(covariance)), float(np.sum(covariance**2))
    scale = independent + max(0.0, trace - independent) * uneven
    freedom = free
    if trace > independent and intervals > 1:  # unbiased for normal residuals: S is Wishart
        bias = intervals / ((intervals - 1) * (intervals + 2))
        squared = bias * ((intervals + 1) * trace**2 - 2 * square)
        freedom = min(free, max(1.0, squared / max(bias * (intervals * square - trace**2), 1e-300)))
    return Variation(float(fdtrc(freedom, freedom * intervals, statistic / scale)), scale, effective)


def balanced_psi(reference: npt.ArrayLike, recent: npt.ArrayLike) -> float:
    """The largest PSI over classes if the class were half of the reference and its odds changed as they did.

    >>> round(balanced_psi([9900, 100], [9800, 200]), 3)
    0.118
    """
    p, q = _smoothed(reference), _smoothed(recent)
    shift = np.log(q / (1 - q)) - np.log(p / (1 - p))
    return float(np.max((1 / (1 + np.exp(-shift)) - 0.5) * shift))


def _shares(histogram: npt.ArrayLike) -> Matrix:
    counts = np.asarray(histogram, np.float64)
    return counts / counts.sum()


def _smoothed(histogram: npt.ArrayLike) -> Matrix:
    return _shares(np.asarray(histogram, np.float64) + 0.5)
