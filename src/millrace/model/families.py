"""The model families: parameters in, an unfitted scikit-learn classifier out, with the shape of input it wants.

=====================  =========================================================================================
logistic_regression    L2, lbfgs; standardised numbers, one-hot codes
sgd                    logistic loss, constant step 0.01, averaged; `partial_fit` over chunks (see `fitting.fit_sgd`)
naive_bayes            multinomial over one-hot quantile bins and codes, which is naive Bayes on categorical features:
                       each row has one 1 per feature; a missing or new value says nothing
decision_tree          numbers as they are, codes in order of frequency
random_forest          the same, 200 trees
hist_gradient_boosting the same, codes as native categories; leaves shrunk by an L2 of 1, as XGBoost does (see below)
=====================  =========================================================================================

`high` categories are cross-fitted target means in each.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

from millrace.errors import RequestError
from millrace.model.features import FeaturePlan
from millrace.spec import ModelName

Style = Literal["linear", "bins", "trees"]
HGB_CATEGORIES = 250  # HistGradientBoosting bins a native category into at most 255 values
SGD_DEFAULTS: dict[str, Any] = {"mode": "mini_batch", "epochs": 10, "chunk_rows": 8192}


@dataclass(frozen=True)
class Family:
    """A model family: its input's style, default parameters, and the search space of `tune` where none is given."""

    style: Style
    defaults: dict[str, Any]
    space: dict[str, Any]
    own: dict[str, Any]  # parameters that Millrace itself reads

    def split(self, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters of the classifier, and Millrace's own, each over its defaults."""
        own = {name: params.get(name, value) for name, value in self.own.items()}
        return {**self.defaults, **{k: v for k, v in params.items() if k not in self.own}}, own


FAMILIES: dict[ModelName, Family] = {
    "logistic_regression": Family(
        "linear", {"C": 1.0, "max_iter": 500}, {"C": {"low": 1e-4, "high": 100.0, "log": True}}, {}
    ),
    "sgd": Family(
        "linear",
        {"loss": "log_loss", "average": True, "alpha": 1e-5, "learning_rate": "constant", "eta0": 0.01},
        {"alpha": {"low": 1e-7, "high": 1e-2, "log": True}},
        SGD_DEFAULTS,
    ),
    "naive_bayes": Family("bins", {"alpha": 1.0}, {"alpha": {"low": 0.01, "high": 100.0, "log": True}}, {}),
    "decision_tree": Family(
        "trees",
        {"min_samples_leaf": 50},
        {
            "max_depth": {"low": 3, "high": 16},
            "min_samples_leaf": {"low": 10, "high": 500, "log": True},
        },
        {},
    ),
    "random_forest": Family(
        "trees",
        {"n_estimators": 200, "min_samples_leaf": 5},
        {
            "min_samples_leaf": {"low": 1, "high": 50, "log": True},
            "max_features": ["sqrt", 0.3, 0.6],
        },
        {},
    ),
    "hist_gradient_boosting": Family(
        "trees",
        # Where positives are rare, a leaf's step is gradient / hessian with a hessian near 0: without a penalty
        # boosting diverges (0.2 % positive clicks: an AUC of 0.62 instead of 0.96).
        {"l2_regularization": 1.0},
        {
            "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
            "max_leaf_nodes": [7, 15, 31, 63],
            "min_samples_leaf": {"low": 10, "high": 200, "log": True},
            "l2_regularization": {"low": 1e-3, "high": 10.0, "log": True},
        },
        {},
    ),
}


def build_classifier(name: ModelName, params: dict[str, Any], plan: FeaturePlan, seed: int) -> Any:
    """The unfitted classifier of a family with these parameters over its defaults.

    Raises RequestError, with the nearest right name, for a parameter that the family doesn't have.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.tree import DecisionTreeClassifier

    classes = {
        "logistic_regression": LogisticRegression,
        "sgd": SGDClassifier,
        "naive_bayes": MultinomialNB,
        "decision_tree": DecisionTreeClassifier,
        "random_forest": RandomForestClassifier,
        "hist_gradient_boosting": HistGradientBoostingClassifier,
    }
    family = FAMILIES[name]
    settings, _ = family.split(params)
    classifier = classes[name]()
    known = sorted({*classifier.get_params(), *family.own})
    for parameter in params:
        if parameter not in known:
            near = difflib.get_close_matches(parameter, known, 1)
            raise RequestError(
                f"train.params: {name} has no parameter {parameter!r}",
                expected=f"one of {', '.join(known)}",
                hint=f"did you mean {near[0]!r}?" if near else None,
            )
    if "random_state" in known:
        settings.setdefault("random_state", seed)
    if name == "hist_gradient_boosting":
        native = [at for at in plan.positions("low") if len(plan.features[at].vocabulary) <= HGB_CATEGORIES]
        settings.setdefault("categorical_features", native or None)
    return classifier.set_params(**settings)
