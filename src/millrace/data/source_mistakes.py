"""Mistakes in the section `source` of a pipeline file, and in how columns name what the raw files hold."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from millrace.data.mistakes import Found, unknown_column
from millrace.spec import Pipeline

DIRECTIVES = {"hourly": "YmdH", "daily": "Ymd", "monthly": "Ym", "none": ""}
WIDE = ("utf-16", "utf-32")  # read as UTF-8
STATEFUL = ("utf-7", "hz", "iso2022")  # a comma's byte isn't always a comma
SCORED = ("score", "model_version", "data_version")
DELIMITED = ("csv", "tsv")
TEXTS = {"delimiter": DELIMITED, "quote": DELIMITED, "header": DELIMITED, "encoding": (*DELIMITED, "jsonl")}


def source_mistakes(pipeline: Pipeline) -> Iterator[Found]:
    """Each mistake of the section.

    >>> columns = {"a": {"type": "string", "role": "categorical"}}
    >>> source = {"uri": "x", "interval": "none", "format": "jsonl", "encoding": "utf-9"}
    >>> [found.expected for found in source_mistakes(Pipeline(name="p", source=source, columns=columns))]
    ['an encoding of text such as utf-8, latin-1 or cp1252']
    """
    source = pipeline.source
    for name, formats in TEXTS.items():
        if name in source.model_fields_set and source.format not in formats:
            yield Found(["source", name], f"a format that has one: {', '.join(formats)}", f"format {source.format}")
    if not _is_text(source.encoding):
        yield Found(
            ["source", "encoding"], "an encoding of text such as utf-8, latin-1 or cp1252", repr(source.encoding)
        )
    for name, value, least in (("quote", source.quote, 0), ("delimiter", source.delimiter, 1)):
        if value is not None and (not least <= len(value) <= 1 or not value.isascii() or value in ("\n", "\r", "\0")):
            words = "one ASCII character" + ("" if least else ", or none")
            yield Found(["source", name], words, repr(value))
    if source.quote and source.quote == source.separator:
        yield Found(["source", "quote"], "another character than the delimiter", repr(source.quote))
    yield from _time(pipeline)
    yield from _columns(pipeline)


def _time(pipeline: Pipeline) -> Iterator[Found]:
    source = pipeline.source
    yield from unknown_column(["source", "time"], source.time, list(pipeline.columns))
    if source.time in pipeline.columns and source.time is not None:
        kind, role = pipeline.columns[source.time].type, pipeline.columns[source.time].role
        if kind not in ("timestamp", "date") and role != "time":
            path = ["columns", source.time, "type"]
            yield Found(path, "timestamp or date (it is source.time)", repr(kind))
        elif kind == "date" and source.interval == "hourly" and source.file_date is None:
            path = ["columns", source.time, "type"]
            yield Found(path, "timestamp: a date tells no hour", repr(kind))
    if source.file_date is not None:
        there = re.findall(r"%(.?)", source.file_date)
        needed = [each for each in DIRECTIVES[source.interval] if each not in there]
        if needed or not there or set(there) - set("YmdHMS") or len(set(there)) < len(there) or "/" in source.file_date:
            what = "a date" if source.interval == "none" else f"a {source.interval} interval"
            expected = f"a pattern of %Y %m %d %H %M %S, each once, that tells {what} in a file's name"
            yield Found(["source", "file_date"], expected, repr(source.file_date))
        if source.interval == "none":
            yield Found(["source", "file_date"], "an interval: hourly, daily or monthly", "none")
    if "late_rows" in source.model_fields_set and (source.file_date is None or source.time is None):
        lacking = "file_date" if source.file_date is None else "time"
        yield Found(["source", "late_rows"], "file_date and time, which late rows tell apart", f"no {lacking}")


def _columns(pipeline: Pipeline) -> Iterator[Found]:
    taken: dict[str, str] = {}
    for name, column in pipeline.as_stored().columns.items():
        raw = name if column.source is None else column.source
        if raw in taken:
            yield Found(["columns", name], f"another column of the files than {taken[raw]!r} reads", repr(raw))
        taken.setdefault(raw, name)
        if column.source is not None and not pipeline.source.header and pipeline.source.format in ("csv", "tsv"):
            yield Found(["columns", name, "source"], "no name: files without header have none", repr(column.source))
    shard_key = pipeline.shard.by if pipeline.shard else None
    for kept in dict.fromkeys([shard_key, pipeline.source.time, *pipeline.by_role("time")[:1]]):
        if kept is not None and kept in SCORED and kept in pipeline.columns:
            expected = f"no key or time named {', '.join(SCORED)}: the table of scores adds these"
            yield Found(["columns", kept], expected, repr(kept), f"give it another name, with source: {kept}")


def _is_text(encoding: str) -> bool:
    """Whether files of an encoding can be cut at the bytes of line ends, delimiters and quotes."""
    try:
        name = codecs.lookup(encoding).name
        if name.startswith(WIDE):
            return True
        return not name.startswith(STATEFUL) and "a,\n\"'\t|;".encode(name) == b"a,\n\"'\t|;"
    except (LookupError, UnicodeError, ValueError):
        return False
