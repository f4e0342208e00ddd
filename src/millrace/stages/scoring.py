"""The scoring stage: the sharded (or clean) table and the champion in, the `scores` table out, each row once."""

from __future__ import annotations

from millrace.errors import GateClosed
from millrace.stages.context import Run, StageResult, digest
from millrace.stages.ingest import nothing_new, stale_intervals, told_range
from millrace.stages.learn import registry
from millrace.stages.rows import base, conserved, rows_of
from millrace.storage.commits import Commit
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part


def score(run: Run) -> StageResult:
    """Score what the champion hasn't scored yet: all of the window after a promotion, the new interval otherwise."""
    from mrjobs.score import Score, score_schema

    pipeline, table = run.pipeline, run.table("scores")
    before = base(table)
    store = registry(run)
    champion = store.champion(pipeline.name)
    if champion is None:
        raise GateClosed("no champion to score with", hint="the promote stage of a training run says what it lacks")
    source = pipeline.score.table
    version = run.version(source)
    if version is None:
        raise GateClosed(f"no {source} table to score", hint=f"millrace run {pipeline.name} --until shard")
    folder = store.scoring_folder(pipeline.name, champion)
    tokens = {name: digest(token, champion, folder.name) for name, token in run.tokens(source).items()}
    kept = run.tokens("scores")
    todo = stale_intervals(run, tokens, kept)
    if not todo:
        return nothing_new(run, "score", "scores")
    run.say(f"score: {told_range(todo)} with model version {champion}")
    job = run.job_plan(
        table.uri,
        model=str(folder),
        model_version=champion,
        data_version=version,
    )
    pairs = run.run_job(Score, job, run.part_splits(source, version, todo))
    ledger = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
    conserved("score", rows_of(run, source, version, todo), ledger)
    done = {name: tokens[name] for name in todo if name in tokens}
    committed = table.commit(
        Commit(
            parts=[Part.model_validate(value["part"]) for _, value in pairs],
            schema=score_schema(pipeline),
            transaction=run.transaction("score", todo, done, before),
            replace=todo,
            ledger=ledger,
            inputs={source: version, "model": champion},
            details={"model_version": champion},
            tokens=done,
        )
    )
    words = f"{told_range(todo)} with model version {champion}"
    details = {"words": words, "intervals": len(todo), "model_version": champion}
    return StageResult(stage="score", table=table.uri, version=committed, ledger=ledger, details=details)
