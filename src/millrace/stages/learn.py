"""The learning stages: a sample in; a candidate in the registry, its evaluation and a decision out."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.data.hashing import seed_of
from millrace.data.holdout import Holdout, draw
from millrace.errors import GateClosed
from millrace.model.champion import champion_facts
from millrace.model.compress import CompressionReport, compress
from millrace.model.evaluate import Comparison, Evaluation, Settings, compare, evaluate
from millrace.model.features import labels
from millrace.model.model_file import LoadedModel
from millrace.model.promote import Decision, decide, taught_later
from millrace.model.registry import INTERVAL, Registry, RunInfo
from millrace.model.score import score_batch
from millrace.model.train import fit
from millrace.stages.choose import sample_version
from millrace.stages.context import Run, StageResult, digest, within
from millrace.stages.rows import base, commit_rows

COMPRESSION, EVALUATED = "millrace.compression", "millrace.evaluation"
EVALUATION = pa.schema(
    [
        pa.field("data_interval", pa.string()),
        pa.field("model_version", pa.int64()),
        pa.field("champion_version", pa.int64()),
        pa.field("evaluation", pa.string()),
        pa.field("champion_evaluation", pa.string()),
        pa.field("comparison", pa.string()),
        pa.field("decision", pa.string()),
        pa.field("scores", pa.string()),
    ]
)


def registry(run: Run) -> Registry:
    """The pipeline's model registry."""
    return Registry(run.profile.registry, run.profile.models)


def train(run: Run) -> StageResult:
    """Fit a candidate on the sample and store it; the same sample and settings give the same model version."""
    pipeline = run.pipeline
    if pipeline.label is None:
        raise GateClosed("nothing to predict", expected="a column with role label", found="none in the pipeline file")
    version = sample_version(run)
    info = run_info(run, version)
    store = registry(run)
    model_version = store.resume(info)
    if model_version is None:
        sample = run.table("sample").read(version, verify=True)
        run.say(f"train: {pipeline.train.model} on {sample.num_rows:,} rows")
        seed = seed_of(pipeline.name, "train", run.date)
        candidate = fit(sample, pipeline, seed, lambda done, total: run.say(f"train: step {done} of {total}"))
        trials = json.dumps([vars(trial) for trial in candidate.trials], default=str).encode()
        model_version = store.log_candidate(
            info, candidate.model(pipeline, run.date), {}, files={"trials.json": trials} if candidate.trials else None
        )
    found = store.version(pipeline.name, model_version)
    rows = int(found.metrics.get("rows", 0))
    words = (
        f"model version {model_version}: {pipeline.train.model} on {rows:,} rows" if rows else f"model {model_version}"
    )
    return StageResult(
        stage="train", version=model_version, details={"words": words, "metrics": _rounded(found.metrics)}
    )


def run_info(run: Run, sample: int) -> RunInfo:
    """What names the candidate of this run: its interval, its sample, and the settings that shape it."""
    pipeline = run.pipeline
    aim = pipeline.promote.metric if pipeline.train.tune else None
    settings = digest(pipeline.train, pipeline.columns, aim)
    return RunInfo(pipeline=pipeline.name, interval=run.date, versions={"sample": sample}, settings=settings)


def holdout_rows(run: Run, plan: Holdout, version: int) -> pa.Table:
    """At most `evaluate.rows` labelled rows of the holdout, chosen by hash rank: the same for every model."""
    pipeline, table = run.pipeline, run.table("sharded")
    label = str(pipeline.label)
    limit = pipeline.evaluate.rows
    seed = seed_of(pipeline.name, "evaluate")
    rows: pa.Table | None = None
    for batch in table.batches(version, intervals=plan.holdout):
        if plan.by_row:
            batch = batch.filter(plan.mask(batch))
        batch = batch.filter(pc.is_valid(batch.column(label)))
        new = pa.Table.from_batches([batch])
        rows = new if rows is None else pa.concat_tables([rows, new])
        if rows.num_rows > 2 * limit:  # however large the holdout is, no more than this is ever held
            rows = _lowest(rows, limit, seed)
    if rows is None or not rows.num_rows:
        raise GateClosed(
            "the holdout has no labelled rows", expected=f"rows in {', '.join(plan.holdout)}", found="none"
        )
    return _lowest(rows, limit, seed)


def _lowest(rows: pa.Table, limit: int, seed: int) -> pa.Table:
    """The `limit` rows of lowest rank, in the order they had."""
    if rows.num_rows <= limit:
        return rows
    return rows.take(pa.array(np.sort(np.argsort(draw(rows, seed), kind="stable")[:limit])))


