"""Feature statistics of the events by DuckDB: one query over the files.

python stats_duckdb.py csv FILES… > answer.json
"""

import json
import sys
import time

import duckdb
from events import FRACTIONS, KINDS, NUMBERS, ORDERED, TOPS

TYPES = {
    "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT",
    "float64": "DOUBLE", "string": "VARCHAR", "timestamp": "TIMESTAMP",
}  # fmt: skip


def main(kind: str, files: list[str]) -> None:
    started = time.perf_counter()
    columns = {name: TYPES[each] for name, each in KINDS.items()}
    source = f"read_csv({files}, columns = {columns}, header = true)" if kind == "csv" else f"read_parquet({files})"
    wanted = ["count(*) AS rows"]
    for name in KINDS:
        found = {
            "nulls": f"count(*) - count({name})",
            "distinct": f"approx_count_distinct({name})",
            "min": f"min({name})",
            "max": f"max({name})",
        }
        if name in NUMBERS:
            found |= {"mean": f"avg({name})", "std": f"stddev_samp({name})"}
        if name in ORDERED:
            found["quantiles"] = f"approx_quantile({name}, {FRACTIONS})"
        if name in TOPS:
            found["top"] = f"approx_top_k({name}, 10)"
        wanted += [f'{formula} AS "{name}/{what}"' for what, formula in found.items()]
    result = duckdb.sql(f"SELECT {', '.join(wanted)} FROM {source}")
    row = dict(zip(result.columns, result.fetchall()[0], strict=True))
    answers: dict[str, dict[str, object]] = {}
    for key, value in row.items():
        name, _, what = key.partition("/")
        if what == "top":
            value = [[each, None] for each in value]
        if what:
            answers.setdefault(name, {})[what] = value
    answer = {"rows": row["rows"], "columns": answers, "engine_seconds": time.perf_counter() - started}
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
