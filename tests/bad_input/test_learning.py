"""Rows that can't teach: a label with one class or none, a column without a value, infinite numbers in Parquet."""

from __future__ import annotations

import pytest
from road import HEADER, PIPELINE, Road, failure, rows

LEARNING = PIPELINE.replace("window: 30d", "window: 3d\nevaluate: {holdout: 1d}\nsample: {method: all}")


def learn(road: Road, *arguments: str):
    return road.millrace("run", "buys", "-r", "inline", *arguments)


@pytest.mark.parametrize("label", ["0", "1", ""])
def test_a_label_with_one_class(road: Road, label: str) -> None:
    road.pipeline(LEARNING)
    for day in (1, 2, 3):
        lines = rows(day, 40).splitlines()
        road.file(day, HEADER + "".join(f"{line.rpartition(',')[0]},{label}\n" for line in lines))
    told = failure(learn(road, "--until", "score", "--json"))
    print(told)
    assert road.counts() == {"2026-01-01": 40, "2026-01-02": 40, "2026-01-03": 40}
    assert 0


def test_columns_without_a_value_train_and_score(road: Road) -> None:
    road.pipeline(
        LEARNING,
        (
            "  bought:",
            "  empty: {type: float64, role: numeric}\n  none: {type: string, role: categorical}\n"
            "  never: {type: timestamp, role: time}\n  bought:",
        ),
    )
    for day in (1, 2, 3):
        lines = rows(day, 60).splitlines()
        content = "".join("{0},,NA,,{2}\n".format(*line.rpartition(",")) for line in lines)
        road.file(day, "when,who,amount,empty,none,never,bought\n" + content)
    told = learn(road, "--until", "score", "--json")
    print(told)
    assert told.status == 0
    assert road.counts("scores") == {"2026-01-01": 60, "2026-01-02": 60, "2026-01-03": 60}
    assert all(0 <= row["score"] <= 1 for row in road.rows("scores"))
    assert 0
