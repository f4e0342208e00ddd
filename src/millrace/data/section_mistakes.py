"""Mistakes of settings that only a look at their meaning finds: a pipeline in; path, expected and found out.

What would fail, or be left unread, in the middle of a night is told when the file is read. Sections with many rules
have modules of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.data.length_mistakes import length_mistakes
from millrace.data.mistakes import Found, unknown_column
from millrace.data.shard_mistakes import shard_mistakes
from millrace.data.source_mistakes import source_mistakes
from millrace.data.train_mistakes import train_mistakes
from millrace.spec import Pipeline

LEARNING = ("sample", "train", "evaluate", "promote")
PRESETS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually")


def section_mistakes(pipeline: Pipeline) -> Iterator[Found]:
    """Each mistake: the path of the key, what was expected, and what was found.

    >>> columns = {"a": {"type": "string", "role": "categorical"}}
    >>> pipeline = Pipeline(name="p", source={"uri": "x", "interval": "none", "quote": "ab"}, columns=columns)
    >>> list(section_mistakes(pipeline))
    [Found(path=['source', 'quote'], expected='one ASCII character, or none', found="'ab'", hint=None)]
    """
    yield from source_mistakes(pipeline)
    yield from shard_mistakes(pipeline)
    yield from length_mistakes(pipeline)
    yield from _label(pipeline)
    yield from _drift(pipeline)
    yield from _sample(pipeline)
    yield from train_mistakes(pipeline)
    yield from _evaluate(pipeline)
    yield from _schedule(pipeline)


def _label(pipeline: Pipeline) -> Iterator[Found]:
    labels = pipeline.by_role("label")
    if not pipeline.kept():
        yield Found(["clean"], "a column that stays", "drop for all of them")
    if len(labels) > 1:
        yield Found(["columns", labels[1]], "one column with role label", f"{len(labels)}: {', '.join(labels)}")
    if len(labels) == 1 and labels[0] not in pipeline.kept():
        yield Found(["clean", labels[0]], "a rule: the column with role label must stay", "drop")
    if not labels:
        for section in LEARNING:
            if section in pipeline.model_fields_set:
                yield Found([section], "a column with role label, to learn from", "none")


def _drift(pipeline: Pipeline) -> Iterator[Found]:
    kept, roles = pipeline.kept(), ("numeric", "categorical", "label")
    for name in pipeline.drift.columns or []:
        yield from unknown_column(["drift", "columns"], name, kept)
        if name in kept and pipeline.columns[name].role not in roles:
            words = f"{name!r} with role {pipeline.columns[name].role}"
            yield Found(["drift", "columns"], f"columns with role {', '.join(roles)}", words)


def _sample(pipeline: Pipeline) -> Iterator[Found]:
    sample, kept = pipeline.sample, pipeline.kept()
    yield from unknown_column(["sample", "by"], sample.by, kept)
    if sample.by is not None and sample.method not in ("stratified", "cluster"):
        yield Found(["sample", "by"], "method stratified or cluster, which go by a column", f"method {sample.method}")
    if sample.half_life is not None and sample.method != "recent":
        yield Found(["sample", "half_life"], "method recent, which fades", f"method {sample.method}")
    sized = [name for name in ("rows", "fraction") if getattr(sample, name) is not None]
    for name in sized:
        if sample.method == "all":
            yield Found(["sample", name], "a method that draws rows", "method all, which takes all of them")
    for name in ("loss", "confidence"):
        if name in sample.model_fields_set and (sized or sample.method == "all"):
            other = " and ".join(sized) or "method all"
            yield Found(["sample", name], "no other word on the size of the sample", other)
    keys = [name for name in pipeline.by_role("key") if name in kept]
    times = [name for name in pipeline.by_role("time") if name in kept]
    shard_key = pipeline.shard.by if pipeline.shard else None
    if sample.method == "recent" and (not times or pipeline.source.interval == "none"):
        found = "none" if not times else "interval none"
        yield Found(["sample", "method"], "a kept column with role time, and intervals", found)
    if sample.method == "stratified" and sample.by is None and pipeline.label is None:
        yield Found(["sample", "method"], "sample.by, or a label", "none")
    if sample.method == "cluster" and sample.by is None and shard_key is None and not keys:
        yield Found(["sample", "method"], "sample.by, a shard key, or a kept column with role key", "none")


def _evaluate(pipeline: Pipeline) -> Iterator[Found]:
    evaluate, timed = pipeline.evaluate, pipeline.source.interval != "none"
    for name in evaluate.slices:
        yield from unknown_column(["evaluate", "slices"], name, pipeline.kept())
    if not timed and evaluate.holdout is not None:
        yield Found(["evaluate", "holdout"], "fraction or files, for data without intervals", "a duration")
    if timed and "fraction" in evaluate.model_fields_set:
        yield Found(["evaluate", "fraction"], "holdout or files, for data with intervals", str(evaluate.fraction))
    elif "fraction" in evaluate.model_fields_set and evaluate.files is not None:
        yield Found(["evaluate", "fraction"], "fraction or files, not both", str(evaluate.fraction))
    if evaluate.files is not None and evaluate.holdout is not None:
        yield Found(["evaluate", "files"], "holdout or files, not both", repr(evaluate.files))


def _schedule(pipeline: Pipeline) -> Iterator[Found]:
    """A schedule that Airflow can't take, or that never comes: croniter reads it, as in Airflow."""
    schedule = pipeline.schedule
    if schedule is None or schedule in PRESETS:
        return
    from croniter import croniter

    expected = f"minute, hour, day, month and weekday, such as '0 2 * * *'; one of {', '.join(PRESETS)}; or null"
    if len(schedule.split()) != 5:
        yield Found(["schedule"], expected, repr(schedule))
        return
    try:
        croniter(schedule).get_next()
    except ValueError as error:  # every error of croniter is one
        why = str(error).removeprefix(f"[{schedule}] is not acceptable, ")
        yield Found(["schedule"], expected, f"{schedule!r} ({why})")
