"""What is scored: `score.table` of a pipeline file in; one version of a table with its parts and tokens out.

Three kinds: a table of this pipeline, of another pipeline, or any Delta table. The first is brought up to date within
the run's window, as every stage does; the others are taken whole: all their intervals, and those that are gone go from
the scores too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from millrace import pipeline_file
from millrace.data.clean import ROW_ID
from millrace.data.foreign import check_columns, check_types
from millrace.data.split import Split
from millrace.errors import GateClosed, without_credentials
from millrace.mapreduce.part_splits import split_parts
from millrace.profiles import pipelines_folder
from millrace.stages.context import STAGE_OF, Run, digest, stale
from millrace.stages.ingest import stale_intervals
from millrace.storage.foreign import open_foreign
from millrace.storage.parts import Part


@dataclass(frozen=True)
class ScoreSource:
    """A version of the table to be scored.

    `name` is what the pipeline file says; `tokens` change where an interval's rows may have; `values` are those of the
    partition columns by part; `foreign` tables may have other columns and types than this pipeline's clean rows.
    """

    name: str
    uri: str
    version: int
    schema: pa.Schema
    parts: list[Part]
    tokens: dict[str, str]
    values: Mapping[str, Mapping[str, str | None]]
    whole: bool
    foreign: bool

    def rows(self, intervals: Collection[str]) -> int:
        """The rows of these intervals, as the table's log counts them."""
        return sum(part.rows for part in self.parts if part.interval in intervals)

    def splits(self, intervals: Collection[str]) -> list[Split]:
        """Splits of the parts of these intervals."""
        return list(split_parts(self.uri, [part for part in self.parts if part.interval in intervals]))

    def stale(self, run: Run, tokens: Mapping[str, str], kept: Mapping[str, str]) -> list[str]:
        """The intervals whose scores must be made, made anew, or removed."""
        if not self.whole:
            return stale_intervals(run, tokens, kept)
        gone = [name for name in kept if name not in tokens]
        return sorted({*(tokens if run.options.force else stale(tokens, kept)), *gone})

    def params(self, run: Run, features: list[str]) -> dict[str, Any]:
        """What the job must know of a foreign table. Raises InputError where its columns can't be the model's."""
        from mrjobs.score import columns_read

        check_columns(self.schema, features, f"{self.name} version {self.version}")
        if not self.foreign:
            return {}
        has_id = ROW_ID in self.schema.names
        read = columns_read(run.pipeline, features, hashed=not has_id)
        check_types(self.schema, run.pipeline, read, self.name)
        values = {
            f"{self.uri}/{path}": {name: value for name, value in found.items() if name in read}
            for path, found in self.values.items()
        }
        return {"foreign": {"row_id": has_id, "values": {path: found for path, found in values.items() if found}}}


def score_source(run: Run) -> ScoreSource:
    """The table that the pipeline file names, at the version that this run reads.

    Raises GateClosed where a pipeline hasn't made it yet, RequestError where there is no such pipeline or table.
    """
    asked, pipeline = run.pipeline.score, run.pipeline.name
    owner, name = asked.of_pipeline or (pipeline, asked.table)
    if asked.of_pipeline is None and "/" in name:
        return _any_table(run, name)
    mine = owner == pipeline
    theirs = replace(run, upstream={}, pipeline=run.pipeline.model_copy(update={"name": owner}))
    maker = run if mine else theirs
    table, version = maker.table(name), maker.version(name)
    if version is None:
        if not mine:
            pipeline_file.find(owner, pipelines_folder())
        raise GateClosed(
            f"no {asked.table} table to score", hint=f"millrace run {owner} --until {STAGE_OF.get(name, name)}"
        )
    parts = table.parts(version)
    return ScoreSource(
        name=name if mine else asked.table,
        uri=table.uri,
        version=version,
        schema=table.schema(version),
        parts=parts,
        tokens=table.details(version).get("tokens") or _tokens_of(parts),
        values={},
        whole=not mine or name == "sample",
        foreign=not mine,
    )


def _any_table(run: Run, uri: str) -> ScoreSource:
    found = open_foreign(uri)
    return ScoreSource(
        name=without_credentials(uri),
        uri=found.uri,
        version=found.version,
        schema=found.schema,
        parts=found.parts,
        tokens=_tokens_of(found.parts),
        values=found.values,
        whole=True,
        foreign=True,
    )


def _tokens_of(parts: list[Part]) -> dict[str, str]:
    """A token for each interval, from its files' names: the files of a Delta table never change."""
    files: dict[str, list[tuple[str, int]]] = {}
    for part in parts:
        files.setdefault(part.interval or "", []).append((part.path, part.size))
    return {name: digest(sorted(each)) for name, each in files.items()}
