"""Feature selection: the frame and the label in, the features ranked by mutual information with the label out.

Each feature is cut into at most 16 quantile bins (numbers) or taken by its codes; the plug-in estimate from the
weighted contingency table is lowered by its first-order bias (Miller, 1955), so that many rare categories don't win
by chance. Whole columns are selected, not single one-hot columns: that is what a reader of the report can act on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]
BINS = 16


def mutual_information(cells: Array, y: Array, weight: Array | None = None) -> float:
    r"""Mutual information of a discrete feature with a 0/1 label, in nats, bias-corrected, at least 0.

    `cells` are non-negative integers, one a row. The estimate is
    :math:`\sum_{c,y} p(c,y) \log \frac{p(c,y)}{p(c)p(y)} - \frac{K-1}{2n}` with K the number of cells.

    >>> y = np.array([0, 1] * 500)
    >>> round(mutual_information(y, y), 3), mutual_information(np.zeros(1000, int), y)
    (0.693, 0.0)
    """
    weight = np.ones(len(y)) if weight is None else weight
    joint = np.bincount(cells * 2 + y, weights=weight).astype(float)
    joint = np.pad(joint, (0, -len(joint) % 2)).reshape(-1, 2)
    joint = joint[joint.sum(axis=1) > 0]
    total = joint.sum()
    p = joint / total
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    seen = p > 0
    plug_in = float((p[seen] * np.log(p[seen] / expected[seen])).sum())
    effective = weight.sum() ** 2 / (weight**2).sum()
    return max(0.0, plug_in - (len(joint) - 1) / (2 * effective))


def rank_features(frame: pd.DataFrame, y: Array, weight: Array) -> list[tuple[str, float]]:
    """Every feature with its mutual information with the label, the highest first; ties by name."""
    ranked = []
    for name in frame.columns:
        values = frame[name].to_numpy()
        if values.dtype.kind == "f":
            missing = np.isnan(values)
            edges = np.unique(np.quantile(values[~missing], np.linspace(0, 1, BINS + 1)[1:-1]))
            cells = np.where(missing, 0, 1 + np.searchsorted(edges, values, side="right"))
        else:
            cells = values.astype(np.int64) + 1
        ranked.append((str(name), mutual_information(cells, y.astype(np.int64), weight)))
    return sorted(ranked, key=lambda pair: (-pair[1], pair[0]))
