"""Feature selection: the frame and the label in, the features ranked by mutual information with the label out.

Each feature is cut into at most 16 quantile bins (numbers) or taken by its codes. From the plug-in estimate of the
weighted contingency table its mean under shuffled labels is taken away, so that many rare categories don't win by
chance (the first-order correction of Miller, 1955, is too small where a category has a handful of rows). Whole columns
are selected, not single one-hot columns: that is what a reader of the report can act on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
BINS = 16
SHUFFLES = 5


def mutual_information(cells: Array, y: Array, weight: Array | None = None) -> float:
    r"""Plug-in estimate of the mutual information of a discrete feature with a 0/1 label, in nats, at least 0.

    `cells` are non-negative integers, one a row:
    :math:`\sum_{c,y} p(c,y) \log \frac{p(c,y)}{p(c)p(y)}`.

    >>> y = np.array([0, 1] * 500)
    >>> round(mutual_information(y, y), 3), mutual_information(np.zeros(1000, int), y)
    (0.693, 0.0)
    """
    weight = np.ones(len(y)) if weight is None else weight
    joint = np.bincount(cells * 2 + y, weights=weight).astype(float)
    joint = np.pad(joint, (0, -len(joint) % 2)).reshape(-1, 2)
    p = joint / joint.sum()
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    seen = p > 0
    return max(0.0, float((p[seen] * np.log(p[seen] / expected[seen])).sum()))


def rank_features(frame: pd.DataFrame, y: Array, weight: Array) -> list[tuple[str, float]]:
    """Every feature with its corrected mutual information with the label, the highest first; ties by name."""
    draw = np.random.default_rng(0)
    orders = [draw.permutation(len(y)) for _ in range(SHUFFLES)]
    label = y.astype(np.int64)
    ranked = []
    for name in frame.columns:
        values = frame[name].to_numpy()
        if values.dtype.kind == "f":
            missing = np.isnan(values)
            edges = np.unique(np.quantile(values[~missing], np.linspace(0, 1, BINS + 1)[1:-1]))
            cells = np.where(missing, 0, 1 + np.searchsorted(edges, values, side="right"))
        else:
            cells = values.astype(np.int64) + 1
        chance = np.mean([mutual_information(cells, label[order], weight[order]) for order in orders])
        found = mutual_information(cells, label, weight) - float(chance)
        ranked.append((str(name), max(0.0, found)))
    return sorted(ranked, key=lambda pair: (-pair[1], pair[0]))
