"""The table of parameters is scikit-learn's: the same names, the same values, and every value in it can be fitted."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from sklearn.utils._param_validation import make_constraint

from millrace.hyperparameters import EVERYWHERE, LEFT_OUT, PARAMETERS, RULES, accepts, together
from millrace.model.families import FAMILIES, build_classifier
from millrace.model.features import Feature, FeaturePlan
from millrace.model.fitting import fit_sgd
from millrace.model.threads import limit_threads
from millrace.spec import ModelName

MODELS: tuple[ModelName, ...] = get_args(ModelName)
PLAN = FeaturePlan(features=[Feature(name="a", column="a", kind="numeric"), Feature(name="b", column="b", kind="low")])
PROBES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 3, 255, 256, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, float("inf"), float("nan")),
    *("", "auto", "balanced", "best", "entropy", "gini", "log2", "log_loss", "pairwise", "random", "saga", "sqrt", "5"),
    *("constant", "l1", "lbfgs", "hinge", "modified_huber", "optimal", "pa1", "elasticnet", [], [1], {}),
]
STRICTER: dict[tuple[str, str], list[Any]] = {
    ("logistic_regression", "l1_ratio"): [None],
    ("logistic_regression", "max_iter"): [0],
    ("sgd", "l1_ratio"): [None],
    ("sgd", "loss"): ["hinge"],
    ("sgd", "learning_rate"): ["pa1"],
    ("sgd", "power_t"): [float("inf")],
    ("naive_bayes", "alpha"): [[], [1], {}],
    ("random_forest", "max_samples"): [1.5, float("inf")],
    ("hist_gradient_boosting", "interaction_cst"): [[], [1]],
}
"""Values that scikit-learn takes and Millrace doesn't: they do nonsense, or give no probabilities."""


def classifier(model: ModelName) -> Any:
    return build_classifier(model, {}, PLAN, 1)


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_of_scikit_learn_is_in_the_table_or_left_out_with_a_reason(model: ModelName) -> None:
    theirs = set(classifier(model).get_params())
    table, left_out = set(PARAMETERS[model]), set(LEFT_OUT[model])
    assert table | left_out | (set(EVERYWHERE) & theirs) == theirs | set(FAMILIES[model].own)
    assert not table & (left_out | set(EVERYWHERE))


@pytest.mark.parametrize("model", MODELS)
def test_the_table_takes_the_values_that_scikit_learn_takes(model: ModelName) -> None:
    constraints = classifier(model)._parameter_constraints
    for name in set(PARAMETERS[model]) - set(FAMILIES[model].own):
        theirs = [
            value for value in PROBES if any(make_constraint(c).is_satisfied_by(value) for c in constraints[name])
        ]
        stricter = STRICTER.get((model, name), [])
        wanted = [value for value in theirs if not any(value is each or value == each for each in stricter)]
        if bool not in get_args(PARAMETERS[model][name]) and PARAMETERS[model][name] is not bool:
            wanted = [value for value in wanted if not isinstance(value, bool)]  # Python's booleans are numbers
        ours = [value for value in PROBES if accepts(model, name, value)]
        assert [repr(value) for value in ours] == [repr(value) for value in wanted], name


@pytest.mark.parametrize("model", MODELS)
def test_defaults_and_own_search_spaces_are_in_the_table(model: ModelName) -> None:
    family = FAMILIES[model]
    for name, value in {**family.defaults, **family.own}.items():
        assert accepts(model, name, value), name
    for name, choices in family.space.items():
        ends = choices if isinstance(choices, list) else [choices["low"], choices["high"]]
        assert all(accepts(model, name, each) for each in ends), name


SMALL: dict[str, dict[str, Any]] = {"random_forest": {"n_estimators": 2}, "hist_gradient_boosting": {"max_iter": 2}}


@pytest.mark.parametrize("model", MODELS)
def test_every_value_in_the_table_can_be_fitted(model: ModelName) -> None:
    draw = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = np.column_stack([np.abs(y + draw.normal(size=60)), draw.integers(0, 3, 60)])
    alone = [{name: each} for name in PARAMETERS[model] for each in PROBES if accepts(model, name, each)]
    for params in alone:
        if 255 in params.values() or 256 in params.values() or list(together(model, params, {})):
            continue  # large counts take their time; what is wrong together has a test of its own
        built = build_classifier(model, {**SMALL.get(model, {}), **params}, PLAN, 1)
        with limit_threads(1):
            if model == "sgd":
                built = fit_sgd(built, x, y, np.ones(60), {**FAMILIES[model].split(params)[1], "seed": 1})
            else:
                built.fit(x, y, sample_weight=np.ones(60))
        assert built.predict_proba(x).shape == (60, 2), params


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("logistic_regression", {"l1_ratio": 0.5}),
        ("logistic_regression", {"l1_ratio": 0.5, "solver": "liblinear"}),
        ("logistic_regression", {"dual": True}),
        ("logistic_regression", {"dual": True, "solver": "liblinear", "l1_ratio": 1.0}),
        ("logistic_regression", {"solver": "liblinear", "C": float("inf")}),
        ("random_forest", {"bootstrap": False, "max_samples": 0.5}),
    ],
)
def test_what_is_wrong_together_is_what_scikit_learn_refuses(model: ModelName, params: dict[str, Any]) -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    assert list(together(model, params, {}))
    with pytest.raises(ValueError):
        build_classifier(model, params, PLAN, 1).fit(x, y)
    assert model in RULES
