"""Which rows judge: whole intervals by time, named files, or a fraction by hash."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.data.holdout import plan_holdout
from millrace.errors import GateClosed
from millrace.spec import Pipeline

DAYS = [f"2026-01-{day:02d}" for day in range(1, 17)]
NONE = timedelta(0)


def pipeline(interval: str = "daily", **evaluate: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "source": {"uri": "x", "interval": interval, "time": None if interval == "none" else "t"},
            "columns": {"t": {"type": "timestamp", "role": "time"}},
            "evaluate": evaluate,
        }
    )


@pytest.mark.parametrize(
    ("evaluate", "delay", "training", "holdout"),
    [
        ({"holdout": "3d"}, NONE, DAYS[:13], DAYS[13:]),
        ({}, NONE, DAYS[:14], DAYS[14:]),  # the last eighth
        ({"holdout": "3d"}, timedelta(days=7), DAYS[:6], DAYS[6:9]),  # labels of the last 7 days aren't known yet
    ],
)
def test_the_newest_intervals_judge(
    evaluate: dict[str, str], delay: timedelta, training: list[str], holdout: list[str]
) -> None:
    plan = plan_holdout(pipeline(**evaluate), DAYS, delay)
    assert (plan.training, plan.holdout) == (training, holdout)
    assert not plan.by_row


def test_nothing_left_to_teach_is_told() -> None:
    with pytest.raises(GateClosed, match=r"more than 7 intervals.*found 2"):
        plan_holdout(pipeline(holdout="7d"), DAYS[:2], NONE)


def test_named_files_judge() -> None:
    plan = plan_holdout(pipeline("none", files="*test*"), ["all"], NONE)
    batch = pa.record_batch({"source_file": ["/a/train.csv", "/a/test.csv", "/tests/train.csv"]})
    assert plan.mask(batch).to_pylist() == [False, True, False]


def test_a_fraction_is_drawn_by_the_row_itself() -> None:
    plan = plan_holdout(pipeline("none", fraction=0.25), ["all"], NONE)
    ids = pa.array(range(20_000), pa.int64())
    mask = plan.mask(pa.record_batch({"row_id": ids}))
    again = plan.mask(pa.record_batch({"row_id": ids.slice(5_000, 100)}))
    assert abs(sum(mask.to_pylist()) / 20_000 - 0.25) < 0.01
    assert again.to_pylist() == mask.slice(5_000, 100).to_pylist()
