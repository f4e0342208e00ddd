"""Clean, hash-shard, sort and write the events by PySpark, with the rejected rows beside them and a ledger.

    python shard_pyspark.py OUT DAY FILES… > ledger.json

The rows are shuffled once, by customer: duplicates meet there, and each shuffle partition is one shard.
"""

import json
import sys
import time
from pathlib import Path

from events import AGE, AMOUNT, DURATION, KINDS, ORDER, SHARDS, SPELLINGS
from pyspark.sql import Observation
from pyspark.sql import functions as f
from spark import CSV, schema, session


def main(out: Path, day: str, files: list[str]) -> None:
    spark = session()
    started = time.perf_counter()
    raw = spark.read.schema(schema(KINDS)).options(**CSV).csv(files)
    rules = {"age:range": ~f.col("age").between(*AGE), "customer_id:not_null": f.col("customer_id").isNull()}
    rule = f.coalesce(*(f.when(broken, name) for name, broken in rules.items()))
    events = raw.withColumn("rule", rule).withColumn("source_file", f.input_file_name())
    counted, written = Observation(), Observation()
    broken = [f.count_if(f.col("rule") == name).alias(name) for name in rules]
    events = events.observe(counted, f.count(f.lit(1)).alias("rows"), *broken)

    spelling = f.create_map(*(f.lit(word) for pair in SPELLINGS.items() for word in pair))
    clean = events.where("rule IS NULL").drop("rule").withColumns(
        {
            "channel": f.lower(f.trim("channel")),
            "country": f.coalesce(spelling[f.col("country")], f.col("country")),
            "amount": f.when(f.col("amount").between(*AMOUNT), f.col("amount")),
            "duration": f.coalesce("duration", f.lit(DURATION)),
        }
    )  # fmt: skip
    shards = clean.repartition(SHARDS, "customer_id").dropDuplicates(list(KINDS))
    shards = shards.withColumn("shard", f.pmod(f.hash("customer_id"), f.lit(SHARDS)))
    shards = shards.sortWithinPartitions("shard", *ORDER).observe(written, f.count(f.lit(1)).alias("rows"))
    shards.write.partitionBy("shard").parquet(str(out / f"data_interval={day}"))

    rejected = raw.withColumn("rule", rule).where("rule IS NOT NULL")
    record = f.to_json(f.struct(*KINDS)).alias("record")
    rejected.select(f.input_file_name().alias("source_file"), "rule", record).write.parquet(str(out / "quarantine"))
    rows = counted.get
    ledger = {"rows_in": rows["rows"], "rows_out": written.get["rows"]}
    ledger["quarantined"] = {name: rows[name] for name in rules}
    ledger["duplicates"] = rows["rows"] - ledger["rows_out"] - sum(ledger["quarantined"].values())
    print(json.dumps({"ledger": ledger, "engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
