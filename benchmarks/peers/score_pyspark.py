"""Bulk scoring by Spark ML: a pipeline fitted on a sample scores Parquet files.

python score_pyspark.py fit SAMPLE.parquet MODEL
python score_pyspark.py score MODEL OUT FILES…
"""

import json
import sys
import time

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import Imputer, OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as f
from spark import session

LOW = ["channel", "country"]
HIGH = ["device", "city", "page", "campaign"]
NUMBERS = ["amount", "price", "duration", "age", "signal"]
LABEL, KEEP = "clicked", ["event_id", "customer_id", "event_time"]


def fit(sample: str, path: str) -> None:
    """Fit the pipeline on the sample, with its weights."""
    rows = session().read.parquet(sample).withColumn(LABEL, f.col(LABEL).cast("double"))
    for name in HIGH:
        means = rows.groupBy(name).agg(f.avg(LABEL).alias(f"{name}_mean"))
        means.coalesce(1).write.mode("overwrite").parquet(f"{path}/means/{name}")
    encoded = _encoded(rows, path).cache()
    index = StringIndexer(inputCols=LOW, outputCols=[f"{name}_index" for name in LOW], handleInvalid="keep")
    one_hot = OneHotEncoder(
        inputCols=[f"{name}_index" for name in LOW], outputCols=[f"{name}_hot" for name in LOW], handleInvalid="keep"
    )
    numbers = [*NUMBERS, *(f"{name}_mean" for name in HIGH)]
    filled = [f"{name}_filled" for name in numbers]
    impute = Imputer(inputCols=numbers, outputCols=filled, strategy="median")
    join = VectorAssembler(inputCols=filled, outputCol="numbers")
    scale = StandardScaler(inputCol="numbers", outputCol="scaled", withMean=True)
    features = VectorAssembler(inputCols=["scaled", *(f"{name}_hot" for name in LOW)], outputCol="features")
    # few iterations, each a job: only scoring is measured, which takes as long whatever the coefficients are
    classify = LogisticRegression(labelCol=LABEL, weightCol="weight", featuresCol="features", maxIter=10)
    stages = [index, one_hot, impute, join, scale, features, classify]
    Pipeline(stages=stages).fit(encoded).write().overwrite().save(f"{path}/model")


def _encoded(rows: DataFrame, path: str) -> DataFrame:
    """The rows with the target's mean of each category: joined, for TargetEncoder looks each up among all by turns."""
    for name in HIGH:
        means = rows.sparkSession.read.parquet(f"{path}/means/{name}")
        rows = rows.join(f.broadcast(means), name, "left")
    return rows


def score(path: str, out: str, files: list[str]) -> None:
    """Score the files, and count what was written."""
    spark = session()
    started = time.perf_counter()
    model = PipelineModel.load(f"{path}/model")
    rows = spark.read.parquet(*files).select(*KEEP, *LOW, *HIGH, *NUMBERS)
    scored = model.transform(_encoded(rows, path)).select(*KEEP, vector_to_array("probability")[1].alias("score"))
    scored.write.parquet(out)
    print(json.dumps({"engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    if sys.argv[1] == "fit":
        fit(*sys.argv[2:])
    else:
        score(sys.argv[2], sys.argv[3], sys.argv[4:])
