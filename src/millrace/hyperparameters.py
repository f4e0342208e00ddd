"""Parameters of the model families: names, types and bounds, as `train.params` and `tune.space` may give them.

A table of our own, so that a pipeline file is checked without importing scikit-learn; a test holds it against
scikit-learn's own signatures and constraints. Values are strict: a whole number may stand for a number, nothing else
is converted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice, product
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from millrace.spec import ModelName


def _fraction_not_whole(value: object) -> object:
    if isinstance(value, int):
        raise ValueError("a fraction is written with a point, such as 1.0")
    return value


Count = Annotated[int, Field(ge=1)]
Two = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
PositiveFinite = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Inside = Annotated[float, Field(gt=0, lt=1)]
UpToAll = Annotated[float, Field(gt=0, le=1), BeforeValidator(_fraction_not_whole)]

TREES: dict[str, Any] = {
    "criterion": Literal["gini", "entropy", "log_loss"],
    "max_depth": Count | None,
    "min_samples_split": Two | UpToAll,
    "min_samples_leaf": Count | Inside,
    "min_weight_fraction_leaf": Annotated[float, Field(ge=0, le=0.5)],
    "max_features": Count | UpToAll | Literal["sqrt", "log2"] | None,
    "max_leaf_nodes": Two | None,
    "min_impurity_decrease": NotNegative,
    "ccp_alpha": NotNegative,
}
PARAMETERS: dict[ModelName, dict[str, Any]] = {
    "logistic_regression": {
        "C": Positive,
        "l1_ratio": Share,
        "dual": bool,
        "tol": NotNegative,
        "fit_intercept": bool,
        "intercept_scaling": PositiveFinite,
        "solver": Literal["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"],
        "max_iter": Count,
    },
    "sgd": {
        "mode": Literal["stochastic", "mini_batch", "online"],
        "epochs": Count,
        "chunk_rows": Count,
        "loss": Literal["log_loss", "modified_huber"],
        "penalty": Literal["l1", "l2", "elasticnet"] | None,
        "alpha": NotNegative,
        "l1_ratio": Share,
        "fit_intercept": bool,
        "shuffle": bool,
        "learning_rate": Literal["constant", "optimal", "invscaling", "adaptive"],
        "eta0": PositiveFinite,
        "power_t": Annotated[float, Field(allow_inf_nan=False)],
        "average": bool | Count,
    },
    "naive_bayes": {"alpha": NotNegative, "fit_prior": bool, "force_alpha": bool},
    "decision_tree": {"splitter": Literal["best", "random"], **TREES},
    "random_forest": {"n_estimators": Count, "bootstrap": bool, "max_samples": Count | UpToAll | None, **TREES},
    "hist_gradient_boosting": {
        "loss": Literal["log_loss"],
        "learning_rate": PositiveFinite,
        "max_iter": Count,
        "max_leaf_nodes": Two | None,
        "max_depth": Count | None,
        "min_samples_leaf": Count,
        "l2_regularization": NotNegative,
        "max_features": UpToAll,
        "interaction_cst": Literal["pairwise", "no_interactions"] | None,
        "early_stopping": Literal["auto"] | bool,
        "validation_fraction": Count | Inside | None,
        "n_iter_no_change": Count,
        "tol": NotNegative,
    },
}

EVERYWHERE = {
    "random_state": "the seed follows from pipeline and interval, so that a rerun gives the same model",
    "n_jobs": "fitting takes the cores that are free",
    "verbose": "nothing shows it",
    "warm_start": "each run fits anew",
    "class_weight": "it stands beside params: train.class_weight",
    "monotonic_cst": "which features there are is decided by the data",
    "categorical_features": "the columns' roles say it",
}
LEFT_OUT: dict[ModelName, dict[str, str]] = {
    "logistic_regression": {"penalty": "l1_ratio: 0 is l2, 1 is l1; C: .inf is none"},
    "sgd": {
        "max_iter": "rows come in chunks: epochs is the number of passes",
        "tol": "rows come in chunks: epochs is the number of passes",
        "early_stopping": "rows come in chunks: epochs is the number of passes",
        "n_iter_no_change": "rows come in chunks: epochs is the number of passes",
        "validation_fraction": "rows come in chunks: epochs is the number of passes",
        "epsilon": "it belongs to losses without probabilities",
    },
    "naive_bayes": {"class_prior": "scores are probabilities: their prior is the data's"},
    "decision_tree": {},
    "random_forest": {"oob_score": "the holdout judges"},
    "hist_gradient_boosting": {
        "max_bins": "each category of a column needs a bin: there are always 255",
        "scoring": "early stopping goes by the loss",
    },
}
"""Parameters of scikit-learn that a pipeline file can't set, and why."""

MANY = 1000  # combinations of a space that are looked at: as many as a grid may have


