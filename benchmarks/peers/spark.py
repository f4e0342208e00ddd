"""A Spark session on this machine, set up for one program on all of its cores."""

import os

from pyspark.sql import SparkSession

CSV = {"header": True, "timestampNTZFormat": "yyyy-MM-dd HH:mm:ss"}


def session() -> SparkSession:
    """All cores, a heap that holds the work, as many shuffle partitions as there is work for, no web page."""
    cores = len(os.sched_getaffinity(0))
    return (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.driver.memory", "8g")
        .config("spark.sql.shuffle.partitions", 4 * cores)
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.hadoop.parquet.compression.codec.zstd.level", 1)
        .getOrCreate()
    )


TYPES = {
    "int8": "TINYINT", "int16": "SMALLINT", "int32": "INT", "int64": "BIGINT",
    "float64": "DOUBLE", "string": "STRING", "timestamp": "TIMESTAMP_NTZ",
}  # fmt: skip


def schema(kinds: dict[str, str]) -> str:
    """The schema of the columns, as Spark writes it."""
    return ", ".join(f"{name} {TYPES[kind]}" for name, kind in kinds.items())
