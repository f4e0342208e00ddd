"""The names of the stages, in order; light, so that DAG files, the CLI and schemas can read it without the stages."""

from __future__ import annotations

TRAINING = ("check", "clean", "shard", "stats", "drift", "sample", "train", "evaluate", "promote", "compress", "report")
SCORING = ("score",)
LEARNING = ("sample", "train", "evaluate", "promote", "compress", "score")  # they need a column with role label
