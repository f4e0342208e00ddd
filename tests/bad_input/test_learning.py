"""Rows that can't teach: a label with one class or none, a column without a value, infinite numbers in Parquet."""

from __future__ import annotations

from road import HEADER, PIPELINE, Road, failure, rows

LEARNING = PIPELINE.replace("window: 30d", "window: 3d\nevaluate: {holdout: 1d}\nsample: {method: all}")


RUN = ("run", "buys", "-r", "inline", "--json")


def label_all(road: Road, label: str) -> None:
    for day in (1, 2, 3):
        lines = rows(day, 40).splitlines()
        road.file(day, HEADER + "".join(f"{line.rpartition(',')[0]},{label}\n" for line in lines))


def test_a_label_with_one_class_or_none_and_columns_without_a_value(road: Road) -> None:
    road.pipeline(LEARNING)
    for label, message, expected, found in [
        ("0", "the label bought can't be learned", "exactly two values", "1 (0: 80)"),
        ("", "no labelled row to train on", "values in bought", "an empty sample"),
    ]:
        label_all(road, label)
        told = failure(road.millrace(*RUN, "--until", "train"))
        assert (told["error"], told["exit_status"], told["message"]) == ("GateClosed", 1, message)
        assert (told["expected"], told["found"]) == (expected, found)
        assert told["where"] == ["in stage train of buys, interval 2026-01-03"]
        assert road.counts() == {"2026-01-01": 40, "2026-01-02": 40, "2026-01-03": 40}

    empty = (
        "  n: {type: float64, role: numeric}\n  c: {type: string, role: categorical}\n  t: {type: date, role: time}\n"
    )
    road.pipeline(LEARNING, ("  bought:", f"{empty}  bought:"))
    for day in (1, 2, 3):
        lines = (f"2026-01-{day:02}T10:{n:02}:00,c{n},{n if n % 7 else 60 - n},,NA,,{int(n > 30)}" for n in range(60))
        road.file(day, "\n".join(["when,who,amount,n,c,t,bought", *lines]))
    for stages in (("--until", "promote"), ("--from", "score")):
        done = road.millrace(*RUN, *stages)
        assert done.status == 0, done.err
    assert road.counts("scores") == {"2026-01-01": 60, "2026-01-02": 60, "2026-01-03": 60}
    assert all(0 <= row["score"] <= 1 for row in road.rows("scores"))
    assert road.millrace("status", "buys").status == 0
