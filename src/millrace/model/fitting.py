"""Fitting: prepared rows and parameters in, a fitted scikit-learn pipeline (frame → probabilities) out.

The steps run one by one, because weights, resampling and chunks go between them: encode (cross-fitted), rebalance,
shape, classify. What comes out is an ordinary `Pipeline` of the fitted steps.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.errors import RequestError
from millrace.model.families import FAMILIES, build_classifier
from millrace.model.features import FeaturePlan, build_encoder, build_shaper
from millrace.model.prepare import Prepared
from millrace.model.resample import class_weights, correct, odds_factor, resample
from millrace.model.target_means import prior_strength
from millrace.model.threads import free_cores, limit_threads
from millrace.spec import Train

Array = np.ndarray[Any, Any]
EXPECTED_WARNINGS = ("Bins whose width are too small",)  # few distinct numbers: fewer bins serve
SGD_MODES = ("stochastic", "mini_batch", "online")


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator and the factor that its odds are multiplied by (1 unless classes were rebalanced)."""

    estimator: Any
    odds: float
    notes: list[str]

    def probabilities(self, frame: Any) -> Array:
        """The probability of the positive label, per row of a frame."""
        with limit_threads(1):
            return correct(self.estimator.predict_proba(frame)[:, 1], self.odds)


def fit_rows(prepared: Prepared, train: Train, params: dict[str, Any], seed: int, rows: Array | None = None) -> Fitted:
    """Fit one model on these rows (positions; all by default) with these parameters over the family's defaults.

    Raises RequestError for a parameter, or a parameter's value, that the family refuses.
    """
    from sklearn.pipeline import Pipeline as Steps

    frame = prepared.frame if rows is None else prepared.frame.iloc[rows]
    y = prepared.y if rows is None else prepared.y[rows]
    weight = prepared.weight if rows is None else prepared.weight[rows]
    plan, family = prepared.plan, FAMILIES[train.model]
    seed %= 2**32
    classifier = build_classifier(train.model, params, plan, seed)
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = build_encoder(plan, seed, _strengths(frame, y, plan))
        encoded = _encode(encoder, frame, y)
        prior = float(np.average(y, weights=weight))
        if train.resample is not None:
            encoded, y, weight, note = resample(encoded, y, weight, plan, train.resample, seed)
            notes += [note] if note else []
        if train.class_weight == "balanced":
            weight = class_weights(y, weight)
        fitted_prior = float(np.average(y, weights=weight))
        style = "linear" if train.features.pca is not None else family.style
        shaper = build_shaper(plan, style, _components(train, plan), seed)
        shaped = encoded if isinstance(shaper, str) else shaper.fit_transform(encoded, y)
        try:
            if train.model == "sgd":
                classifier = fit_sgd(classifier, shaped, y, weight, {**family.split(params)[1], "seed": seed})
            else:
                _fit(classifier, shaped, y, weight)
        except (ValueError, TypeError) as error:
            raise RequestError(f"train: {train.model} can't be fitted", found=str(error).split("\n")[0]) from error
    notes += _warnings(caught)
    estimator = Steps([("encode", encoder), ("shape", shaper), ("classify", classifier)])
    return Fitted(estimator, odds_factor(prior, fitted_prior), notes)


def fit_sgd(classifier: Any, shaped: Any, y: Array, weight: Array, settings: dict[str, Any]) -> Any:
    """Fit by `partial_fit` over chunks of rows.

    `mode`: `stochastic` shuffles all rows anew in each of `epochs`; `mini_batch` shuffles once into chunks of
    `chunk_rows` and takes the chunks in a new order in each epoch; `online` passes once over the rows in time order.
    Each chunk is one `partial_fit`; inside it scikit-learn steps row by row.
    """
    mode, epochs, size = settings["mode"], int(settings["epochs"]), int(settings["chunk_rows"])
    if mode not in SGD_MODES or epochs < 1 or size < 1:
        raise RequestError("train.params of sgd", expected=f"mode one of {', '.join(SGD_MODES)}, positive sizes")
    draw = np.random.default_rng(settings["seed"])
    order = np.arange(len(y)) if mode == "online" else draw.permutation(len(y))
    for _ in range(1 if mode == "online" else epochs):
        if mode == "stochastic":
            order = draw.permutation(len(y))
        chunks = [order[at : at + size] for at in range(0, len(order), size)]
        for at in range(len(chunks)) if mode == "online" else draw.permutation(len(chunks)):
            chunk = chunks[at]
            classifier.partial_fit(shaped[chunk], y[chunk], classes=np.array([0, 1]), sample_weight=weight[chunk])
    return classifier


def _warnings(caught: list[warnings.WarningMessage]) -> list[str]:
    texts = {f"{item.category.__name__}: {str(item.message).splitlines()[0]}" for item in caught}
    return sorted(text for text in texts if not any(expected in text for expected in EXPECTED_WARNINGS))


def _fit(classifier: Any, shaped: Any, y: Array, weight: Array) -> None:
    """Use the cores while fitting only: a stored model predicts on one, since tasks run side by side."""
    parallel = type(classifier).__name__ == "RandomForestClassifier"
    if parallel:
        classifier.set_params(n_jobs=-1)
    with limit_threads(free_cores()):
        classifier.fit(shaped, y, sample_weight=weight)
    if parallel:
        classifier.set_params(n_jobs=None)


def _strengths(frame: Any, y: Array, plan: FeaturePlan) -> dict[str, float]:
    """How strong the prior is, per feature that target means replace."""
    names = [plan.features[at].name for at in plan.positions("high")]
    return {name: prior_strength(frame[name].to_numpy(), y) for name in names}


def _encode(encoder: Any, frame: Any, y: Array) -> Array:
    """Cross-fitted where each fold has both classes; fewer folds where a class has fewer than five rows."""
    targets = {name: step for name, step, _ in encoder.transformers if name != "rest"}
    folds = max(2, min(5, int(min(y.sum(), len(y) - y.sum()))))
    for step in targets.values():
        step.cv.n_splits = folds
    encoded = np.asarray(encoder.fit_transform(frame, y), dtype=np.float64)
    for name, step in targets.items():  # the folds have served: a model file holds no splitter
        step.cv = encoder.named_transformers_[name].cv = folds
    return encoded


def _components(train: Train, plan: FeaturePlan) -> float | None:
    pca = train.features.pca
    return pca if pca is None or isinstance(pca, float) and pca < 1 else min(int(pca), len(plan.features))
