"""What a report shows of the model: its evaluation beside the champion's, earlier evaluations, what it is made of."""

from __future__ import annotations

from typing import Any

from millrace.model.compress import CompressionReport
from millrace.model.evaluate import Evaluation
from millrace.model.model_file import read_info
from millrace.model.registry import Registry
from millrace.report.facts import (
    CalibrationBin,
    Compression,
    Difference,
    EvaluationFacts,
    FeatureFacts,
    Figure,
    Judged,
    ModelFacts,
    Past,
    SliceFacts,
)
from millrace.stages.context import Run
from millrace.stages.learn import COMPRESSION, Verdict, read_verdict, registry
from millrace.stages.report_tables import has_rows

PAST = 60  # evaluations that the history shows


def evaluation_facts(run: Run) -> EvaluationFacts | None:
    """The verdict on this run's candidate; None where this interval wasn't evaluated."""
    if not _evaluated(run):
        return None
    verdict = read_verdict(run, run.version("evaluation"))
    mine, comparison, decision = verdict.evaluation, verdict.comparison, verdict.decision
    difference = None
    if comparison is not None:
        difference = Difference(
            comparison.difference,
            comparison.low,
            comparison.high,
            comparison.margin,
            comparison.confidence,
            comparison.probability,
        )
    theirs = verdict.champion_evaluation
    return EvaluationFacts(
        metric=run.pipeline.promote.metric,
        candidate=_judged(verdict.model_version, mine),
        champion=_judged(verdict.champion_version, theirs) if theirs else None,
        baseline={name: value for name, value in mine.baseline.items()},  # noqa: C416
        rows=mine.rows,
        positives=mine.positives,
        threshold=mine.threshold,
        confidence=mine.confidence,
        reason=decision.reason,
        promote=decision.promote,
        awaits_approval=decision.awaits_approval,
        difference=difference,
        slices=[
            SliceFacts(each.column, each.value, each.rows, each.positives, _figure(each.estimate))
            for each in mine.slices
        ],
        scores=verdict.scores,
    )


def _evaluated(run: Run) -> bool:
    return "evaluate" in run.upstream  # pinned, or told by the stage itself


def _judged(version: int | None, found: Evaluation) -> Judged:
    return Judged(
        version=version,
        metrics={name: _figure(each) for name, each in found.metrics.items()},
        roc=found.roc,
        precision_recall=found.precision_recall,
        calibration=[CalibrationBin(each.predicted, each.observed, each.rows) for each in found.calibration],
    )


def _figure(estimate: Any) -> Figure:
    return Figure(estimate.value, estimate.low, estimate.high)


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
        Past(each.date, each.model_version, _figure(each.evaluation.metrics[metric]), each.decision.promote)
        for each in found
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
    compression = None
    if told:
        done = CompressionReport.model_validate_json(told)
        compression = Compression(
            method=done.method,
            accepted=done.accepted,
            reason=done.reason,
            size_before=done.size_before,
            size_after=done.size_after,
            seconds_before=done.seconds_before,
            seconds_after=done.seconds_after,
        )
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
        compression=compression,
    )


KINDS = {
    "numeric": "number",
    "time": "part of a time",
    "low": "one-hot category",
    "high": "target-encoded category",
}
