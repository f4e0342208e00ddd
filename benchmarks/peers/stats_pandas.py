"""Feature statistics of the events by pandas: Arrow's readers and Arrow's types.

python stats_pandas.py csv FILES… > answer.json
"""

import json
import sys
import time

import pandas as pd
import pyarrow as pa
from events import FRACTIONS, KINDS, NUMBERS, ORDERED, TOPS

TYPES = {
    "int8": pa.int8(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "float64": pa.float64(), "string": pa.string(), "timestamp": pa.timestamp("us"),
}  # fmt: skip


def read(kind: str, files: list[str]) -> pd.DataFrame:
    """All events in one frame."""
    if kind == "parquet":
        frames = [pd.read_parquet(path, dtype_backend="pyarrow") for path in files]
    else:
        types = {name: pd.ArrowDtype(TYPES[each]) for name, each in KINDS.items()}
        frames = [pd.read_csv(path, engine="pyarrow", dtype_backend="pyarrow", dtype=types) for path in files]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def main(kind: str, files: list[str]) -> None:
    started = time.perf_counter()
    events = read(kind, files)
    columns: dict[str, dict[str, object]] = {}
    for name in KINDS:
        column = events[name]
        found = {"nulls": int(column.isna().sum()), "distinct": column.nunique()}
        found |= {"min": column.min(), "max": column.max()}
        if name in NUMBERS:
            found |= {"mean": float(column.mean()), "std": float(column.std())}
        if name in ORDERED:
            found["quantiles"] = column.quantile(FRACTIONS).tolist()
        if name in TOPS:
            found["top"] = [[value, int(count)] for value, count in column.value_counts().head(10).items()]
        columns[name] = found
    answer = {"rows": len(events), "columns": columns, "engine_seconds": time.perf_counter() - started}
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
