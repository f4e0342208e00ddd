"""Mistakes in the section `train`: features, parameters of the model, and the space that is searched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millrace.data.mistakes import Found, nearest, unknown_column
from millrace.spec import ModelName, Pipeline

FEATURES = ("numeric", "categorical", "time")


def train_mistakes(pipeline: Pipeline) -> Iterator[Found]:
    """Each mistake of the section.

    >>> columns = {"a": {"type": "int8", "role": "numeric"}, "y": {"type": "int8", "role": "label"}}
    >>> train = {"model": "random_forest", "params": {"n_estimator": 3, "max_depth": "deep"}}
    >>> source = {"uri": "x", "interval": "none"}
    >>> for found in train_mistakes(Pipeline(name="p", source=source, columns=columns, train=train)):
    ...     print(found.path[-1], found.found, found.hint)
    n_estimator 'n_estimator' did you mean 'n_estimators'?
    max_depth 'deep' None
    """
    train = pipeline.train
    yield from _features(pipeline)
    if train.class_weight is not None and train.resample is not None:
        yield Found(["train", "class_weight"], "class_weight or resample, not both", str(train.class_weight))
    space = train.tune.space if train.tune is not None else None
    if train.tune is not None and train.tune.search == "grid" and "trials" in train.tune.model_fields_set:
        yield Found(["train", "tune", "trials"], "search random or bayesian, which make trials", "search grid")
    if train.params or space:
        yield from _parameters(train.model, train.params, space or {})


def _features(pipeline: Pipeline) -> Iterator[Found]:
    features, model = pipeline.train.features, pipeline.train.model
    useful = [name for name in pipeline.kept() if pipeline.columns[name].role in FEATURES]
    for name in features.drop:
        yield from unknown_column(["train", "features", "drop"], name, list(pipeline.columns))
        if name in pipeline.columns and name not in useful:
            expected = f"some of {', '.join(useful) or 'no column'}: no other is a feature"
            yield Found(["train", "features", "drop"], expected, repr(name))
    if pipeline.label is not None and not set(useful) - set(features.drop):
        expected = f"a kept column with role {', '.join(FEATURES)} to learn from"
        yield Found(["train", "features", "drop"] if useful else ["columns"], expected, "none")
    if features.pca is None:
        return
    if model in ("naive_bayes", "hist_gradient_boosting"):
        why = "counts" if model == "naive_bayes" else "native categories"
        expected = f"a model that takes components; {model} takes {why}"
        yield Found(["train", "features", "pca"], expected, str(features.pca))
    elif features.select is not None and features.pca > features.select:
        yield Found(["train", "features", "pca"], f"at most the {features.select} of select", str(features.pca))


def _parameters(model: ModelName, params: dict[str, Any], space: dict[str, Any]) -> Iterator[Found]:
    from millrace.hyperparameters import PARAMETERS, accepts, points, reason_left_out, together, words

    known = sorted(PARAMETERS[model])
    right = True
    for path, given in ((["train", "params"], params), (["train", "tune", "space"], space)):
        for name, value in given.items():
            if name not in known:
                right = False
                expected = f"one of {', '.join(known)}"
                yield Found([*path, name], expected, repr(name), reason_left_out(model, name) or nearest(name, known))
                continue
            values = points(value) if given is space else [value]
            for wrong in [each for each in values if not accepts(model, name, each)][:1]:
                right = False
                shown = f"{wrong!r} among {value!r}" if given is space else repr(wrong)
                yield Found([*path, name], words(model, name), shown)
    if right:
        for name, expected, value in together(model, params, space):
            path = ["train", "tune", "space"] if name in space else ["train", "params"]
            yield Found([*path, name] if name in space or name in params else path, expected, repr(value))
