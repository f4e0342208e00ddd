"""Score rows of a table: Parquet parts of any table flow in, scores flow out as parts of one table.

    python mrjobs/score.py -r inline --pipeline pipelines/clicks.yaml FILES
    python mrjobs/score.py -r local --pipeline pipelines/clicks.yaml --table FILES

The first prints what it would write as JSON records and its ledger on standard error; with ``--table`` the scores are
committed to the pipeline's `scores` table. FILES are raw files; with ``--table`` and without FILES, the table that
`score.table` of the pipeline file names is scored. A map-only job:

    input    a manifest, one split a line: {"path": "…/sharded/data_interval=2026-01-05/shard=3/part-….parquet",
             "format": "parquet", "row_groups": [0, 1], "interval": "2026-01-05", …}
    params   "model": folder or URI that holds model.json and its neighbour; "model_version", "data_version": integers
             written with each row; "foreign", for tables that this pipeline didn't make: {"row_id": whether it has one,
             "values": path → the values of partition columns that the model reads}
    output   interval → {"part": Part, "ledger": Ledger, "unreadable": column → cells}, one for each split

A record: {"row_id": 7317…, "ip": "83230", "click_time": "2026-01-05T14:32:21", "score": 0.0173, "model_version": 4,
"data_version": 12, "data_interval": "2026-01-05"}; between row_id and score are the shard key, other columns with the
role key, and the time column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.buffers import array_of
from millrace.data.clean import DATA_INTERVAL, ROW_ID, clean_schema
from millrace.data.foreign import conform, content_ids
from millrace.data.split import Split
from millrace.intervals import ALL
from millrace.mapreduce.job import ColumnJob
from millrace.mapreduce.part_splits import read_part
from millrace.model.model_file import LoadedModel, read_model
from millrace.model.score import Scorer
from millrace.spec import Pipeline
from millrace.storage.ledger import Ledger
from millrace.storage.parts import PartWriter

BATCH_ROWS = 131_072
ADDED = {"score": pa.float64(), "model_version": pa.int64(), "data_version": pa.int64()}


class Score(ColumnJob):
    """Scores each split by itself; see the module for what it reads and emits."""

    preload = ("pandas", "polars")

    @cached_property
    def model(self) -> LoadedModel:
        """The model, loaded once for all splits of a task."""
        return read_model(self.plan.params["model"])

    @cached_property
    def scorer(self) -> Scorer:
        """The model, made ready once for all batches of a task."""
        return Scorer(self.model)

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """One pair: the split's interval, the part that holds its scores, the ledger, and what couldn't be read."""
        plan = self.plan
        interval = split.interval or ALL
        schema = score_schema(plan.pipeline)
        versions = {name: int(plan.params.get(name) or 0) for name in ("model_version", "data_version")}
        name = f"{split.first_row:012d}"  # parts of an interval are read in the order of the rows that were scored
        rows = 0
        unreadable: Counter[str] = Counter()
        with PartWriter(plan.out, {DATA_INTERVAL: interval}, schema, name) as writer:
            for batch in self._batches(split, schema, unreadable):
                scores = self.scorer.score(batch)
                rows += batch.num_rows
                writer.write(_scored(batch, scores, schema, versions))
            part = writer.close()
        ledger = Ledger(rows_in=rows, rows_out=part.rows)
        ledger.check("score")
        counted = {"part": part.model_dump(mode="json"), "ledger": ledger.model_dump(mode="json")}
        yield interval, counted | {"unreadable": dict(unreadable)}

    def _batches(self, split: Split, schema: pa.Schema, unreadable: Counter[str]) -> Iterator[pa.RecordBatch]:
        """The split's rows with what the model reads and what the scores keep; columns that the file lacks are null."""
        pipeline, foreign = self.plan.pipeline, self.plan.params.get("foreign")
        wanted = columns_read(pipeline, self.model.plan.columns(), hashed=bool(foreign and not foreign["row_id"]))
        read = pa.schema([pa.field(name, pa.null()) for name in wanted])
        for batch in read_part(split, None, BATCH_ROWS, read, encoded=True):
            if foreign:
                batch, counts = conform(batch, pipeline, foreign["values"].get(split.path, {}))
                unreadable.update(counts)
                if not foreign["row_id"]:
                    batch = batch.set_column(batch.schema.get_field_index(ROW_ID), ROW_ID, content_ids(batch, pipeline))
            yield batch


def columns_read(pipeline: Pipeline, features: Iterable[str], *, hashed: bool) -> list[str]:
    """The columns that scoring reads: the model's, those that the scores keep and, to hash a row, all of cleaning's."""
    kept = [name for name in score_schema(pipeline).names if name not in ADDED and name != DATA_INTERVAL]
    return list(dict.fromkeys([*features, *kept, *(pipeline.kept() if hashed else [])]))


def score_schema(pipeline: Pipeline) -> pa.Schema:
    """The scores table: row_id, the shard key and other keys, the time column, score, both versions, the interval."""
    clean = clean_schema(pipeline)
    time = pipeline.source.time or next(iter(pipeline.by_role("time")), None)
    shard_key = pipeline.shard.by if pipeline.shard else None
    kept = [name for name in (shard_key, *pipeline.by_role("key"), time) if name and name in clean.names]
    fields = [clean.field(name) for name in dict.fromkeys([ROW_ID, *kept])]
    return pa.schema([*fields, *(pa.field(*each) for each in ADDED.items()), clean.field(DATA_INTERVAL)])


def _scored(
    batch: pa.RecordBatch, scores: np.ndarray[Any, Any], schema: pa.Schema, versions: dict[str, int]
) -> pa.Table:
    columns: dict[str, Any] = {"score": array_of(scores)}
    for field in schema:
        if field.name in versions:
            columns[field.name] = array_of(np.full(batch.num_rows, versions[field.name], np.int64))
        elif field.name in batch.schema.names:
            columns[field.name] = batch.column(field.name).cast(field.type)
    return pa.table({name: columns[name] for name in schema.names if name in columns})


if __name__ == "__main__":
    from millrace.script import run_script

    run_script(Score)
