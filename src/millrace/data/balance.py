"""Cutting weighted, ordered keys into runs whose largest is as small as can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
TOLERANCE = 1.1  # a run this much above the mean is balanced


@dataclass(frozen=True)
class Balance:
    """`cuts`: places of the first key of run 1, 2, …; `heavy`: places of the keys that are to blame for a run more than
    10 % above the mean; `largest`: the largest run over the mean."""

    cuts: Places
    heavy: Places
    largest: float


def balance(weights: Floats, runs: int, cuts: Places | None = None) -> Balance:
    """Cut the keys, in order, into at most `runs` runs that minimise the largest run's weight; or judge given `cuts`.

    The least possible largest weight is found by bisection over greedy packings; then every cut goes where the rest is
    shared out most evenly, as far as that least weight allows. Keys heavier than a mean run stand alone where there are
    runs enough, so that they don't unbalance their neighbours.

    >>> outcome = balance(np.array([1.0, 1, 1, 9, 1, 1, 1, 1]), 4)
    >>> outcome.cuts.tolist(), outcome.heavy.tolist(), outcome.largest
    ([3, 4, 6], [3], 2.25)
    """
    total = np.concatenate([[0.0], np.cumsum(weights)])
    mean = total[-1] / runs
    if not len(weights) or mean <= 0:
        return Balance(np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0)
    if cuts is None:
        cuts = _cut(weights, total, runs)
    bounds = np.concatenate([[0], cuts, [len(weights)]]).astype(np.int64)
    sizes = total[bounds[1:]] - total[bounds[:-1]]
    heavy = set(np.flatnonzero(weights > mean * TOLERANCE).tolist())
    for run in np.flatnonzero(sizes > mean * TOLERANCE).tolist():
        heavy.add(int(bounds[run] + np.argmax(weights[bounds[run] : bounds[run + 1]])))
    return Balance(np.asarray(cuts, np.int64), np.array(sorted(heavy), np.int64), float(sizes.max() / mean))


def _cut(weights: Floats, total: Floats, runs: int) -> Places:
    """Cuts of all keys: heavy keys alone, the light stretches between them cut evenly, where there are runs enough."""
    heavy = np.flatnonzero(weights > total[-1] / runs)
    edges = np.concatenate([[-1], heavy, [len(weights)]])
    stretches = [(int(a) + 1, int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a + 1]
    left = runs - len(heavy)
    if not len(heavy) or len(stretches) > left:
        return _even(weights, runs)
    shares = [1] * len(stretches)
    sizes = [float(total[end] - total[start]) for start, end in stretches]
    for _ in range(left - len(stretches) if stretches else 0):
        fullest = max(range(len(stretches)), key=lambda place: sizes[place] / shares[place])
        shares[fullest] += 1
    cuts = {int(place) for key in heavy for place in (key, key + 1)}
    for (start, end), share in zip(stretches, shares, strict=True):
        cuts.update((start + _even(weights[start:end], share)).tolist())
    return np.array(sorted(cuts - {0, len(weights)}), np.int64)


def _even(weights: Floats, runs: int) -> Places:
    """Cuts into at most `runs` runs, as even as the least possible largest run allows."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    limit = _least_limit(weights, total, runs)
    earliest = _earliest(total, runs, limit)
    cuts: list[int] = []
    start, count = 0, len(weights)
    for left in range(runs - 1, 0, -1):
        share = (total[-1] - total[start]) / (left + 1)
        after = min(int(np.searchsorted(total, total[start] + share)), count)
        # the key that crosses the target goes to whichever side leaves the run nearer to its share
        if total[start] + share - total[after - 1] <= total[after] - total[start] - share:
            after -= 1
        furthest = int(np.searchsorted(total, total[start] + limit, side="right")) - 1
        after = min(max(after, start + 1, earliest[left]), furthest)
        if after >= count:
            break
        cuts.append(after)
        start = after
    return np.array(cuts, np.int64)


def _packed(total: Floats, runs: int, limit: float) -> bool:
    start, count = 0, len(total) - 1
    for _ in range(runs):
        start = int(np.searchsorted(total, total[start] + limit, side="right")) - 1
        if start >= count:
            return True
    return False


def _least_limit(weights: Floats, total: Floats, runs: int) -> float:
    """The least weight that no run has to exceed, to a millionth."""
    low, high = max(float(weights.max()), float(total[-1]) / runs), float(total[-1])
    if _packed(total, runs, low * (1 + 1e-9)):
        return low * (1 + 1e-9)
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _packed(total, runs, middle) else (middle, high)
    return high * (1 + 1e-9)


def _earliest(total: Floats, runs: int, limit: float) -> list[int]:
    """For every number of runs, the first place from which the rest fits into so many."""
    places = [len(total) - 1]
    for _ in range(runs):
        places.append(int(np.searchsorted(total, total[places[-1]] - limit, side="left")))
    return places
