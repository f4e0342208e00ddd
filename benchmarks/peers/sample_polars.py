"""A stratified sample by Polars: so many rows of each class of the label, with their weights.

    python sample_polars.py OUT ROWS FILES… > answer.json

The label is read first and rows are drawn by their number; then the drawn rows alone are kept of the scan.
"""

import json
import sys
import time

import polars as pl


def main(out: str, rows: int, files: list[str]) -> None:
    started = time.perf_counter()
    events = pl.scan_parquet(files, hive_partitioning=False).with_row_index("place")
    labels = events.select("place", "clicked").collect(engine="streaming")
    sizes = dict(labels["clicked"].value_counts().rows())
    take = rows // len(sizes)
    drawn = [
        labels.filter(pl.col("clicked") == label).sample(min(take, size), seed=label).with_columns(
            pl.lit(min(take, size) / size).alias("inclusion_probability"),
            pl.lit(size / min(take, size)).alias("weight"),
        )
        for label, size in sizes.items()
    ]  # fmt: skip
    chosen = pl.concat(drawn).drop("clicked").lazy()
    sample = events.join(chosen, on="place", how="inner").drop("place")
    sample.sink_parquet(out, compression="zstd", compression_level=1)
    print(json.dumps({"rows": sum(map(len, drawn)), "engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
