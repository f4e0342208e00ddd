"""Check raw rows: splits of raw files flow in, one verdict with the statistics of the raw rows per data interval out.

    python mrjobs/check.py -r inline --pipeline pipelines/clicks.yaml data/clicks/clicks-2026-03-31.csv.gz
    python mrjobs/check.py -r local --pipeline pipelines/clicks.yaml --table data/clicks/*.csv.gz

The first prints what it would write as JSON records; with ``--table`` it is committed to the pipeline's check table.
One scan of the raw rows:

    input    a manifest, one split a line: {"path": "data/clicks/clicks-2026-03-31.csv.gz", "start": 0, …}
    params   "shuffle": a folder that all tasks reach, for value counts too large to shuffle (kept inline where absent);
             "inline_values": how many distinct values of a column are too many (100,000)
    map      "2026-03-31" → {"rows": 7164, "unreadable": 8, "check": state, "stats": state, "fills": state, "runs": {…},
             "cuts": {…}}
             states as base64; runs: column → references to sorted (value, count) tables in the shuffle files
    reduce   "2026-03-31" → {"rows": 7164, "unreadable": 8, "verdict": Verdict, "stats": Stats, "fills": GroupFills,
             "cuts": {file: [[start, bytes, records], …]}}
             stats and fills as base64 of their bytes; fills where the pipeline learns fill values; cuts of files that
             were cut by a guess: their splits as they were read, so that nobody need read a file to number its records

A file that can't be the pipeline's at all, and whose name tells its interval, is no failure of the job: the pair
``refused`` → {"files": [{"interval": "2026-03-21", "path": …, "error": …}]} names it.
A verdict: {"rows": 7164, "outcomes": [{"rule": "column_values_to_be_between(bid)", "success": true, "result": {…}}]}.
Rows whose time is missing are in the interval ``unknown``, and judged there.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.check import CheckState, Run
from millrace.data.check_counts import BLOCK
from millrace.data.clean_groups import GroupFills, learned_columns
from millrace.data.convert import Typed, convert, typed_schema
from millrace.data.row_intervals import name_intervals
from millrace.data.split import Split
from millrace.data.stats import Stats
from millrace.errors import InputError
from millrace.intervals import ALL, UNKNOWN
from millrace.mapreduce.failures import describe
from millrace.mapreduce.job import ColumnJob
from millrace.mapreduce.shuffle import Ref, ShuffleWriter, read_refs
from millrace.spec import Pipeline

INLINE_VALUES = 100_000
REFUSED = "refused"  # the key of files that can't be the pipeline's


@dataclass
class Partial:
    """What is known of one interval's rows."""

    pipeline: Pipeline
    rows: int = 0
    unreadable: int = 0
    cuts: dict[str, list[list[int]]] = field(default_factory=dict)
    check: CheckState = field(init=False)
    stats: Stats = field(init=False)
    fills: GroupFills = field(init=False)

    def __post_init__(self) -> None:
        schema = typed_schema(self.pipeline)
        self.check = CheckState(self.pipeline.check, schema)
        self.stats = Stats.empty(schema, self.pipeline.label)
        self.fills = GroupFills(self.pipeline)

    def update(self, typed: Typed) -> None:
        """Take in typed rows of the interval."""
        self.rows += typed.batch.num_rows
        self.check.update(typed.batch)
        self.stats = self.stats.update(typed.batch)
        self.fills.update(typed)

    def merge(self, value: dict[str, Any]) -> None:
        """Take in what `dump` gave in another task."""
        self.rows += value["rows"]
        self.unreadable += value["unreadable"]
        for path, pieces in value["cuts"].items():
            self.cuts.setdefault(path, []).extend(pieces)
        state = _bytes(value["check"])
        self.check.merge(CheckState.from_bytes(state, self.pipeline.check, typed_schema(self.pipeline)))
        self.stats = self.stats.merge(Stats.from_bytes(_bytes(value["stats"])))
        if "fills" in value:
            self.fills.merge(GroupFills.from_bytes(_bytes(value["fills"]), self.pipeline))

    def dump(self) -> dict[str, Any]:
        """All but the check's state, as JSON."""
        fills = {"fills": _text(self.fills.to_bytes())} if learned_columns(self.pipeline) else {}
        known = {"rows": self.rows, "unreadable": self.unreadable, "cuts": self.cuts}
        return {**known, "stats": _text(self.stats.to_bytes()), **fills}


