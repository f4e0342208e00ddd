"""The names of the stages, in order; light, so that DAG files, the CLI and schemas can read it without the stages."""

from __future__ import annotations

TRAINING = ("check", "clean", "shard", "stats", "drift", "sample", "train", "evaluate", "promote", "compress", "report")
SCORING = ("score", "report")  # the report of the night once more, now with its scores
STAGES = (*TRAINING[:-1], *SCORING)  # a whole night without Airflow
LEARNING = ("sample", "train", "evaluate", "promote", "compress", "score")  # they need a column with role label
WITH_JOBS = ("check", "clean", "shard", "stats", "sample", "score")  # they start map tasks
WITH_FRAMES = ("check", "clean", "shard", "score")  # those with tasks that use Polars or pandas
