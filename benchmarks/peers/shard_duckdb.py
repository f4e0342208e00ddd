"""Clean, hash-shard, sort and write the events by DuckDB, with the rejected rows beside them and a ledger.

python shard_duckdb.py OUT DAY FILES… > ledger.json
"""

import json
import sys
import time
from pathlib import Path

import duckdb
from events import AGE, AMOUNT, DURATION, KINDS, ORDER, SHARDS, SPELLINGS
from stats_duckdb import TYPES

ZSTD = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"


def main(out: Path, day: str, files: list[str]) -> None:
    started = time.perf_counter()
    columns = {name: TYPES[kind] for name, kind in KINDS.items()}
    countries = " ".join(f"WHEN '{wrong}' THEN '{right}'" for wrong, right in SPELLINGS.items())
    cleaned = {
        "channel": "lower(trim(channel))",
        "country": f"CASE country {countries} ELSE country END",
        "amount": f"CASE WHEN amount BETWEEN {AMOUNT[0]} AND {AMOUNT[1]} THEN amount END",
        "duration": f"coalesce(duration, {DURATION})",
    }
    chosen = ", ".join(f"{cleaned[name]} AS {name}" if name in cleaned else name for name in KINDS)
    data = duckdb.connect()
    data.execute(f"""
        CREATE TABLE events AS
        SELECT *, filename AS source_file, hash(customer_id) % {SHARDS} AS shard,
            CASE WHEN age NOT BETWEEN {AGE[0]} AND {AGE[1]} THEN 'age:range'
                WHEN customer_id IS NULL THEN 'customer_id:not_null' END AS rule
        FROM read_csv({files}, columns = {columns}, header = true, filename = true)
    """)
    rows_in = data.execute("SELECT count(*) FROM events").fetchone()[0]
    rejected = dict(data.execute("SELECT rule, count(*) FROM events WHERE rule IS NOT NULL GROUP BY rule").fetchall())
    (out / "quarantine").mkdir(parents=True)
    data.execute(f"""
        COPY (SELECT source_file, rule, to_json({{{", ".join(f"'{name}': {name}" for name in KINDS)}}}) AS record
            FROM events WHERE rule IS NOT NULL)
        TO '{out}/quarantine/part.parquet' ({ZSTD})
    """)
    rows_out = 0
    for shard in range(SHARDS):
        folder = out / f"data_interval={day}" / f"shard={shard}"
        folder.mkdir(parents=True)
        rows_out += data.execute(f"""
            COPY (SELECT DISTINCT {chosen}, source_file FROM events WHERE shard = {shard} AND rule IS NULL
                ORDER BY {", ".join(ORDER)})
            TO '{folder}/part.parquet' ({ZSTD})
        """).fetchone()[0]
    ledger = {"rows_in": rows_in, "rows_out": rows_out, "quarantined": rejected}
    ledger["duplicates"] = rows_in - rows_out - sum(rejected.values())
    print(json.dumps({"ledger": ledger, "engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