def evaluate_stage(run: Run) -> StageResult:
    """Judge the candidate and the champion on the same holdout, and decide; the verdict is one row of `evaluation`."""
    pipeline, store = run.pipeline, registry(run)
    sample = sample_version(run)
    candidate = run.upstream.get("train") or store.find(run_info(run, sample))
    if candidate is None:
        hint = f"millrace run {pipeline.name} --date {run.date} --from train"
        raise GateClosed(f"no candidate of {run.date} to evaluate", hint=hint)
    champion = store.champion(pipeline.name)
    sharded = run.version("sharded")
    assert sharded is not None
    plan = Holdout.model_validate(run.table("sample").details(sample)["holdout"])
    table = run.table("evaluation")
    before = base(table)
    rows_token = within(run.tokens("sharded"), plan.holdout)
    token = digest(candidate, champion, rows_token, plan, pipeline.evaluate, pipeline.promote)
    was_champion = candidate == champion or candidate in store.history(pipeline.name)
    done = _judged_already(run, candidate) if was_champion else None
    if done is None and run.tokens("evaluation").get(run.date) == token:
        done = before
    if done is None:
        rows = holdout_rows(run, plan, sharded)
        run.say(f"evaluate: model {candidate} against champion {champion or 'none'} on {rows.num_rows:,} rows")
        row = _judge(run, store.load(pipeline.name, candidate), champion, rows)
        transaction = run.transaction("evaluation", token, before)
        done = commit_rows(run, "evaluation", pa.Table.from_pylist([row], schema=EVALUATION), transaction, token)
    verdict = read_verdict(run, done)
    return StageResult(
        stage="evaluate",
        table=table.uri,
        version=done,
        details={
            "words": verdict.decision.reason,
            "candidate": verdict.model_version,
            "champion": verdict.champion_version,
            "metrics": _rounded({name: each.value for name, each in verdict.evaluation.metrics.items()}),
            "champion_metrics": None
            if verdict.champion_evaluation is None
            else _rounded({name: each.value for name, each in verdict.champion_evaluation.metrics.items()}),
            "awaits_approval": verdict.decision.awaits_approval and candidate != champion,
            "rows": verdict.evaluation.rows,
            "positives": verdict.evaluation.positives,
        },
    )


def _judged_already(run: Run, candidate: int) -> int | None:
    """The version with the verdict that made this candidate champion: a rerun must not judge it against itself."""
    table = run.table("evaluation")
    if not table.exists():
        return None
    rows = table.read(columns=["model_version"], intervals=[run.date]).to_pylist()
    return table.version() if any(row["model_version"] == candidate for row in rows) else None


def _judge(run: Run, candidate: LoadedModel, champion: int | None, rows: pa.Table) -> dict[str, Any]:
    pipeline = run.pipeline
    seed = seed_of(pipeline.name, "bootstrap", run.date)
    settings = Settings(seed=seed % 2**32, metric=pipeline.promote.metric)
    y, known = labels(rows, candidate.plan)
    rows, y = rows.filter(pa.array(known)), y[known]
    slices = {name: rows.column(name).cast(pa.string()) for name in pipeline.evaluate.slices}
    scores = score_batch(rows, candidate)
    mine = evaluate(y, scores, slices=slices, settings=settings)
    theirs: Evaluation | None = None
    comparison: Comparison | None = None
    if champion is not None and champion != candidate.info.model_version:
        theirs_scores = score_batch(rows, registry(run).load(pipeline.name, champion))
        theirs = evaluate(y, theirs_scores, settings=settings)
        comparison = compare(theirs_scores, scores, y, pipeline.promote, seed=seed % 2**32)
    decision = decide(mine, pipeline.promote, comparison)
    return {
        "data_interval": run.date,
        "model_version": candidate.info.model_version,
        "champion_version": champion,
        "evaluation": mine.model_dump_json(),
        "champion_evaluation": theirs.model_dump_json() if theirs else None,
        "comparison": comparison.model_dump_json() if comparison else None,
        "decision": decision.model_dump_json(),
        "scores": json.dumps(np.histogram(scores, bins=50, range=(0, 1))[0].tolist()),
    }


