"""Which rows judge a model and which teach it: whole intervals where there is time, else named files or a hash.

The newest intervals before the run's date (less the delay of the labels) are the holdout; everything in the window
before them teaches. Without intervals, the rows of the files that match a glob, else a fraction of rows by hash rank.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from millrace.data.hashing import mix, seed_of, unit
from millrace.errors import GateClosed
from millrace.intervals import STEPS
from millrace.spec import Interval, Pipeline

SHARE_OF_WINDOW = 8  # without `evaluate.holdout`, the last eighth of the intervals at hand judges


class Holdout(BaseModel):
    """Training and holdout intervals; `files` or `fraction` (with its seed) where both lie in the same intervals."""

    model_config = ConfigDict(frozen=True)

    training: list[str]
    holdout: list[str]
    files: str | None = None
    fraction: float | None = None
    seed: int = 0

    @property
    def by_row(self) -> bool:
        """Whether rows, not intervals, tell the holdout apart."""
        return self.files is not None or self.fraction is not None

    def mask(self, batch: pa.RecordBatch | pa.Table) -> pa.BooleanArray:
        """True for the rows of the holdout; reads `source_file` and `row_id`."""
        if self.files is not None:
            names = batch.column("source_file")
            chosen = [
                name for name in pc.unique(names).to_pylist() if fnmatch.fnmatch(PurePosixPath(name).name, self.files)
            ]
            return _one(pc.is_in(names, value_set=pa.array(chosen, pa.string())))
        if self.fraction is not None:
            return pa.array(draw(batch, self.seed) < self.fraction)
        inside = pc.is_in(batch.column("data_interval"), value_set=pa.array(self.holdout, pa.string()))
        return _one(inside)


def draw(batch: pa.RecordBatch | pa.Table, seed: int) -> np.ndarray:
    """A number in [0, 1) per row that depends on the row's content and the seed alone."""
    ids = _one(batch.column("row_id")).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return unit(mix(ids, seed))


def plan_holdout(pipeline: Pipeline, present: Sequence[str], label_delay: timedelta) -> Holdout:
    """Divide the intervals that are present (oldest first, none after the run's date).

    Raises GateClosed where nothing is left to teach.
    """
    evaluate, kind = pipeline.evaluate, pipeline.source.interval
    if kind == "none" or evaluate.files is not None:
        seed = seed_of(pipeline.name, "holdout")
        everything = list(present)
        if evaluate.files is not None:
            return Holdout(training=everything, holdout=everything, files=evaluate.files)
        return Holdout(training=everything, holdout=everything, fraction=evaluate.fraction, seed=seed)
    labelled = list(present)[: len(present) - steps(label_delay, kind)] if label_delay else list(present)
    count = steps(evaluate.holdout, kind) if evaluate.holdout else max(1, len(labelled) // SHARE_OF_WINDOW)
    training, holdout = labelled[:-count], labelled[-count:]
    if not training:
        raise GateClosed(
            "no interval is left to train on",
            expected=f"more than {count + len(present) - len(labelled)} intervals with rows (holdout and label delay)",
            found=f"{len(present)}: {', '.join(present) or 'none'}",
            hint="wait for more data, or shorten evaluate.holdout or train.label_delay",
        )
    return Holdout(training=training, holdout=holdout)


def steps(length: timedelta, kind: Interval) -> int:
    """How many intervals a duration covers, at least one for any that isn't zero.

    >>> steps(timedelta(days=7), "daily"), steps(timedelta(days=60), "monthly"), steps(timedelta(0), "daily")
    (7, 2, 0)
    """
    step = STEPS.get(kind, timedelta(days=30))
    return max(1, round(length / step)) if length else 0


def _one(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
