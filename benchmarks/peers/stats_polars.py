"""Feature statistics of the events by Polars: one lazy scan, streaming.

python stats_polars.py csv FILES… > answer.json
"""

import json
import sys
import time

import polars as pl
from events import FRACTIONS, KINDS, NUMBERS, ORDERED, TOPS

TYPES = {
    "int8": pl.Int8, "int16": pl.Int16, "int32": pl.Int32, "int64": pl.Int64,
    "float64": pl.Float64, "string": pl.String, "timestamp": pl.Datetime("us"),
}  # fmt: skip
SCHEMA = {name: TYPES[kind] for name, kind in KINDS.items()}


def main(kind: str, files: list[str]) -> None:
    started = time.perf_counter()
    events = pl.scan_csv(files, schema=SCHEMA) if kind == "csv" else pl.scan_parquet(files)
    wanted = [pl.len().alias("rows")]
    for name in KINDS:
        column = pl.col(name)
        wanted += [
            column.null_count().alias(f"{name}/nulls"),
            column.approx_n_unique().alias(f"{name}/distinct"),
            column.min().alias(f"{name}/min"),
            column.max().alias(f"{name}/max"),
        ]
        if name in NUMBERS:
            wanted += [column.mean().alias(f"{name}/mean"), column.std().alias(f"{name}/std")]
        if name in ORDERED:
            wanted += [column.quantile(FRACTIONS).alias(f"{name}/quantiles")]
        if name in TOPS:
            counts = column.drop_nulls().value_counts(sort=True).head(10)
            wanted.append(counts.implode().alias(f"{name}/top"))
    row = events.select(wanted).collect(engine="streaming").row(0, named=True)
    columns: dict[str, dict[str, object]] = {}
    for key, value in row.items():
        name, _, what = key.partition("/")
        if what == "top":
            value = [list(each.values()) for each in value]
        if what:
            columns.setdefault(name, {})[what] = value
    answer = {"rows": row["rows"], "columns": columns, "engine_seconds": time.perf_counter() - started}
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
