"""Score rows of a table: Parquet parts of a clean or sharded table flow in, scores flow out as parts of one table.

    python mrjobs/score.py -r inline --pipeline pipelines/clicks.yaml FILES
    python mrjobs/score.py -r local --pipeline pipelines/clicks.yaml --table FILES

The first prints what it would write as JSON records and its ledger on standard error; with ``--table`` the scores are
committed to the pipeline's `scores` table. A map-only job:

    input    a manifest, one split a line: {"path": "…/sharded/data_interval=2026-01-05/shard=3/part-….parquet",
             "format": "parquet", "row_groups": [0, 1], "interval": "2026-01-05", …}
    params   "model": folder or URI that holds model.json and its neighbour; "model_version", "data_version": integers
             written with each row
    output   interval → {"part": Part, "ledger": Ledger}, one for each split

A record: {"row_id": 7317…, "ip": "83230", "click_time": "2026-01-05T14:32:21", "score": 0.0173, "model_version": 4,
"data_version": 12, "data_interval": "2026-01-05"}; the second column is the shard key, the third the time column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from millrace.data.clean import clean_schema
from millrace.data.raw import Split
from millrace.errors import CorruptData
from millrace.intervals import ALL
from millrace.mapreduce.job import ColumnJob
from millrace.model.model_file import LoadedModel, read_model
from millrace.model.score import score_batch
from millrace.spec import Pipeline
from millrace.storage.files import open_input
from millrace.storage.ledger import Ledger
from millrace.storage.parts import PartWriter

BATCH_ROWS = 131_072


class Score(ColumnJob):
    """Scores each split by itself; see the module for what it reads and emits."""

    @cached_property
    def model(self) -> LoadedModel:
        """The model, loaded once for all splits of a task."""
        return read_model(self.plan.params["model"])

    def map_split(self, split: Split) -> Iterator[tuple[str, Any]]:
        """One pair: the split's interval, the part that holds its scores, and the ledger."""
        plan = self.plan
        interval = split.interval or _interval_of(split.path)
        schema = score_schema(plan.pipeline)
        versions = {name: int(plan.params.get(name) or 0) for name in ("model_version", "data_version")}
        path = PurePosixPath(split.path)
        name = f"{path.stem[:60]}-{xxhash.xxh32_hexdigest(split.path.encode())}-{split.first_row:012d}"
        rows = 0
        options = dict(plan.storage_options)
        with PartWriter(plan.out, {"data_interval": interval}, schema, name, options) as writer:
            for batch in self._batches(split, schema):
                scores = score_batch(batch, self.model)
                rows += batch.num_rows
                writer.write(_scored(batch, scores, schema, versions))
            part = writer.close()
        ledger = Ledger(rows_in=rows, rows_out=part.rows)
        ledger.check("score")
        yield interval, {"part": part.model_dump(mode="json"), "ledger": ledger.model_dump(mode="json")}

    def _batches(self, split: Split, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The split's rows with what the model reads and what the scores keep; columns that the file lacks stay out."""
        wanted = {*self.model.plan.columns(), *schema.names}
        try:
            with open_input(split.path) as handle, pq.ParquetFile(handle, page_checksum_verification=True) as file:
                present = [name for name in file.schema_arrow.names if name in wanted]
                groups = range(file.num_row_groups) if split.row_groups is None else split.row_groups
                yield from file.iter_batches(BATCH_ROWS, list(groups), present, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptData(f"{split} can't be read", found=str(error).split("\n")[0]) from error


def score_schema(pipeline: Pipeline) -> pa.Schema:
    """The scores table: row_id, the shard key, the time column, score, both versions, and the partition column."""
    clean = clean_schema(pipeline)
    time = pipeline.source.time or next(iter(pipeline.by_role("time")), None)
    kept = [name for name in (pipeline.shard.by if pipeline.shard else None, time) if name and name in clean.names]
    fields = [clean.field(name) for name in dict.fromkeys(["row_id", *kept])]
    added = [("score", pa.float64()), ("model_version", pa.int64()), ("data_version", pa.int64())]
    return pa.schema([*fields, *(pa.field(name, kind) for name, kind in added), clean.field("data_interval")])


def _scored(
    batch: pa.RecordBatch, scores: np.ndarray[Any, Any], schema: pa.Schema, versions: dict[str, int]
) -> pa.Table:
    columns: dict[str, Any] = {"score": pa.array(scores)}
    for field in schema:
        if field.name in versions:
            columns[field.name] = pa.repeat(pa.scalar(versions[field.name], pa.int64()), batch.num_rows)
        elif field.name in batch.schema.names:
            columns[field.name] = batch.column(field.name).cast(field.type)
        elif field.name not in columns and field.name != "data_interval":
            columns[field.name] = pa.nulls(batch.num_rows, field.type)
    return pa.table({name: columns[name] for name in schema.names if name in columns})


def _interval_of(path: str) -> str:
    """The interval that a partition folder names, else `all`."""
    found = re.search(r"data_interval=([^/]+)/", path)
    return found.group(1) if found else ALL


if __name__ == "__main__":
    from millrace.stages import run_script

    run_script(Score)
