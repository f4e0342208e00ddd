"""Class imbalance: encoded rows in, rebalanced rows out, and the correction that keeps probabilities calibrated.

Weighting or resampling the classes changes the share of positives from π to π'. A model fitted on the changed rows
estimates odds that are too high by the factor π'/(1-π') · (1-π)/π; dividing by it gives the probabilities of the
unchanged population (Elkan, 2001; Saerens, Latinne and Decaestecker, 2002, doi:10.1162/089976602753284446).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from millrace.model.features import FeaturePlan

Array = np.ndarray[Any, Any]


def odds_factor(prior: float, fitted_prior: float) -> float:
    """What to multiply the model's odds by, given the share of positives in the population and in the fitted rows.

    >>> round(odds_factor(0.1, 0.5), 6)
    0.111111
    """
    return prior / (1 - prior) * (1 - fitted_prior) / fitted_prior


def correct(probability: Array, factor: float) -> Array:
    """Probabilities with their odds multiplied by `factor`.

    >>> correct(np.array([0.0, 0.5, 1.0]), 1 / 9).round(3).tolist()
    [0.0, 0.1, 1.0]
    """
    if factor == 1.0:
        return probability
    raised = probability * factor
    return raised / (raised + (1 - probability))


def class_weights(y: Array, weight: Array) -> Array:
    """Weights with which both classes weigh the same, mean 1.

    >>> class_weights(np.array([0, 0, 0, 1]), np.ones(4)).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    share = float(np.average(y, weights=weight))
    balanced = weight * np.where(y == 1, 0.5 / share, 0.5 / (1 - share))
    return balanced / balanced.mean()


def resample(
    encoded: Array, y: Array, weight: Array, plan: FeaturePlan, method: Literal["smote", "under"], seed: int
) -> tuple[Array, Array, Array, str | None]:
    """Rows rebalanced to equal counts: new matrix, labels, weights, and a note where nothing was done.

    `under` drops rows of the larger class at random. `smote` adds rows of the smaller class between neighbours
    (SMOTENC: codes by majority of the neighbours; numbers are imputed by the median and compared at unit variance);
    an added row gets its class's mean weight.
    """
    small = int(min(y.sum(), len(y) - y.sum()))
    if method == "under":
        from imblearn.under_sampling import RandomUnderSampler

        kept = RandomUnderSampler(random_state=seed).fit_resample(np.arange(len(y)).reshape(-1, 1), y)[0].ravel()
        kept = np.sort(kept)
        return encoded[kept], y[kept], weight[kept], None
    if small < 6:
        return encoded, y, weight, f"smote: {small} rows of the smaller class are too few, nothing added"
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    codes = plan.positions("time", "low")
    numbers = plan.positions("numeric", "high")
    filled = encoded.copy()
    medians = np.nan_to_num(np.nanmedian(filled[:, numbers], axis=0)) if numbers else np.empty(0)
    filled[:, numbers] = np.where(np.isnan(filled[:, numbers]), medians, filled[:, numbers])
    spread = filled[:, numbers].std(axis=0)
    spread[spread == 0] = 1.0
    filled[:, numbers] /= spread
    if not codes:
        sampler: Any = SMOTE(random_state=seed)
    elif not numbers:
        sampler = SMOTEN(random_state=seed)
    else:
        sampler = SMOTENC(codes, random_state=seed)
    grown, grown_y = sampler.fit_resample(filled, y)
    grown = np.asarray(grown, dtype=np.float64)
    grown[:, numbers] *= spread
    grown[: len(y)] = encoded  # the real rows keep their missing values
    rare = int(y.sum() * 2 < len(y))
    added = np.full(len(grown_y) - len(y), weight[y == rare].mean())
    return grown, grown_y, np.concatenate([weight, added]), None
