"""How far to trust a category's own mean: codes and labels in, the strength of the prior out.

A target mean of a category with n rows, k of them positive, is (k + m·p) / (n + m), with p the share of positives and m
the strength of the prior, in rows. scikit-learn's `smooth="auto"` takes m from the variance inside the category itself,
which is 0 for a category with one class: a value seen once, and not positive, is taken for certain. Here m comes from
all categories of the column together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
WEAKEST, STRONGEST = 0.1, 1e6  # rows


def prior_strength(codes: Array, y: Array) -> float:
    r"""The prior's strength m of a beta-binomial model of a category's positives, by moments.

    `codes` are integers from -1 on, one a row; `y` 0 or 1. With n_j rows and mean y_j in category j, N rows, J
    categories and mean p in all, the weighted spread :math:`S = \sum_j n_j (y_j - p)^2 / (p (1 - p))` has expectation
    :math:`(1 - \rho)(J - 1) + \rho (N - \sum_j n_j^2 / N)`, where :math:`\rho` is the correlation of two rows of a
    category; :math:`m = 1/\rho - 1` (Kleinman, 1973, doi:10.1080/01621459.1973.10481332). Between 0.1 and 10⁶ rows.

    >>> y = np.array([1, 1, 0, 0] * 25)
    >>> prior_strength(y, y), prior_strength(np.arange(100) % 5, y)
    (0.1, 1000000.0)
    """
    rows = np.bincount(codes.astype(np.int64) + 1).astype(float)
    positives = np.bincount(codes.astype(np.int64) + 1, weights=y)[rows > 0]
    rows = rows[rows > 0]
    total, share = rows.sum(), positives.sum() / rows.sum()
    by_chance, pairs = len(rows) - 1.0, total - (rows**2).sum() / total
    variance = share * (1 - share)
    if variance == 0 or pairs <= by_chance:  # one class, or every value seen once: nothing to learn
        return STRONGEST
    spread = (rows * (positives / rows - share) ** 2).sum() / variance
    correlation = (spread - by_chance) / (pairs - by_chance)
    if correlation <= 0:
        return STRONGEST
    return float(np.clip(1 / correlation - 1, WEAKEST, STRONGEST))
