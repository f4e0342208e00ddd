"""Scoring: batches of the clean schema in, probabilities out. A missing column or a new category never breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from millrace.model.additive import AdditiveModel
from millrace.model.features import to_frame
from millrace.model.model_file import LoadedModel
from millrace.model.resample import correct
from millrace.model.threads import limit_threads

CHUNK_ROWS = 65_536  # a chunk's frame and one-hot matrix stay within the cache and a few tens of megabytes

Array = np.ndarray[tuple[int], np.dtype[np.float64]]
Rows: TypeAlias = "pa.RecordBatch | pa.Table"


class Scorer:
    """A model made ready once, to score many batches.

    An additive model is summed from its tables, boosted trees run as bit masks; any other model, and trees that
    `make_boosted` doesn't take, by scikit-learn on frames.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._odds = model.info.odds
        self._raw = _by_tables(model) or _by_frames(model)

    def score(self, rows: Rows) -> Array:
        """The probability of the positive label for every row, in order, float64 in [0, 1].

        Rows are scored independently: the result doesn't depend on the rows beside them.
        """
        return correct(self._raw(rows), self._odds)


def score_batch(rows: Rows, model: LoadedModel) -> Array:
    """As `Scorer.score`, for one batch or table."""
    return Scorer(model).score(rows)


def _by_tables(model: LoadedModel) -> Callable[[Rows], Array] | None:
    if isinstance(model.estimator, AdditiveModel):
        additive = model.estimator
        return lambda rows: additive.probabilities(rows, model.plan)
    if model.info.family == "hist_gradient_boosting":
        from millrace.model.boosted import make_boosted

        trees = make_boosted(model.estimator, model.plan)
        return None if trees is None else trees.probabilities
    return None


def _by_frames(model: LoadedModel) -> Callable[[Rows], Array]:
    def score(rows: Rows) -> Array:
        scores = np.empty(rows.num_rows, np.float64)
        for start in range(0, rows.num_rows, CHUNK_ROWS):
            chunk = rows.slice(start, CHUNK_ROWS)
            with limit_threads(1):
                both = model.estimator.predict_proba(to_frame(chunk, model.plan))
            scores[start : start + chunk.num_rows] = both[:, 1]
        return scores

    return score
