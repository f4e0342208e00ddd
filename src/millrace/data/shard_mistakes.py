"""Mistakes in the section `shard` of a pipeline file. Plain Python, so that reading a pipeline file stays fast."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from millrace.data.clean_mistakes import FITS, INTEGERS, NUMBERS
from millrace.data.mistakes import Found, unknown_column
from millrace.spec import ColumnType, Deduplicate, Pipeline, Shard


def shard_mistakes(pipeline: Pipeline) -> Iterator[Found]:
    """Each mistake of the section.

    >>> columns = {"user": {"type": "string", "role": "key"}, "n": {"type": "int64", "role": "numeric"}}
    >>> shard = {"by": "user", "boundaries": ["m"], "deduplicate": {"by": ["n"]}}
    >>> for found in shard_mistakes(Pipeline(
    ...     name="p", source={"uri": "x", "interval": "none"}, columns=columns, shard=shard)): print(*found[:3])
    ['shard', 'deduplicate', 'by'] the shard key 'user' among them, so that duplicates meet in one shard ['n']
    ['shard', 'boundaries'] method range, which has boundaries method hash
    """
    shard, kept = pipeline.shard, pipeline.kept()
    if shard is None:
        return
    yield from unknown_column(["shard", "by"], shard.by, kept)
    if shard.deduplicate is not None:
        yield from _deduplicate(pipeline, shard, shard.deduplicate)
    if shard.boundaries is not None and shard.method == "hash":
        yield Found(["shard", "boundaries"], "method range, which has boundaries", "method hash")
    elif shard.boundaries is not None and shard.by in kept:
        yield from _boundaries(shard, pipeline.columns[shard.by].type)


def _deduplicate(pipeline: Pipeline, shard: Shard, rule: Deduplicate) -> Iterator[Found]:
    kept = pipeline.kept()
    for name in rule.by or []:
        yield from unknown_column(["shard", "deduplicate", "by"], name, kept)
    yield from unknown_column(["shard", "deduplicate", "order"], rule.order, kept)
    if rule.by is not None and shard.by not in rule.by:
        expected = f"the shard key {shard.by!r} among them, so that duplicates meet in one shard"
        yield Found(["shard", "deduplicate", "by"], expected, str(rule.by))
    for name in ("keep", "order"):
        if name in rule.model_fields_set and rule.by is None:
            expected = "deduplicate.by: rows that are equal in all columns need no choice"
            yield Found(["shard", "deduplicate", name], expected, str(getattr(rule, name)))
    timed = pipeline.source.time is not None or pipeline.by_role("time")
    if rule.by is not None and rule.keep == "last" and rule.order is None and not timed:
        yield Found(["shard", "deduplicate", "keep"], "deduplicate.order, for data without a time column", "none")


def _boundaries(shard: Shard, kind: ColumnType) -> Iterator[Found]:
    given = shard.boundaries or []
    wrong = [place for place, value in enumerate(given) if isinstance(value, bool) or not FITS[kind](value)]
    for place in wrong:
        yield Found(["shard", "boundaries", place], f"a key of type {kind}", repr(given[place]))
    if wrong:
        return
    keys = [_comparable(value, kind) for value in given]
    if any(first >= second for first, second in zip(keys, keys[1:], strict=False)):
        yield Found(["shard", "boundaries"], "rising values", str(given))
    if len(given) >= shard.shards:
        expected = f"at most {shard.shards - 1} for {shard.shards} shards"
        yield Found(["shard", "boundaries"], expected, str(len(given)))


def _comparable(value: str | int | float, kind: ColumnType) -> Any:
    """A boundary as keys compare: text by its UTF-8 bytes, times in UTC."""
    if kind in INTEGERS:
        return int(value)
    if kind in NUMBERS:
        return float(value)
    if kind in ("timestamp", "date"):
        moment = datetime.fromisoformat(str(value).strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if kind == "bool":
        return str(value).lower() in ("true", "t", "yes", "y", "1", "1.0")
    return str(value).encode()
