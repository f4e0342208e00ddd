"""Metrics: sorted scores, labels and many sets of weights in, one value per set out. No I/O, no scikit-learn.

A bootstrap is the same metric under other weights: each replicate multiplies every row's weight by an independent
Poisson(1) count (Chamandy et al., 2012, "Estimating uncertainty for massive data streams"). The rows are sorted by
score once, so that a replicate is a few cumulative sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from millrace.spec import Metric

Array = np.ndarray[Any, Any]
METRICS: tuple[Metric, ...] = ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1")
LOWER_IS_BETTER: frozenset[str] = frozenset({"log_loss", "brier"})
EPSILON = 1e-15  # log loss clips probabilities here
BLOCK_CELLS = 500_000  # weights at hand at once: a few megabytes, which stay in the cache


@dataclass(frozen=True)
class Ranked:
    """Rows sorted by score, highest first. `ends` are the last positions of each run of equal scores."""

    order: Array
    y: Array
    score: Array
    ends: Array
    threshold: float

    @classmethod
    def of(cls, y: Array, score: Array, threshold: float) -> Ranked:
        """Sort labels (0/1) and probabilities; positive is predicted from `threshold` on, for f1."""
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, int)
        return cls(order, y[order].astype(np.float64), ranked, ends, threshold)

    def values(self, metric: Metric, weights: Array) -> Array:
        """The metric under each row of `weights` (sets × rows, in sorted order); NaN where it isn't defined.

        roc_auc and average_precision treat equal scores as one threshold, as scikit-learn does; accuracy predicts
        positive from 0.5 on, f1 from `threshold` on.
        """
        return self.all_values([metric], weights)[metric]

    def all_values(self, metrics: Sequence[Metric], weights: Array) -> dict[Metric, Array]:
        """`values` of several metrics; what they share is computed once."""
        found: dict[Metric, Array] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            if not {"roc_auc", "average_precision"}.isdisjoint(metrics):
                found["roc_auc"], found["average_precision"] = self._ranking(weights)
            for metric in metrics:
                if metric == "f1":
                    predicted = (self.score >= self.threshold).astype(np.float64)
                    found[metric] = 2 * weights @ (predicted * self.y) / (weights @ (predicted + self.y))
                elif metric not in found:
                    found[metric] = weights @ self._loss(metric) / weights.sum(axis=1)
        return found

    def _loss(self, metric: Metric) -> Array:
        if metric == "brier":
            return (self.score - self.y) ** 2
        if metric == "accuracy":
            return ((self.score >= 0.5) == (self.y == 1)).astype(np.float64)
        clipped = np.clip(self.score, EPSILON, 1 - EPSILON)
        return -np.where(self.y == 1, np.log(clipped), np.log1p(-clipped))

    def _ranking(self, weights: Array) -> tuple[Array, Array]:
        """roc_auc and average_precision. Only runs of equal scores that hold a positive add to either."""
        seen = np.cumsum(weights, axis=1)
        hits = np.cumsum(weights * self.y, axis=1)
        last, before = self._runs
        first = before < 0
        hits_before, seen_before = hits[:, before], seen[:, before]
        hits_before[:, first] = seen_before[:, first] = 0.0
        all_hits, all_misses = hits[:, -1].copy(), seen[:, -1] - hits[:, -1]
        hits, seen = hits[:, last], seen[:, last]
        gained = hits - hits_before
        below = all_misses[:, None] - (seen - hits + seen_before - hits_before) / 2
        precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
        auc = (gained * below).sum(axis=1) / (all_hits * all_misses)
        return auc, (gained * precision).sum(axis=1) / all_hits

    @cached_property
    def _runs(self) -> tuple[Array, Array]:
        """Last positions of the runs with a positive, and the last positions before them (-1 before the first)."""
        positives = np.cumsum(self.y)[self.ends]
        holding = np.flatnonzero(np.diff(positives, prepend=0.0) > 0)
        return self.ends[holding], np.append(-1, self.ends)[holding]


def poisson_counts(rows: int, replicates: int, seed: int) -> Iterator[Array]:
    """Blocks (replicates × rows) of Poisson(1) counts, `replicates` in all; the same for the same arguments.

    Drawn by 16 random bits a cell through the inverse distribution, whose mean is within 1e-4 of 1.
    """
    probability, cumulative, count = np.exp(-1.0), 0.0, 0
    table = np.empty(65536, np.uint8)
    start = 0
    while start < 65536 and count < 16:
        cumulative += probability
        end = min(65536, round(cumulative * 65536))
        table[start:end] = count
        start, count = end, count + 1
        probability /= count
    table[start:] = count
    draw = np.random.default_rng(seed)
    block = max(1, min(replicates, BLOCK_CELLS // max(rows, 1)))
    for done in range(0, replicates, block):
        yield table[draw.integers(0, 65536, (min(block, replicates - done), rows), dtype=np.uint16)]


def f1_threshold(score: Array, weight: Array) -> float:
    """The threshold that maximises the F1 expected under the probabilities themselves; it never looks at a label.

    :math:`\\max_k 2 \\sum_{i \\le k} w_i p_i / (\\sum_{i \\le k} w_i + \\sum_i w_i p_i)` over rows in descending order
    (Lipton, Elkan and Naryanaswamy, 2014, doi:10.1007/978-3-662-44851-9_15).

    >>> f1_threshold(np.array([0.9, 0.8, 0.3, 0.1]), np.ones(4))
    0.8
    """
    order = np.argsort(-score, kind="stable")
    p, w = score[order], weight[order]
    expected = 2 * np.cumsum(w * p) / (np.cumsum(w) + (w * p).sum() + 1e-300)
    return float(p[int(np.argmax(expected))])
