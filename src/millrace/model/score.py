"""Scoring: batches of the clean schema in, probabilities out. A missing column or a new category never breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from millrace.model.features import to_frame
from millrace.model.model_file import LoadedModel

CHUNK_ROWS = 65_536  # a chunk's frame and one-hot matrix stay within the cache and a few tens of megabytes

Array = np.ndarray[Any, np.dtype[np.float64]]


def score_batch(batch: pa.RecordBatch | pa.Table, model: LoadedModel, chunk_rows: int = CHUNK_ROWS) -> Array:
    """The probability of the positive label for every row, in order, float64 in [0, 1].

    Rows are scored independently: the result doesn't depend on `chunk_rows`.
    """
    scores = np.empty(batch.num_rows, np.float64)
    for start in range(0, batch.num_rows, chunk_rows):
        chunk = batch.slice(start, chunk_rows)
        scores[start : start + chunk.num_rows] = model.probabilities(to_frame(chunk, model.plan))
    return scores
