"""Additive scorers: a fitted linear or naive Bayes pipeline in; one small table or slope per feature out.

The log-odds of such a model are a sum over features, whatever imputation, scaling, one-hot and target encoding lie in
between: :math:`\\eta = b + \\sum_j f_j(x_j)`. Each f_j is found by probing the fitted model: over all codes of a
category, at two points and NaN for a number under a linear model, once per bin under a binned one. Scoring is then a
gather or a multiplication per feature, in one pass and without scikit-learn; a category's table is looked up once for
each entry of a dictionary. Probabilities agree with the pipeline's to 1e-9.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from millrace.errors import CorruptData
from millrace.model.features import HUGE, Feature, FeaturePlan, gather, numbers

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Part:
    """One feature's contribution to the log-odds.

    `edges` None and a number: `slope`·x, or `missing` for NaN. With `edges`: `table` by bin, or `missing`.
    A category: `table` at code + 1.
    """

    name: str
    slope: float = 0.0
    missing: float = 0.0
    edges: Array | None = None
    table: Array | None = None

    def add_to(self, total: Array, batch: pa.RecordBatch | pa.Table, feature: Feature) -> None:
        """Add what this feature contributes to the log-odds of each row."""
        if feature.kind != "numeric":
            assert self.table is not None
            total += gather(batch, feature, self.table)
            return
        values = numbers(batch, feature)
        unknown = np.isnan(values)
        if self.edges is None or self.table is None:
            added = np.multiply(values, self.slope, out=values)
        else:
            added = self.table.take(np.searchsorted(self.edges, values, side="right"), mode="clip")
        np.copyto(added, self.missing, where=unknown)
        total += added


@dataclass(frozen=True)
class AdditiveModel:
    """The sum of its parts."""

    bias: float
    parts: tuple[Part, ...]

    def probabilities(self, batch: pa.RecordBatch | pa.Table, plan: FeaturePlan) -> Array:
        """The probability of the positive label for every row, by the plan's features."""
        total = np.full(batch.num_rows, self.bias)
        for part, feature in zip(self.parts, plan.features, strict=True):
            part.add_to(total, batch, feature)
        return expit(total)

    def to_bytes(self) -> bytes:
        """As an .npz of plain arrays (no objects), with a JSON header."""
        arrays: dict[str, Array] = {}
        header: list[dict[str, Any]] = []
        for at, part in enumerate(self.parts):
            header.append({"name": part.name, "slope": part.slope, "missing": part.missing})
            for kind in ("edges", "table"):
                if (values := getattr(part, kind)) is not None:
                    arrays[f"{kind}{at}"] = values
        text = json.dumps({"bias": self.bias, "parts": header})
        buffer = io.BytesIO()
        arrays["header"] = np.frombuffer(text.encode(), np.uint8)
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> AdditiveModel:
        """The inverse of `to_bytes`. Raises CorruptData for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                header = json.loads(arrays["header"].tobytes())
                parts = tuple(
                    Part(
                        **entry,
                        **{kind: arrays[f"{kind}{at}"] for kind in ("edges", "table") if f"{kind}{at}" in arrays},
                    )
                    for at, entry in enumerate(header["parts"])
                )
            return cls(float(header["bias"]), parts)
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise CorruptData("an additive model can't be decoded", found=str(error).split("\n")[0]) from error


def expit(log_odds: Array) -> Array:
    """Log-odds as probabilities, in place: 1 / (1 + exp(-x)), for |x| ≤ 700 beyond.

    >>> expit(np.array([0.0, 1.0, -1e300])).round(6).tolist()
    [0.5, 0.731059, 0.0]
    """
    np.clip(log_odds, -700, 700, out=log_odds)
    np.negative(log_odds, out=log_odds)
    np.exp(log_odds, out=log_odds)
    log_odds += 1
    return np.reciprocal(log_odds, out=log_odds)


def make_additive(estimator: Any, plan: FeaturePlan) -> AdditiveModel:
    """The additive form of a fitted linear or naive Bayes pipeline."""
    import pandas as pd

    base = {f.name: np.zeros(1) if f.kind == "numeric" else np.zeros(1, np.int32) for f in plan.features}

    def probe(name: str, values: Array) -> Array:
        columns = {k: np.repeat(v, len(values)) for k, v in base.items()}
        return _log_odds(estimator, pd.DataFrame({**columns, name: values}, columns=plan.names))

    bias = float(_log_odds(estimator, pd.DataFrame(base, columns=plan.names))[0])
    bins = _bin_edges(estimator, plan)
    parts = []
    for feature in plan.features:
        name = feature.name
        if feature.kind != "numeric":
            parts.append(Part(name, table=probe(name, np.arange(-1, feature.codes - 1, dtype=np.int32)) - bias))
            continue
        missing = float(probe(name, np.array([np.nan]))[0]) - bias
        if name in bins:
            edges = bins[name]
            inner = np.concatenate([[-HUGE], edges])
            parts.append(Part(name, missing=missing, edges=edges, table=probe(name, inner) - bias))
        else:
            step = _spread(estimator, plan, name)
            low, high = probe(name, np.array([0.0, step])) - bias
            parts.append(Part(name, slope=float((high - low) / step), missing=missing))
    return AdditiveModel(bias, tuple(parts))


def _log_odds(estimator: Any, frame: pd.DataFrame) -> Array:
    if hasattr(estimator, "decision_function"):
        return np.asarray(estimator.decision_function(frame))
    both = estimator.predict_log_proba(frame)
    return np.asarray(both[:, 1] - both[:, 0])


def _numbers_step(estimator: Any) -> Any:
    """The fitted pipeline of the number-like columns, which the shaper keeps as `numbers`."""
    shaper = estimator.named_steps["shape"]
    columns = shaper.named_steps["columns"] if hasattr(shaper, "named_steps") else shaper
    return columns.named_transformers_.get("numbers")


def _bin_edges(estimator: Any, plan: FeaturePlan) -> dict[str, Array]:
    """Inner bin edges per numeric feature; empty under a linear model."""
    numbers = _numbers_step(estimator)
    if numbers is None or "bins" not in numbers.named_steps:
        return {}
    names = [plan.features[at].name for at in plan.positions("numeric", "high")]
    edges = numbers.named_steps["bins"].bin_edges_
    return {name: np.asarray(edges[at][1:-1], np.float64) for at, name in enumerate(names)}


def _spread(estimator: Any, plan: FeaturePlan, name: str) -> float:
    """The training deviation of a number: the step at which its slope is probed."""
    names = [plan.features[at].name for at in plan.positions("numeric", "high")]
    return float(_numbers_step(estimator).named_steps["scale"].scale_[names.index(name)])