class Check(ColumnJob):
    """Judges and measures raw rows; see the module for what it reads and emits."""

    preload = ("pandas",)

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """One pair for each interval that has rows in the split, or that the split's file names."""
        try:
            yield from self._judge(split)
        except InputError as error:
            if split.interval is None:
                raise
            yield REFUSED, {"interval": split.interval, "path": split.path, "error": describe(error)}

    def _judge(self, split: Split) -> Iterator[tuple[str, Any]]:
        pipeline = self.plan.pipeline
        named = split.interval or (ALL if pipeline.source.interval == "none" else None)
        partials: dict[str, Partial] = {named: Partial(pipeline)} if named else {}
        for raw in self.read(split):
            typed = convert(raw.batch, pipeline, trimmed=raw.trimmed)
            for interval, part in self._by_interval(typed, named):
                partials.setdefault(interval, Partial(pipeline)).update(part)
            if raw.bad:
                partials.setdefault(named or UNKNOWN, Partial(pipeline)).unreadable += len(raw.bad)
        told = min(partials.keys() - {UNKNOWN}, default=None)
        if split.guessed and told is not None:  # one of its intervals tells of the whole split
            records = sum(each.rows + each.unreadable for each in partials.values())
            partials[told].cuts[split.path] = [[split.start, split.length, records]]
        for interval, partial_ in sorted(partials.items()):
            runs = self._write_runs(partial_)
            yield interval, {**partial_.dump(), "check": _text(partial_.check.to_bytes()), "runs": runs}

    def reduce_key(self, key: str, values: Iterator[Any]) -> Iterator[tuple[str, Any]]:
        """The interval's verdict and statistics; each refused file once."""
        if key == REFUSED:
            yield key, {"files": list({value["path"]: value for value in values}.values())}
            return
        whole = Partial(self.plan.pipeline)
        runs: dict[str, list[Run]] = {}
        for value in values:
            whole.merge(value)
            for column, refs in value["runs"].items():
                runs.setdefault(column, []).append(partial(_read_run, [Ref.from_json(ref) for ref in refs]))
        yield key, {**whole.dump(), "verdict": whole.check.verdict(runs).model_dump(mode="json")}

    def _by_interval(self, typed: Typed, named: str | None) -> Iterator[tuple[str, Typed]]:
        """The rows of each interval: the one that the file names, else the one of each row's time."""
        source = self.plan.pipeline.source
        if named:
            yield named, typed
            return
        assert source.time is not None, "validated with the pipeline file"
        names = name_intervals(typed.batch.column(source.time), source.interval)
        for name in sorted(pc.unique(names).to_pylist()):
            inside = pc.equal(names, name)
            invalid = {column: mask.filter(inside) for column, mask in typed.invalid.items()}
            yield name, Typed(typed.batch.filter(inside), invalid)

    def _write_runs(self, partial_: Partial) -> dict[str, list[dict[str, Any]]]:
        """Value counts too large to shuffle, as references to where they were written."""
        folder = self.plan.params.get("shuffle")
        if folder is None:
            return {}
        detached = partial_.check.detach(self._inline_values)
        writer = ShuffleWriter(folder, buffer=1)  # a reference for each block, so that a reducer holds only blocks
        for place, counts in enumerate(detached.values()):
            for batch in counts.to_batches(max_chunksize=BLOCK):
                writer.write(np.full(batch.num_rows, place, np.int64), batch)
        refs = writer.close()
        return {key: [ref.to_json() for ref in refs if ref.partition == place] for place, key in enumerate(detached)}

    @cached_property
    def _inline_values(self) -> int:
        return int(self.plan.params.get("inline_values", INLINE_VALUES))


def _read_run(refs: Iterable[Ref]) -> Iterator[pa.Table]:
    for batch in read_refs(refs):
        yield pa.Table.from_batches([batch])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


if __name__ == "__main__":
    from millrace.script import run_script

    run_script(Check)
