"""Bulk scoring by Spark ML: a pipeline fitted on a sample scores Parquet files.

python score_pyspark.py fit SAMPLE.parquet MODEL
python score_pyspark.py score MODEL OUT FILES…
"""

import json
import sys
import time

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import Imputer, OneHotEncoder, StandardScaler, StringIndexer, TargetEncoder, VectorAssembler
from pyspark.ml.functions import vector_to_array
from spark import session

LOW = ["channel", "country"]
HIGH = ["device", "city", "page", "campaign"]
NUMBERS = ["amount", "price", "duration", "age", "signal"]
LABEL, KEEP = "clicked", ["event_id", "customer_id", "event_time"]


def fit(sample: str, path: str) -> None:
    """Fit the pipeline on a fifth of the sample, with its weights."""
    rows = session().read.parquet(sample).sample(0.2, seed=1).withColumn(LABEL, _double(LABEL))
    texts = LOW + HIGH
    index = StringIndexer(inputCols=texts, outputCols=[f"{name}_index" for name in texts], handleInvalid="keep")
    one_hot = OneHotEncoder(
        inputCols=[f"{name}_index" for name in LOW], outputCols=[f"{name}_hot" for name in LOW], handleInvalid="keep"
    )
    high = [f"{name}_index" for name in HIGH]
    means = TargetEncoder(
        inputCols=high, outputCols=[f"{name}_mean" for name in high], labelCol=LABEL, targetType="binary",
        handleInvalid="keep",
    )  # fmt: skip
    filled = [f"{name}_filled" for name in NUMBERS]
    impute = Imputer(inputCols=NUMBERS, outputCols=filled, strategy="median")
    join = VectorAssembler(inputCols=[*filled, *(f"{name}_mean" for name in high)], outputCol="numbers")
    scale = StandardScaler(inputCol="numbers", outputCol="scaled", withMean=True)
    features = VectorAssembler(inputCols=["scaled", *(f"{name}_hot" for name in LOW)], outputCol="features")
    # few rows and iterations, each a job or more: only scoring is measured, which takes as long whatever was learned
    classify = LogisticRegression(labelCol=LABEL, weightCol="weight", featuresCol="features", maxIter=10)
    # fitted in two steps: the means of many categories make plans that take long to compile, for each job anew
    encode = Pipeline(stages=[index, one_hot, means]).fit(rows)
    encoded = encode.transform(rows).cache()
    learn = Pipeline(stages=[impute, join, scale, features, classify]).fit(encoded)
    PipelineModel([*encode.stages, *learn.stages]).write().overwrite().save(path)


def _double(name: str):
    from pyspark.sql import functions as f

    return f.col(name).cast("double")


def score(path: str, out: str, files: list[str]) -> None:
    """Score the files, and count what was written."""
    spark = session()
    started = time.perf_counter()
    model = PipelineModel.load(path)
    rows = spark.read.parquet(*files).select(*KEEP, *LOW, *HIGH, *NUMBERS)
    scored = model.transform(rows).select(*KEEP, vector_to_array("probability")[1].alias("score"))
    scored.write.parquet(out)
    print(json.dumps({"engine_seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    if sys.argv[1] == "fit":
        fit(*sys.argv[2:])
    else:
        score(sys.argv[2], sys.argv[3], sys.argv[4:])
