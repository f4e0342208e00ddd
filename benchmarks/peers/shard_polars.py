"""Clean, hash-shard, sort and write the events by Polars, with the rejected rows beside them and a ledger.

python shard_polars.py OUT DAY FILES… > ledger.json
"""

import json
import sys
import time
from pathlib import Path

import polars as pl
from events import AGE, AMOUNT, DURATION, KINDS, ORDER, SHARDS, SPELLINGS
from stats_polars import SCHEMA

ZSTD = {"compression": "zstd", "compression_level": 1, "mkdir": True, "lazy": True}


def main(out: Path, day: str, files: list[str]) -> None:
    started = time.perf_counter()
    raw = pl.scan_csv(files, schema=SCHEMA, row_index_name="row", include_file_paths="source_file")
    no_customer, bad_age = pl.col("customer_id").is_null(), ~pl.col("age").is_between(*AGE).fill_null(True)
    rows = raw.with_columns(
        pl.when(bad_age).then(pl.lit("age:range")).when(no_customer).then(pl.lit("customer_id:not_null")).alias("rule")
    ).collect(engine="streaming")
    rejected = rows.filter(pl.col("rule").is_not_null())
    clean = (
        rows.lazy()
        .filter(pl.col("rule").is_null())
        .drop("rule", "row")
        .with_columns(
            pl.col("channel").str.strip_chars().str.to_lowercase(),
            pl.col("country").replace(SPELLINGS),
            pl.when(pl.col("amount").is_between(*AMOUNT)).then(pl.col("amount")),
            pl.col("duration").fill_null(DURATION),
            (pl.col("customer_id").hash() % SHARDS).cast(pl.Int32).alias("shard"),
        )
    )
    parts = clean.collect(engine="streaming").partition_by("shard", as_dict=True, include_key=False)
    own = list(KINDS)
    tables = [part.lazy().unique(own).sort(ORDER) for part in parts.values()]
    sinks = [
        table.sink_parquet(out / f"data_interval={day}" / f"shard={shard}" / "part.parquet", **ZSTD)
        for (shard,), table in zip(parts, tables, strict=True)
    ]
    told = (
        rejected.lazy()
        .select("row", "source_file", "rule", pl.struct(own).struct.json_encode().alias("record"))
        .sink_parquet(out / "quarantine" / "part.parquet", **ZSTD)
    )
    counts = pl.collect_all([*(table.select(pl.len()) for table in tables), told, *sinks])[: len(tables)]
    rows_out = sum(count.item() for count in counts)
    quarantined = dict(rejected["rule"].value_counts().rows())
    ledger = {"rows_in": len(rows), "rows_out": rows_out, "quarantined": quarantined}
    ledger["duplicates"] = len(rows) - len(rejected) - rows_out
    print(json.dumps({"ledger": ledger, "engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