@cache
def _adapter(model: ModelName, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(PARAMETERS[model][name], config=ConfigDict(strict=True))


def accepts(model: ModelName, name: str, value: Any) -> bool:
    """Whether a parameter of a family may have a value.

    >>> accepts("random_forest", "max_features", "sqrt"), accepts("random_forest", "n_estimators", "100")
    (True, False)
    """
    try:
        _adapter(model, name).validate_python(value)
    except ValidationError:
        return False
    return True


def words(model: ModelName, name: str) -> str:
    """The values that a parameter may have, for people.

    >>> words("random_forest", "max_features")
    'a whole number of at least 1, a number above 0 up to 1, sqrt, log2 or null'
    """
    schema = _adapter(model, name).json_schema()
    parts = [part for each in schema.get("anyOf", [schema]) for part in _schema_words(each)]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _schema_words(schema: Mapping[str, Any]) -> list[str]:
    if "const" in schema or "enum" in schema:
        return [str(each) for each in schema.get("enum", [schema.get("const")])]
    noun = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
    limits = []
    if "exclusiveMinimum" in schema:
        limits.append(f"above {schema['exclusiveMinimum']:g}")
    if "minimum" in schema:
        limits.append(f"{'from' if 'maximum' in schema else 'of at least'} {schema['minimum']:g}")
    if "exclusiveMaximum" in schema:
        limits.append(f"below {schema['exclusiveMaximum']:g}")
    if "maximum" in schema:
        limits.append(f"up to {schema['maximum']:g}")
    return [
        " ".join([noun[schema["type"]], " and ".join(limits) if "below" in str(limits) else " ".join(limits)]).strip()
    ]


def reason_left_out(model: ModelName, name: str) -> str | None:
    """Why a pipeline file can't set a parameter that scikit-learn has; None where there is no such parameter."""
    return LEFT_OUT[model].get(name) or EVERYWHERE.get(name)


def points(choices: Any) -> list[Any]:
    """Values that stand for a range or list of `tune.space`: the two ends of a range, all of a list.

    >>> points({"low": 1, "high": 4}), points({"low": 1, "high": 4.5}), points(["a", "b"])
    ([1, 4], [1.0, 4.5], ['a', 'b'])
    """
    if isinstance(choices, list):
        return choices
    low, high = choices["low"], choices["high"]
    whole = isinstance(low, int) and isinstance(high, int)
    return [low, high] if whole else [float(low), float(high)]


def together(model: ModelName, params: Mapping[str, Any], space: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Values that are right alone and wrong together, at most one of each rule: parameter, what was expected, found.

    >>> list(together("logistic_regression", {"l1_ratio": 0.5}, {}))
    [('l1_ratio', '0 with solver lbfgs (saga takes any share, liblinear 0 or 1)', 0.5)]
    """
    for names, rule in RULES.get(model, []):
        choices = [points(space[name]) if name in space else [params.get(name)] for name in names]
        found = (rule(*values) for values in islice(product(*choices), MANY))
        yield from islice((each for each in found if each is not None), 1)


Broken = tuple[str, str, Any] | None


def _solver(solver: str | None, l1_ratio: float | None) -> Broken:
    solver, l1_ratio = solver or "lbfgs", l1_ratio or 0
    if l1_ratio == 0 or solver == "saga" or (solver == "liblinear" and l1_ratio == 1):
        return None
    return "l1_ratio", f"0 with solver {solver} (saga takes any share, liblinear 0 or 1)", l1_ratio


def _dual(dual: bool | None, solver: str | None, l1_ratio: float | None) -> Broken:
    if not dual or (solver == "liblinear" and not l1_ratio):
        return None
    return "dual", "false, except with solver liblinear and l1_ratio 0", True


def _unlimited(solver: str | None, strength: float | None) -> Broken:
    if solver != "liblinear" or strength is None or math.isfinite(strength):
        return None
    return "C", "a finite number with solver liblinear", strength


def _bootstrap(bootstrap: bool | None, max_samples: float | None) -> Broken:
    if max_samples is None or bootstrap is not False:
        return None
    return "max_samples", "null without bootstrap", max_samples


RULES: dict[ModelName, list[tuple[tuple[str, ...], Callable[..., Broken]]]] = {
    "logistic_regression": [
        (("solver", "l1_ratio"), _solver),
        (("dual", "solver", "l1_ratio"), _dual),
        (("solver", "C"), _unlimited),
    ],
    "random_forest": [(("bootstrap", "max_samples"), _bootstrap)],
}


def params_schema() -> list[dict[str, Any]]:
    """JSON Schema of the section `train`, one condition a family: which names and values `params` may have."""
    return [
        {
            "if": {"properties": {"model": {"const": model}}, **({} if model == DEFAULT else {"required": ["model"]})},
            "then": {
                "properties": {
                    "params": {
                        "additionalProperties": False,
                        "properties": {name: _adapter(model, name).json_schema() for name in table},
                    },
                    "tune": {"properties": {"space": {"propertyNames": {"enum": sorted(table)}}}},
                }
            },
        }
        for model, table in PARAMETERS.items()
    ]


DEFAULT: ModelName = "logistic_regression"
