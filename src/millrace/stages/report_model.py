"""What a report shows of the model: its evaluation beside the champion's, earlier evaluations, what it is made of."""

from __future__ import annotations

from millrace.model.compress import CompressionReport
from millrace.model.model_file import read_info
from millrace.model.registry import Registry
from millrace.report.facts import EvaluationFacts, FeatureFacts, ModelFacts, Past
from millrace.stages.context import Run
from millrace.stages.learn import COMPRESSION, Verdict, read_verdict, registry
from millrace.stages.report_tables import has_rows

PAST = 60  # evaluations that the history shows


def evaluation_facts(run: Run) -> EvaluationFacts | None:
    """The verdict on this run's candidate; None where this interval wasn't evaluated."""
    if not _evaluated(run):
        return None
    verdict = read_verdict(run, run.version("evaluation"))
    return EvaluationFacts(
        metric=run.pipeline.promote.metric,
        version=verdict.model_version,
        candidate=verdict.evaluation,
        decision=verdict.decision,
        champion_version=verdict.champion_version,
        champion=verdict.champion_evaluation,
        comparison=verdict.comparison,
        scores=verdict.scores,
    )


def _evaluated(run: Run) -> bool:
    return "evaluate" in run.upstream  # pinned, or told by the stage itself


def history(run: Run) -> list[Past]:
    """The evaluations up to this run's, oldest first, by the metric that decides."""
    if not has_rows(run, "evaluation"):
        return []
    table = run.table("evaluation")
    names = [name for name in table.intervals() if name < run.date][-PAST:]
    found = [Verdict(row) for row in table.read(intervals=names).to_pylist()]
    found += [read_verdict(run, run.version("evaluation"))] if _evaluated(run) else []
    metric = run.pipeline.promote.metric
    past = [
        Past(each.date, each.model_version, each.evaluation.metrics[metric], each.decision.promote) for each in found
    ]
    return sorted(past, key=lambda each: each.interval)


def model_facts(run: Run) -> list[ModelFacts]:
    """This run's candidate and the champion (once, where they are the same)."""
    if run.pipeline.label is None or not has_rows(run, "evaluation"):
        return []
    store, name = registry(run), run.pipeline.name
    champion = store.champion(name)
    candidate = read_verdict(run, run.version("evaluation")).model_version if _evaluated(run) else None
    numbers = dict.fromkeys(each for each in (candidate, champion) if each is not None)
    return [_model(store, name, number) for number in numbers]


def _model(store: Registry, name: str, number: int) -> ModelFacts:
    found = store.version(name, number)
    info = read_info(found.folder)
    told = found.tags.get(COMPRESSION)
    rows = found.metrics.get("rows")
    return ModelFacts(
        version=number,
        family=info.family,
        interval=info.interval,
        aliases=found.aliases,
        rows=None if rows is None else int(rows),
        params={key: str(value) for key, value in sorted(info.params.items())},
        features=[
            FeatureFacts(
                name=each.name,
                column=each.column,
                kind=KINDS[each.kind] + (f": {each.part}" if each.part else ""),
                values=len(each.vocabulary) if each.vocabulary else None,
            )
            for each in info.plan.features
        ],
        notes=list(dict.fromkeys([*info.plan.notes, *info.notes])),
        compression=CompressionReport.model_validate_json(told) if told else None,
    )


KINDS = {
    "numeric": "number",
    "time": "part of a time",
    "low": "one-hot category",
    "high": "target-encoded category",
}
