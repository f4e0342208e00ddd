"""Feature statistics of the events by PySpark: one aggregation, and one count of values over grouping sets.

python stats_pyspark.py csv FILES… > answer.json
"""

import json
import sys
import time

from events import FRACTIONS, KINDS, NUMBERS, ORDERED, TOPS
from pyspark.sql import functions as f
from pyspark.sql.window import Window
from spark import CSV, schema, session


def main(kind: str, files: list[str]) -> None:
    spark = session()
    started = time.perf_counter()
    events = spark.read.schema(schema(KINDS)).options(**CSV).csv(files) if kind == "csv" else spark.read.parquet(*files)
    wanted = [f.count(f.lit(1)).alias("rows")]
    for name in KINDS:
        column = f.col(name)
        if KINDS[name] == "timestamp":
            column = f.unix_micros(column.cast("timestamp"))
        wanted += [
            f.count(column).alias(f"{name}/count"),
            f.approx_count_distinct(column, 0.02).alias(f"{name}/distinct"),
            f.min(column).alias(f"{name}/min"),
            f.max(column).alias(f"{name}/max"),
        ]
        if name in NUMBERS:
            wanted += [f.avg(column).alias(f"{name}/mean"), f.stddev_samp(column).alias(f"{name}/std")]
        if name in ORDERED:
            wanted.append(f.percentile_approx(column, FRACTIONS, 1000).alias(f"{name}/quantiles"))
    row = events.agg(*wanted).first().asDict()
    columns: dict[str, dict[str, object]] = {}
    for key, value in row.items():
        name, _, what = key.partition("/")
        if what == "count":
            what, value = "nulls", row["rows"] - value
        if what:
            columns.setdefault(name, {})[what] = value

    events.select(*TOPS).createOrReplaceTempView("events")
    sets = ", ".join(f"({name})" for name in TOPS)
    counts = spark.sql(f"SELECT {', '.join(TOPS)}, grouping_id() AS of, count(*) AS n FROM events "
                       f"GROUP BY GROUPING SETS ({sets})")  # fmt: skip
    value = f.coalesce(*(f.col(name).cast("string") for name in TOPS))
    ranked = counts.select("of", value.alias("value"), "n").where(value.isNotNull())
    ranked = ranked.withColumn("rank", f.row_number().over(Window.partitionBy("of").orderBy(f.desc("n"))))
    places = {sum(1 << (len(TOPS) - 1 - other) for other in range(len(TOPS)) if other != place): name
              for place, name in enumerate(TOPS)}  # fmt: skip
    for each in ranked.where("rank <= 10").orderBy("of", "rank").collect():
        name = places[each["of"]]
        found = int(each["value"]) if name in NUMBERS else each["value"]
        columns[name].setdefault("top", []).append([found, each["n"]])
    answer = {"rows": row["rows"], "columns": columns, "engine_seconds": time.perf_counter() - started}
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
