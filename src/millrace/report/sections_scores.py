"""The section about bulk scoring: how many rows of the run's interval have a score, by which model, and what scores."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.report import charts
from millrace.report.blocks import Chart, Section, table
from millrace.report.facts import Night, ReportFacts
from millrace.report.words import count, listed, percent, several


def scores_section(facts: ReportFacts) -> Section:
    """The scores of the run's interval, beside what became of them in the rest of the window."""
    title, found = "The scores", facts.scoring
    if facts.label is None:
        return Section("scoring", title, ["There is nothing to score: no column has the role label."])
    own = next((night for night in facts.nights if night.interval == facts.date), None)
    if found is None:
        empty = own is None or not (own.sharded or own.clean)
        reason = "it has no rows" if empty else "scoring follows the training run, and then makes this report again"
        return Section("scoring", title, [f"{facts.date} has no scores: {reason}."])
    models = listed([str(each) for each in found.models])
    if found.other is not None:
        words = [
            f"{several(found.rows, 'row')} of {found.other} have a score, by model version {models}. The rows of this "
            f"window aren't scored. The scores are in {found.where}."
        ]
        return Section("scoring", title, words)
    words = [
        f"{several(found.rows, 'row')} of {facts.date} have a score, by model version {models}. The mean score is "
        f"{percent(found.mean, 2)}{_label_words(facts, own)}.",
        f"{_window_words(facts.nights)} The scores are in {found.where}.",
    ]
    chart = probabilities("night-scores", f"Scores of {facts.date}", found.bins, "row")
    return Section("scoring", title, words, [chart])


def _label_words(facts: ReportFacts, own: Night | None) -> str:
    if own is None or own.label_rate is None:
        return ""
    return f"; the mean of {facts.label}, as far as it is known, is {percent(own.label_rate, 2)}"


def _window_words(nights: Sequence[Night]) -> str:
    scored = sum(night.scored or 0 for night in nights)
    lacking = [night.interval for night in nights if (night.sharded or 0) > 0 and not night.scored]
    rest = f"; {several(len(lacking), 'interval')} with rows and without scores: {listed(lacking)}" if lacking else ""
    return f"The window has {count(scored)} scored rows{rest}."


def probabilities(id: str, title: str, bins: Sequence[int], what: str) -> Chart:
    """A histogram of probabilities from rows in equal bins of [0, 1]."""
    total, size = sum(bins), len(bins)
    high = sum(bins[size // 2 :])
    body = [[f"{place / size:.2f} to {(place + 1) / size:.2f}", count(rows)] for place, rows in enumerate(bins) if rows]
    return Chart(
        id,
        title,
        charts.histogram(bins, 0.0, 1.0, "predicted probability"),
        f"{several(high, what)} ({percent(high / total if total else 0.0, 2)}) got a half or more.",
        table(["probability", ">rows"], body),
    )
