"""The names of the stages, in order; light, so that DAG files, the CLI and schemas can read it without the stages."""

from __future__ import annotations

TRAINING = ("check", "clean", "shard", "stats", "drift", "sample", "train", "evaluate", "promote", "compress", "report")
SCORING = ("score", "report")  # the report of the night once more, now with its scores
STAGES = (*TRAINING[:-1], *SCORING)  # a whole night without Airflow
LEARNING = ("sample", "train", "evaluate", "promote", "compress", "score")  # they need a column with role label
JOBS = {
    "check": "mrjobs.check",
    "clean": "mrjobs.clean",
    "shard": "mrjobs.shard",
    "stats": "mrjobs.feature_stats",
    "sample": "mrjobs.sample",
    "score": "mrjobs.score",
}
"""The stages that start map tasks, and the module that these are of."""
FRAMES = {"check": ["pandas"], "clean": ["polars"], "shard": ["polars"], "score": ["pandas", "polars"]}
"""What the tasks of a stage take long to import."""
