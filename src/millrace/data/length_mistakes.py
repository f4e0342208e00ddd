"""Mistakes in lengths of time: parts that don't fit in the window, and lengths that aren't whole intervals.

Lengths are counted in intervals; one that isn't a multiple would be rounded without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from millrace.data.mistakes import Found
from millrace.spec import Interval, Pipeline, format_duration

STEPS: dict[Interval, timedelta] = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "monthly": timedelta(days=30),
}


def length_mistakes(pipeline: Pipeline) -> Iterator[Found]:
    """Each mistake among window, drift, label_delay and holdout.

    >>> columns = {"t": {"type": "date", "role": "time"}, "y": {"type": "int8", "role": "label"}}
    >>> pipeline = Pipeline(name="p", source={"uri": "x", "time": "t"}, columns=columns, window="36h",
    ...                     evaluate={"holdout": "7d"})
    >>> for found in length_mistakes(pipeline): print(".".join(found.path), "|", found.expected, "|", found.found)
    window | a multiple of 1d, the daily interval | 36h
    evaluate.holdout | less than the window of 36h | 7d
    """
    drift, evaluate, window = pipeline.drift, pipeline.evaluate, pipeline.window
    step = STEPS.get(pipeline.source.interval)
    delay = pipeline.train.label_delay
    lengths: dict[tuple[str, ...], timedelta | None] = {
        ("drift", "recent"): drift.recent,
        ("drift", "reference"): drift.reference,
        ("train", "label_delay"): delay or None,
    }
    if step is None:
        told = {("window",): window if "window" in pipeline.model_fields_set else None, **lengths}
        for path, length in told.items():
            if length is not None:
                expected = "hourly, daily or monthly intervals, which lengths of time count"
                yield Found(path, expected, f"{format_duration(length)} with interval none")
        return
    if evaluate.files is not None and delay:
        yield Found(["train", "label_delay"], "a holdout by time, not by files", format_duration(delay))
    for path, length in {("window",): window, **lengths, ("evaluate", "holdout"): evaluate.holdout}.items():
        if length is not None and length % step:
            month = ": a month counts as 30 days" if pipeline.source.interval == "monthly" else ""
            expected = f"a multiple of {format_duration(step)}, the {pipeline.source.interval} interval{month}"
            yield Found(path, expected, format_duration(length))
    yield from _parts(pipeline, window)


def _parts(pipeline: Pipeline, window: timedelta) -> Iterator[Found]:
    whole = f"the window of {format_duration(window)}"
    drift, holdout, delay = pipeline.drift, pipeline.evaluate.holdout, pipeline.train.label_delay
    recent, reference = drift.recent, drift.reference
    if recent is not None and recent >= window:
        yield Found(["drift", "recent"], f"less than {whole}", format_duration(recent))
    elif reference is not None and reference + (recent or window / 2) > window:
        rest = f"less {format_duration(recent)} of drift.recent" if recent else "less its recent half"
        yield Found(["drift", "reference"], f"at most {whole} {rest}", format_duration(reference))
    if delay >= window:
        yield Found(["train", "label_delay"], f"less than {whole}", format_duration(delay))
    elif holdout is not None and holdout + delay >= window:
        rest = f" less {format_duration(delay)} of train.label_delay" if delay else ""
        yield Found(["evaluate", "holdout"], f"less than {whole}{rest}", format_duration(holdout))
