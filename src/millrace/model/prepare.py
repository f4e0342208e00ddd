"""Preparation: the sample table in; frame, label, weights and time order out, the same for tuning and fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.errors import GateClosed, RequestError
from millrace.model.features import FeaturePlan, keep_features, labels, plan_features, to_frame
from millrace.model.selection import rank_features
from millrace.spec import Pipeline

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prepared:
    """Rows ready to fit: `weight` has mean 1; `moment` is each row's time (int64 µs), None without a time column."""

    plan: FeaturePlan
    frame: pd.DataFrame
    y: Array
    weight: Array
    moment: Array | None
    counts: dict[str, int]  # rows, positives, label_unknown
    ranking: list[tuple[str, float]]  # features by mutual information, where a selection was asked for

    @property
    def prior(self) -> float:
        """The weighted share of positives."""
        return float(np.average(self.y, weights=self.weight))


def prepare(sample: pa.Table, pipeline: Pipeline) -> Prepared:
    """Plan the features of a sample and compute them. Rows are taken in order of time and row_id, whatever order they
    come in; rows without a label, or with weight 0, are left out and counted.

    Raises GateClosed where the label has one class, or no feature is usable; RequestError without a label column.
    """
    label = pipeline.label
    if label is None:
        raise RequestError(f"pipeline {pipeline.name} has no label to train on", expected="a column with role label")
    if label not in sample.column_names:
        raise RequestError(f"the sample has no column {label}", found=", ".join(sample.column_names))
    if sample.num_rows == 0:
        raise GateClosed(
            "no labelled row to train on",
            expected=f"values in {label}",
            found="an empty sample",
            hint="labels that come later are waited for with train.label_delay",
        )
    time = _time_column(sample, pipeline)
    order = [(name, "ascending") for name in (time, "row_id") if name and name in sample.column_names]
    sample = sample.sort_by(order) if order else sample
    labelled = sample.filter(pc.is_valid(sample.column(label)))
    plan = plan_features(labelled, pipeline)
    y, known = labels(labelled, plan)
    weight = _weights(labelled)
    known &= weight > 0
    kept = labelled.filter(pa.array(known)) if not known.all() else labelled
    y, weight = y[known], weight[known]
    counts = {
        "rows": len(y),
        "positives": int(y.sum()),
        "label_unknown": sample.num_rows - labelled.num_rows,
        "without_weight": labelled.num_rows - len(y),
    }
    if min(counts["positives"], counts["rows"] - counts["positives"]) < 2:
        raise GateClosed(
            f"the label {label} can't be learned",
            expected="at least two rows of each class",
            found=f"{counts['positives']} positive of {counts['rows']} rows",
        )
    weight = weight / weight.mean()
    frame = to_frame(kept, plan)
    ranking: list[tuple[str, float]] = []
    if pipeline.train.features.select is not None:
        ranking = rank_features(frame, y, weight)
        plan = keep_features(plan, [name for name, _ in ranking[: pipeline.train.features.select]])
        frame = frame[plan.names]
    moment = None
    if time is not None:
        moments = kept.column(time).combine_chunks().cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        moment = np.asarray(moments.fill_null(0).to_numpy(zero_copy_only=False))
    return Prepared(plan, frame, y, weight, moment, counts, ranking)


def _time_column(sample: pa.Table, pipeline: Pipeline) -> str | None:
    candidates = [pipeline.source.time, *pipeline.by_role("time")]
    for name in candidates:
        if name and name in sample.column_names and pa.types.is_temporal(sample.schema.field(name).type):
            return name
    return None


def _weights(table: pa.Table) -> Array:
    if "weight" not in table.column_names:
        return np.ones(table.num_rows)
    return np.asarray(table.column("weight").combine_chunks().cast(pa.float64()).fill_null(0.0).to_numpy())
