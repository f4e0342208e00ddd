"""The scoring stage: any table and the champion in, the `scores` table out, each row once."""

from __future__ import annotations

from collections import Counter

from millrace.errors import GateClosed
from millrace.model.champion import find_champion
from millrace.model.model_file import read_info
from millrace.stages.context import Run, StageResult, digest
from millrace.stages.ingest import nothing_new, told_range
from millrace.stages.rows import base, conserved
from millrace.stages.score_source import score_source
from millrace.storage.commits import EVERYTHING, Commit
from millrace.storage.faults import reach
from millrace.storage.ledger import Ledger
from millrace.storage.parts import Part
from millrace.storage.tables import Table

MODEL = "model"  # what the commit calls the champion among its inputs; the other input is the table that was scored


def score(run: Run) -> StageResult:
    """Score what the champion hasn't scored yet: all of the window after a promotion, the new interval otherwise.

    Scores of two tables never stand side by side: where `score.table` names another than before, its scores take the
    place of all others. Cells of a table of other origin that can't be read count as missing, and are told.
    """
    from mrjobs.score import Score, score_schema

    pipeline, table = run.pipeline, run.table("scores")
    before = base(table)
    found = find_champion(run.profile.registry, run.profile.models, pipeline.name)
    if found is None:
        raise GateClosed("no champion to score with", hint="the promote stage of a training run says what it lacks")
    champion, folder = found
    source = score_source(run)
    kind = folder.rpartition("/")[2]
    tokens = {name: digest(source.name, token, champion, kind) for name, token in source.tokens.items()}
    former = None if before is None else scored_table(table, before)
    another = former not in (None, source.name)
    kept = {} if another else run.tokens("scores")
    todo = source.stale(run, tokens, kept)
    if not todo:
        return nothing_new(run, "score", "scores")
    told = f"{told_range(todo)} of {source.name} with model version {champion}"
    run.say(f"score: {told}")
    params = source.params(run, read_info(folder).plan.columns())
    if another:
        run.say(f"WARNING the scores of {former} give way: score.table is {source.name} now")
    job = run.job_plan(
        table.uri,
        model=folder,
        model_version=champion,
        data_version=source.version,
        **params,
    )
    pairs = run.run_job(Score, job, source.splits(todo))
    ledger = Ledger.total(Ledger.model_validate(value["ledger"]) for _, value in pairs)
    conserved("score", source.rows(todo), ledger)
    unreadable: Counter[str] = sum((Counter(value["unreadable"]) for _, value in pairs), Counter())
    for name, count in sorted(unreadable.items()):
        kind = pipeline.columns[name].type
        run.say(f"WARNING {count:,} values of {name} in {source.name} can't be read as {kind} and count as missing")
    done = {name: tokens[name] for name in todo if name in tokens}
    reach("before_scoring_commit")
    committed = table.commit(
        Commit(
            parts=[Part.model_validate(value["part"]) for _, value in pairs],
            schema=score_schema(pipeline),
            transaction=run.transaction("score", source.name, todo, done, before),
            replace=EVERYTHING if another else todo,
            ledger=ledger,
            inputs={source.name: source.version, MODEL: champion},
            details={"model_version": champion},
            tokens=done,
        )
    )
    reach("after_scoring_commit")
    details = {"words": told, "intervals": len(todo), "model_version": champion, "unreadable": dict(unreadable)}
    return StageResult(stage="score", table=table.uri, version=committed, ledger=ledger, details=details)


def scored_table(table: Table, version: int | None) -> str | None:
    """The name of the table whose scores a version of the scores table holds, as `score.table` named it."""
    return next((name for name in table.record(version).inputs if name != MODEL), None)