class Verdict:
    """One row of the evaluation table, as objects."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.date: str = row["data_interval"]
        self.model_version: int = row["model_version"]
        self.champion_version: int | None = row["champion_version"]
        self.evaluation = Evaluation.model_validate_json(row["evaluation"])
        theirs = row["champion_evaluation"]
        self.champion_evaluation = Evaluation.model_validate_json(theirs) if theirs else None
        self.comparison = Comparison.model_validate_json(row["comparison"]) if row["comparison"] else None
        self.decision = Decision.model_validate_json(row["decision"])
        self.scores: list[int] = json.loads(row["scores"])


def read_verdict(run: Run, version: int | None) -> Verdict:
    """The verdict on this run's candidate. Raises GateClosed where this interval wasn't evaluated."""
    rows = run.table("evaluation").read(version, intervals=[run.date]).to_pylist()
    if not rows:
        raise GateClosed(f"{run.date} has no evaluation", hint=f"millrace run {run.pipeline.name} --from evaluate")
    return Verdict(rows[-1])


def promote(run: Run) -> StageResult:
    """Make the candidate champion where the evaluation says so, and a person has agreed where one is asked."""
    pipeline, store = run.pipeline, registry(run)
    store.settle(pipeline.name)
    verdict = read_verdict(run, run.version("evaluation"))
    decision = verdict.decision
    agreed = decision.promote or (decision.awaits_approval and run.options.approved)
    champion = store.champion(pipeline.name)
    promoted = False
    words = decision.reason
    if champion == verdict.model_version:
        promoted, words = verdict.champion_version != champion, f"model {champion} is the champion"
    elif agreed and not run.options.approved and (refused := _only_by_a_person(store, pipeline.name, verdict)):
        words = refused
    elif agreed and champion == verdict.champion_version:
        metrics = _rounded({name: each.value for name, each in verdict.evaluation.metrics.items()})
        tags = {"millrace.reason": decision.reason, EVALUATED: json.dumps(metrics)}
        store.tag(pipeline.name, verdict.model_version, tags)  # first: a champion always has them
        store.promote(pipeline.name, verdict.model_version)
        champion, promoted = verdict.model_version, True
    elif agreed:
        words = f"champion {champion} isn't the one that was compared with ({verdict.champion_version}): evaluate again"
    elif decision.awaits_approval:
        words = f"{words}: millrace run {pipeline.name} --date {run.date} --from promote --until compress --approve"
    run.say(f"promote: {'promoted' if promoted else 'not promoted'}: {words}")
    return StageResult(
        stage="promote",
        version=champion,
        details={
            "words": f"{'promoted' if promoted else 'not promoted'}: {words}",
            "promoted": promoted,
            "champion": champion,
            "former": verdict.champion_version,
        },
    )


def _only_by_a_person(store: Registry, name: str, verdict: Verdict) -> str | None:
    """Why a candidate that won needs a person to become champion: it was rolled back, or is older than the champion."""
    if store.rolled_back(name, verdict.model_version):
        return f"model {verdict.model_version} was rolled back: only --approve makes it champion again"
    champion = store.champion(name)
    until = None if champion is None else store.version(name, champion).tags[INTERVAL]
    return taught_later(until, verdict.date)


def compress_stage(run: Run) -> StageResult:
    """Make a smaller or faster scorer of the champion; refused where it loses more than the tolerance."""
    pipeline, store = run.pipeline, registry(run)
    champion = store.champion(pipeline.name)
    if champion is None:
        return StageResult(stage="compress", details={"words": "no champion yet"})
    done = store.version(pipeline.name, champion).tags.get(COMPRESSION)
    if done is None:
        sharded = run.version("sharded")
        assert sharded is not None, "a champion was trained from it"
        plan = Holdout.model_validate(run.table("sample").details(sample_version(run))["holdout"])
        result = compress(
            store.load(pipeline.name, champion), holdout_rows(run, plan, sharded), pipeline.promote.metric
        )
        if result.report.accepted:
            store.store_scorer(
                pipeline.name, champion, result.model, {"report.json": result.report.model_dump_json().encode()}
            )
        done = result.report.model_dump_json()
        store.tag(pipeline.name, champion, {COMPRESSION: done})
    report = CompressionReport.model_validate_json(done)
    return StageResult(
        stage="compress",
        version=champion,
        details={"words": report.reason, "report": report.model_dump(mode="json")},
    )


def rollback_champion(run: Run) -> dict[str, Any]:
    """Make the former champion champion again."""
    left, champion = registry(run).rollback(run.pipeline.name)
    return {"pipeline": run.pipeline.name, "from": left, "champion": champion}


def champion_summary(run: Run) -> dict[str, Any] | None:
    """The champion's version, metrics and folder; None before the first promotion."""
    facts = champion_facts(run.profile.registry, run.profile.models, run.pipeline.name)
    if facts is None:
        return None
    found, former = facts
    return {
        "version": found.version,
        "interval": found.tags.get(INTERVAL),
        "metrics": _rounded(found.metrics),
        "evaluation": json.loads(found.tags.get(EVALUATED, "{}")),
        "folder": found.folder,
        "former": former[-1:],
    }


def _rounded(metrics: Any) -> dict[str, Any]:
    return {name: None if value is None else round(float(value), 6) for name, value in sorted(metrics.items())}
