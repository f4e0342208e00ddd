"""Bulk scoring by scikit-learn: a pipeline fitted on a sample scores Parquet files batch by batch.

python score_sklearn.py fit logistic_regression SAMPLE.parquet MODEL.pickle
python score_sklearn.py score MODEL.pickle OUT FILES…            in this process
python score_sklearn.py score-files MODEL.pickle OUT FILES…      in a process per core
"""

import json
import os
import pickle
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

LOW = ["channel", "country"]
HIGH = ["device", "city", "page", "campaign"]
NUMBERS = ["amount", "price", "duration", "age", "signal"]
LABEL, KEEP = "clicked", ["event_id", "customer_id", "event_time"]
BATCH_ROWS = 131_072


def fit(model: str, sample: str, path: str) -> None:
    """Fit the pipeline on the sample, with its weights."""
    rows = pq.read_table(sample).to_pandas()
    means = TargetEncoder(target_type="binary")
    if model == "logistic_regression":
        numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
        low = OneHotEncoder(handle_unknown="ignore")
        classify = LogisticRegression(max_iter=500)
    else:
        numbers = "passthrough"
        low = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        classify = HistGradientBoostingClassifier(random_state=0)
    columns = ColumnTransformer([("low", low, LOW), ("high", means, HIGH), ("numbers", numbers, NUMBERS)])
    pipeline = make_pipeline(columns, classify)
    weights = {f"{pipeline.steps[-1][0]}__sample_weight": rows["weight"]}
    pipeline.fit(rows[LOW + HIGH + NUMBERS], rows[LABEL], **weights)
    Path(path).write_bytes(pickle.dumps(pipeline))


def score(path: str, out: str, files: list[str]) -> int:
    """Score the files one after another; returns the number of rows."""
    pipeline = pickle.loads(Path(path).read_bytes())  # noqa: S301 - written by `fit` a moment ago
    rows = 0
    for number, file in enumerate(files):
        rows += score_file(pipeline, file, f"{out}/{number:05d}.parquet")
    return rows


def score_file(pipeline: object, file: str, out: str) -> int:
    """Score a file batch by batch; returns the number of rows."""
    source, rows = pq.ParquetFile(file), 0
    writer = None
    for batch in source.iter_batches(BATCH_ROWS, columns=[*KEEP, *LOW, *HIGH, *NUMBERS]):
        frame = batch.select(LOW + HIGH + NUMBERS).to_pandas()
        scores = pipeline.predict_proba(frame)[:, 1]
        table = pa.Table.from_batches([batch.select(KEEP)]).append_column("score", pa.array(scores))
        writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
        writer.write_table(table)
        rows += len(scores)
    if writer is not None:
        writer.close()
    return rows


def score_files(path: str, out: str, files: list[str]) -> int:
    """As `score`, the files shared among processes."""
    from joblib import Parallel, delayed

    workers = len(os.sched_getaffinity(0))
    shares = [files[place::workers] for place in range(workers)]
    for place in range(workers):
        Path(f"{out}/{place}").mkdir()
    return sum(Parallel(workers)(delayed(score)(path, f"{out}/{place}", share) for place, share in enumerate(shares)))


def main(what: str, arguments: list[str]) -> None:
    started = time.perf_counter()
    if what == "fit":
        fit(*arguments)
        return
    path, out, *files = arguments
    Path(out).mkdir(parents=True)
    rows = (score if what == "score" else score_files)(path, out, files)
    print(json.dumps({"rows": rows, "engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
