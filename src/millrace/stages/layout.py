"""The stages that lay clean rows out and measure them: `clean` in, `sharded` with its lookup index and `stats` out."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from millrace.data.drift import drift_columns
from millrace.data.key_sketch import KeySketch
from millrace.data.shard import ShardPlan, plan_shards
from millrace.data.stats import TABLE_SCHEMA, Stats, to_table
from millrace.stages.context import Run, StageResult, digest
from millrace.stages.ingest import nothing_new, stale_intervals, told_range
from millrace.stages.rows import base, commit_intervals, conserved, rows_of
from millrace.storage.commits import Commit
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part


def shard(run: Run) -> StageResult:
    """Place the clean rows of every stale interval in shards: sorted, deduplicated, with an index for lookup.

    How rows are placed is decided once per `shard` section and recorded; range boundaries are learned from the first
    rows.
    """
    from mrjobs.shard import Shard, sharded_schema

    pipeline, table = run.pipeline, run.table("sharded")
    before = base(table)
    layout = digest(pipeline.shard, pipeline.columns[pipeline.shard.by].type if pipeline.shard else None)
    tokens = {name: f"{digest(token)}-{layout}" for name, token in run.tokens("clean").items()}
    kept = run.tokens("sharded")
    todo = stale_intervals(run, tokens, kept)
    if not todo:
        return nothing_new(run, "shard", "sharded")
    version = run.version("clean")
    assert version is not None, "tokens come from a version"
    splits = run.part_splits("clean", version, todo)
    layouts = table.details().get("layouts", {}) if table.exists() else {}
    plan = ShardPlan.model_validate(layouts[layout]) if layout in layouts else learn_shards(run, splits)
    if plan.heavy_keys:
        run.say(f"WARNING one key alone is larger than a shard should be: {', '.join(map(str, plan.heavy_keys))}")
    run.say(f"shard: {told_range(todo)} by {plan.method} of {plan.by or 'nothing'} into {plan.shards}")
    with run.shuffle_folder() as shuffle:
        job = run.job_plan(table.uri, shard=plan.model_dump(mode="json"), shuffle=shuffle)
        pairs = run.run_job(Shard, job, splits)
    ledger = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
    parts = [Part.model_validate(value["part"]) for _, value in pairs if value["part"]]
    conserved("shard", rows_of(run, "clean", version, todo), ledger)
    done = {name: tokens[name] for name in todo if name in tokens}
    committed = table.commit(
        Commit(
            parts=parts,
            schema=sharded_schema(pipeline),
            transaction=run.transaction("shard", todo, done, before),
            replace=todo,
            ledger=ledger,
            inputs={"clean": version},
            details={"layouts": {**layouts, layout: plan.model_dump(mode="json")}},
            tokens=done,
        )
    )
    details = {"words": f"{told_range(todo)}, {plan.shards} shards", "intervals": len(todo)}
    return StageResult(stage="shard", table=table.uri, version=committed, ledger=ledger, details=details)


def learn_shards(run: Run, splits: Sequence[Any]) -> ShardPlan:
    """How rows are placed; where range boundaries must be learned, a job samples the key over all rows first."""
    from mrjobs.shard import ShardKeys

    settings = run.pipeline.shard
    if settings is None or settings.method == "hash" or settings.boundaries is not None:
        return plan_shards(run.pipeline)
    pairs = run.run_job(ShardKeys, run.job_plan(run.table("sharded").uri), splits)
    sketches = [KeySketch.from_bytes(base64.b64decode(value)) for _, value in pairs]
    return plan_shards(run.pipeline, sketches[0] if sketches else None)


def shard_plans(run: Run) -> dict[str, ShardPlan]:
    """How the rows of each interval of the sharded table are placed: older ones may lie as an older file asked."""
    details = run.table("sharded").details()
    plans = {layout: ShardPlan.model_validate(plan) for layout, plan in details["layouts"].items()}
    return {name: plans[token.rpartition("-")[2]] for name, token in details["tokens"].items()}


def stats_tokens(run: Run) -> dict[str, str]:
    """Interval → the token of statistics of what the sharded table holds now."""
    shape = digest(run.pipeline.columns, run.pipeline.label)
    return {name: digest(token, shape) for name, token in run.tokens("sharded").items()}


def stats(run: Run) -> StageResult:
    """Take the feature statistics of every stale interval: one mergeable state per column, interval and label class."""
    from mrjobs.feature_stats import FeatureStats

    table = run.table("stats")
    before = base(table)
    tokens = stats_tokens(run)
    kept = run.tokens("stats")
    todo = stale_intervals(run, tokens, kept)
    if not todo:
        return nothing_new(run, "stats", "stats")
    version = run.version("sharded")
    assert version is not None, "tokens come from a version"
    run.say(f"stats: {told_range(todo)}")
    pairs = run.run_job(FeatureStats, run.job_plan(table.uri), run.part_splits("sharded", version, todo))
    measured = {interval: Stats.from_bytes(base64.b64decode(value)) for interval, value in pairs}
    total = sum(each.rows for each in measured.values())
    conserved("stats", rows_of(run, "sharded", version, todo), Ledger(rows_in=total, rows_out=total))
    done = {name: tokens[name] for name in todo if name in tokens}
    outlined = drift_columns(run.pipeline)
    tables = [to_table(interval, each, outlined) for interval, each in sorted(measured.items())]
    rows = pa.concat_tables([TABLE_SCHEMA.empty_table(), *tables])
    committed = commit_intervals(
        run,
        "stats",
        rows,
        transaction=run.transaction("stats", todo, done, before),
        tokens=done,
        replace=todo,
    )
    return StageResult(
        stage="stats",
        table=table.uri,
        version=committed,
        ledger=Ledger(rows_in=total, rows_out=total),
        details={"words": told_range(todo), "intervals": len(todo)},
    )
