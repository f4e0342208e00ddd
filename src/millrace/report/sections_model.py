"""The sections about the model: decision, curves, calibration, slices, earlier nights, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.model.evaluate import Estimate, Evaluation, Slice
from millrace.report import charts
from millrace.report.blocks import Chart, Section, Table, table
from millrace.report.facts import EvaluationFacts, ModelFacts, ReportFacts
from millrace.report.sections_scores import probabilities
from millrace.report.words import LOWER_IS_BETTER, count, figure, listed, metric, percent, seconds, several, size

CANDIDATE, CHAMPION = "candidate", "champion"
COLOURS = {CANDIDATE: charts.BLUE, CHAMPION: charts.GREY}
LOG_CALIBRATION = 0.2  # where most bins predict less than this share of the largest, axes are logarithmic


def model_section(facts: ReportFacts) -> Section:
    """The candidate beside the champion on the same holdout."""
    title, found = "The model on the holdout", facts.evaluation
    if found is None:
        reason = "no column has the role label" if facts.label is None else f"{facts.date} has no evaluation yet"
        return Section("model", title, [f"There is nothing to judge: {reason}."])
    judged = found.candidate
    reason = found.decision.reason.replace(found.metric, metric(found.metric))
    words = [
        decision_words(found),
        f"{reason[:1].upper()}{reason[1:]}.",
        f"The holdout has {count(judged.rows)} rows, {count(judged.positives)} of them positive "
        f"({percent(judged.positives / judged.rows if judged.rows else 0.0, 2)}); intervals hold with confidence "
        f"{judged.confidence:g}.",
    ]
    if found.champion is None:
        words.append("There was no other champion to compare with.")
    models = {CANDIDATE: found.candidate} | ({CHAMPION: found.champion} if found.champion else {})
    blocks: list[Chart | Table] = [_metrics(found)]
    blocks.append(_roc(found, models))
    blocks.append(_precision_recall(found, models))
    blocks.append(_calibration(models))
    if found.scores:
        blocks.append(probabilities("scores", "Probabilities given", found.scores, "holdout row"))
    blocks += _slices(found)
    blocks += _history(facts)
    return Section("model", title, words, blocks)


def decision_words(found: EvaluationFacts) -> str:
    """The decision in one sentence."""
    version = f"Model version {found.version}"
    if found.decision.promote:
        return f"{version} was better and becomes champion."
    if found.decision.awaits_approval:
        return f"{version} was better and awaits a person's approval."
    kept = f": champion {found.champion_version} stays" if found.champion and found.champion_version else ""
    return f"{version} wasn't clearly better{kept}."


def with_interval(each: Estimate | None) -> str:
    """A metric with its interval in one text.

    >>> with_interval(Estimate(value=0.89736, low=0.88043, high=0.91550))
    '0.8974 [0.8804, 0.9155]'
    """
    if each is None or each.value is None:
        return "–"
    return figure(each.value) + (f" [{figure(each.low)}, {figure(each.high)}]" if each.low is not None else "")


def _metrics(found: EvaluationFacts) -> Table:
    heads = ["metric", ">candidate", ">champion", ">same probability for all", "better is"]
    body = [
        [
            metric(name) + (" (decides)" if name == found.metric else ""),
            with_interval(each),
            with_interval(found.champion.metrics.get(name)) if found.champion else "–",
            figure(found.candidate.baseline.get(name)),
            "lower" if name in LOWER_IS_BETTER else "higher",
        ]
        for name, each in found.candidate.metrics.items()
    ]
    if found.comparison is not None:
        each = found.comparison
        words = f"{each.difference:+.4f} [{each.low:+.4f}, {each.high:+.4f}]"
        body.append([f"{metric(found.metric)}: gain over the champion", words, "", "", f"above {each.margin:g}"])
    return table(heads, body, f"Metrics; F1 and accuracy at the threshold {found.candidate.threshold:.3g}")


def _points(lines: Mapping[str, Sequence[tuple[float, float]]], heads: tuple[str, str]) -> Table:
    """About twenty points of each line."""
    body = []
    for side, points in lines.items():
        step = max(1, len(points) // 20)
        body += [[side, f"{x:.3f}", f"{y:.3f}"] for x, y in [*points[::step], *points[-1:]]]
    return table(["model", f">{heads[0]}", f">{heads[1]}"], body)


def _roc(found: EvaluationFacts, models: dict[str, Evaluation]) -> Chart:
    lines = {side: model.roc for side, model in models.items()}
    axes = ("false positive rate", "true positive rate")
    area = with_interval(found.candidate.metrics.get("roc_auc"))
    reached = max((y for x, y in found.candidate.roc if x <= 0.05), default=0.0)
    return Chart(
        "roc",
        "ROC curve",
        charts.curves(lines, COLOURS, axes, "diagonal"),
        f"Area {area}. At a false positive rate of 5%, {percent(reached)} of the positives are found.",
        _points(lines, axes),
    )


def _precision_recall(found: EvaluationFacts, models: dict[str, Evaluation]) -> Chart:
    lines = {side: model.precision_recall for side, model in models.items()}
    prior = found.candidate.positives / found.candidate.rows if found.candidate.rows else 0.0
    average = with_interval(found.candidate.metrics.get("average_precision"))
    precise = max((x for x, y in found.candidate.precision_recall if y >= 0.5), default=0.0)
    half = f" Up to a recall of {percent(precise)} at least half of those named are positive." if precise > 0 else ""
    return Chart(
        "precision-recall",
        "Precision and recall",
        charts.curves(lines, COLOURS, ("recall", "precision"), prior),
        f"Average precision {average}; guessing gives {percent(prior, 2)} (dashed).{half}",
        _points(lines, ("recall", "precision")),
    )


def _calibration(models: dict[str, Evaluation]) -> Chart:
    rows = [
        {"predicted": each.predicted, "observed": each.observed, "rows": each.rows, "side": side}
        for side, model in models.items()
        for each in model.calibration
    ]
    own = models[CANDIDATE].calibration
    total = sum(each.rows for each in own) or 1
    error = sum(each.rows * abs(each.predicted - each.observed) for each in own) / total
    predicted = sorted(each.predicted for each in own)
    low = predicted[len(predicted) // 2] if predicted else 1.0
    log = bool(predicted) and 0 < low < LOG_CALIBRATION * predicted[-1]
    zero = [each for model in models.values() for each in model.calibration if min(each.predicted, each.observed) <= 0]
    left = len(zero) if log else 0
    words = f"On the dashed line, probabilities mean what they say; on average they are off by {percent(error, 2)}."
    if log:
        words += " Both axes are logarithmic."
    if left:
        words += f" {several(left, 'bin')} without any positive can't be shown there; the table has all."
    body = [
        [side, f"{each.predicted:.4g}", f"{each.observed:.4g}", count(each.rows)]
        for side, model in models.items()
        for each in model.calibration
    ]
    return Chart(
        "calibration",
        "Calibration",
        charts.calibration(rows, COLOURS, log),
        words,
        table(["model", ">predicted", ">observed", ">rows"], body),
    )


def _slices(found: EvaluationFacts) -> list[Chart | Table]:
    blocks: list[Chart | Table] = []
    overall = found.candidate.metrics[found.metric].value
    for place, column in enumerate(dict.fromkeys(each.column for each in found.candidate.slices)):
        mine = [each for each in found.candidate.slices if each.column == column]
        blocks.append(_slice_chart(f"slice-{place}", column, mine, (found.metric, overall)))
    return blocks


def _slice_chart(id: str, column: str, slices: Sequence[Slice], whole: tuple[str, float | None]) -> Chart:
    name, overall = whole
    rows = [
        {
            "name": _value(each),
            "value": each.estimate.value,
            "low": each.estimate.low,
            "high": each.estimate.high,
            "words": f"{_value(each)}: {with_interval(each.estimate)} over {count(each.rows)} rows",
        }
        for each in slices
        if each.estimate.value is not None
    ]
    body = [[_value(each), count(each.rows), count(each.positives), with_interval(each.estimate)] for each in slices]
    known = [each for each in slices if each.estimate.value is not None]
    words = f"No value of {column} has rows of both classes."
    if known:
        turned = -1 if name in LOWER_IS_BETTER else 1
        worst = min(known, key=lambda each: turned * (each.estimate.value or 0.0))
        words = f"Worst for {_value(worst)}: {with_interval(worst.estimate)}; the dashed line is all rows."
    spec = charts.intervals(rows, metric(name), overall)
    return Chart(id, f"By {column}", spec, words, table([column, ">rows", ">positives", f">{metric(name)}"], body))


def _value(each: Slice) -> str:
    return "missing" if each.value is None else each.value if len(each.value) <= 60 else each.value[:59] + "…"


def _history(facts: ReportFacts) -> list[Chart | Table]:
    known = [past for past in facts.history if past.figure.value is not None]
    if len(known) < 2 or facts.evaluation is None:
        return []
    name = metric(facts.evaluation.metric)
    rows = [
        {
            "interval": past.interval,
            "value": past.figure.value,
            "low": past.figure.low,
            "high": past.figure.high,
            "odd": past.promoted,
            "words": f"{past.interval}, model {past.version}: {with_interval(past.figure)}",
        }
        for past in known
    ]
    body = [
        [past.interval, str(past.version), with_interval(past.figure), "promoted" if past.promoted else "not promoted"]
        for past in known
    ]
    promoted = sum(past.promoted for past in known)
    return [
        Chart(
            "history",
            "The candidates of earlier runs",
            charts.line_in_time(rows, name, format=".3f"),
            f"{name} of {several(len(known), 'evaluation')}, each on its own holdout; {promoted} promoted (orange).",
            table(["interval", ">model", f">{name}", "decision"], body),
            wide=True,
        )
    ]


def makeup_section(facts: ReportFacts) -> Section:
    """What the candidate and the champion are made of."""
    title = "What the model is made of"
    if not facts.models:
        return Section("makeup", title, ["There is no model yet."])
    words, blocks = [], []
    for model in facts.models:
        roles = listed(list(model.aliases)) or "candidate"
        rows = f" on {count(model.rows)} rows" if model.rows else ""
        family = model.family.replace("_", " ")
        words.append(f"Version {model.version} ({roles}): {family}, trained for {model.interval}{rows}.")
        words += [f"{note}." for note in model.notes]
        if model.compression is not None:
            words.append(_compression_words(model))
    newest = facts.models[0]
    if newest.params:
        blocks.append(table(["parameter", "value"], [[k, v] for k, v in newest.params.items()], "Parameters"))
    if newest.features:
        body = [
            [each.name, each.column, each.kind, count(each.values) if each.values is not None else "–"]
            for each in newest.features
        ]
        heads = ["feature", "column", "made as", ">values known"]
        blocks.append(table(heads, body, f"{several(len(body), 'feature')}", shut=len(body) > 25))
    return Section("makeup", title, words, blocks)


def _compression_words(model: ModelFacts) -> str:
    found = model.compression
    assert found is not None
    if not found.accepted:
        return f"Compression: {found.reason}."
    ratio = found.seconds_before / found.seconds_after if found.seconds_after else 1.0
    return (
        f"Compressed ({found.reason}): {size(found.size_before)} became {size(found.size_after)}, and scoring "
        f"the rows takes {seconds(found.seconds_after)}, not {seconds(found.seconds_before)}: {ratio:.1f} times faster."
    )


def tables_section(facts: ReportFacts) -> Section:
    """The tables and versions behind this report."""
    body = [
        [each.name, str(each.version), count(each.rows), count(each.files), each.newest, each.where]
        for each in facts.tables
    ]
    words = ["Each version can be read again as it was, until vacuum's retention ends."]
    blocks = [table(["table", ">version", ">rows", ">files", "newest interval", "where"], body)]
    return Section(
        "tables", "Tables and versions", words if body else ["There is no table yet."], blocks if body else []
    )
