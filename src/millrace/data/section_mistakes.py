"""Mistakes of single settings that only a look at their meaning finds: a pipeline in; path, expected and found out.

What would fail, or be left unread, in the middle of a night is told when the file is read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from millrace.spec import Pipeline

DIRECTIVES = {"hourly": "YmdH", "daily": "Ymd", "monthly": "Ym", "none": ""}
Found = tuple[list[str], str, str]


def section_mistakes(pipeline: Pipeline) -> Iterator[Found]:
    """Each mistake: the path of the key, what was expected, and what was found.

    >>> pipeline = Pipeline(name="p", source={"uri": "x", "interval": "none", "quote": "ab"}, columns={})
    >>> list(section_mistakes(pipeline))
    [(['source', 'quote'], 'one character, or none', "'ab'")]
    """
    yield from _source(pipeline)
    labels, evaluate, sample = pipeline.by_role("label"), pipeline.evaluate, pipeline.sample
    if len(labels) == 1 and labels[0] not in pipeline.kept():
        yield ["clean", labels[0]], "a rule: the column with role label must stay", "drop"
    for name in pipeline.train.features.drop:
        if name not in pipeline.columns:
            yield ["train", "features", "drop"], f"one of the columns {', '.join(pipeline.columns)}", repr(name)
    timed = pipeline.source.interval != "none"
    if timed and "fraction" in evaluate.model_fields_set:
        yield ["evaluate", "fraction"], "holdout or files, for data with intervals", str(evaluate.fraction)
    if evaluate.files is not None and evaluate.holdout is not None:
        yield ["evaluate", "files"], "holdout or files, not both", repr(evaluate.files)
    if sample.by is not None and sample.method not in ("stratified", "cluster"):
        yield ["sample", "by"], "method stratified or cluster, which go by a column", f"method {sample.method}"
    if sample.half_life is not None and sample.method != "recent":
        yield ["sample", "half_life"], "method recent, which fades", f"method {sample.method}"
    shard = pipeline.shard
    if shard is not None and shard.boundaries is not None and shard.method == "hash":
        yield ["shard", "boundaries"], "method range, which has boundaries", "method hash"


def _source(pipeline: Pipeline) -> Iterator[Found]:
    source = pipeline.source
    try:
        codecs.lookup(source.encoding)
    except LookupError:
        yield ["source", "encoding"], "an encoding such as utf-8, latin-1 or cp1252", repr(source.encoding)
    if len(source.quote) > 1:
        yield ["source", "quote"], "one character, or none", repr(source.quote)
    if source.delimiter is not None and len(source.delimiter) != 1:
        yield ["source", "delimiter"], "one character", repr(source.delimiter)
    if source.file_date is not None:
        there = re.findall(r"%(.)", source.file_date)
        needed = [f"%{each}" for each in DIRECTIVES[source.interval] if each not in there]
        if needed or set(there) - set("YmdHMS"):
            expected = f"a pattern of %Y %m %d %H %M %S that tells a {source.interval} interval"
            yield ["source", "file_date"], expected, repr(source.file_date)
