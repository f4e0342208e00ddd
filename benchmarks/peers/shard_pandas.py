"""Clean, hash-shard, sort and write the events by pandas, with the rejected rows beside them and a ledger.

python shard_pandas.py OUT DAY FILES… > ledger.json
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
from events import AGE, AMOUNT, DURATION, KINDS, ORDER, SHARDS, SPELLINGS
from stats_pandas import read


def main(out: Path, day: str, files: list[str]) -> None:
    started = time.perf_counter()
    frames = [read("csv", [path]).assign(source_file=path) for path in files]
    events = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    rows_in, own = len(events), list(KINDS)
    rule = pd.Series(pd.NA, index=events.index, dtype="string[pyarrow]")
    rule[events["customer_id"].isna()] = "customer_id:not_null"
    rule[~events["age"].between(*AGE).fillna(True)] = "age:range"
    rejected = events[rule.notna()]
    (out / "quarantine").mkdir(parents=True)
    told = rejected[["source_file"]].assign(row=rejected.index, rule=rule[rule.notna()])
    told["record"] = [json.dumps(record, default=str) for record in rejected[own].to_dict("records")]
    told.to_parquet(out / "quarantine" / "part.parquet", compression="zstd", index=False)
    quarantined = {name: int(count) for name, count in rule.value_counts().items()}

    events = events[rule.isna()]
    events = events.assign(
        channel=events["channel"].str.strip().str.lower(),
        country=events["country"].replace(SPELLINGS),
        amount=events["amount"].where(events["amount"].between(*AMOUNT)),
        duration=events["duration"].fillna(DURATION),
        shard=pd.util.hash_pandas_object(events["customer_id"].astype("int64"), index=False) % SHARDS,
    )
    rows_out = 0
    for shard, part in events.groupby("shard"):
        part = part.drop(columns="shard").drop_duplicates(own).sort_values(ORDER)
        folder = out / f"data_interval={day}" / f"shard={shard}"
        folder.mkdir(parents=True)
        part.to_parquet(folder / "part.parquet", compression="zstd", index=False)
        rows_out += len(part)
    ledger = {"rows_in": rows_in, "rows_out": rows_out, "quarantined": quarantined}
    ledger["duplicates"] = rows_in - rows_out - sum(quarantined.values())
    print(json.dumps({"ledger": ledger, "engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
