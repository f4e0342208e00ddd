"""The page: facts in, one HTML text out that opens without network.

Everything that comes from data is escaped by the template, or stands in JSON whose ``<``, ``>`` and ``&`` are escaped.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from millrace.report.blocks import Card, Chart, Section
from millrace.report.facts import ReportFacts
from millrace.report.sections_data import drift_section, drift_words, sample_section
from millrace.report.sections_model import (
    decision_words,
    makeup_section,
    model_section,
    tables_section,
    with_interval,
)
from millrace.report.sections_rows import checks_section, rows_section
from millrace.report.sections_scores import scores_section
from millrace.report.words import count, metric, percent, several


def render(facts: ReportFacts, script: str) -> str:
    """The report as one HTML text. `script` is the text of `vega.bundle`; it goes into the page as it is."""
    sections = sections_of(facts)
    charts = {block.id: block.spec for section in sections for block in section.blocks if isinstance(block, Chart)}
    text: str = _template().render(
        facts=facts, cards=cards_of(facts), sections=sections, charts=charts, script=script, is_chart=_is_chart
    )
    return text


def sections_of(facts: ReportFacts) -> list[Section]:
    """The sections in the order of the page."""
    return [
        rows_section(facts),
        checks_section(facts),
        drift_section(facts),
        sample_section(facts),
        model_section(facts),
        scores_section(facts),
        makeup_section(facts),
        tables_section(facts),
    ]


def cards_of(facts: ReportFacts) -> list[Card]:
    """The run at a glance."""
    read = sum(night.read or 0 for night in facts.nights)
    used = sum((night.sharded if night.sharded is not None else night.clean) or 0 for night in facts.nights)
    own = next((night for night in facts.nights if night.interval == facts.date), None)
    cards = [
        Card(
            "rows in use",
            count(used),
            f"of {count(read)} read; {facts.date}: {count(own.read if own else 0)}",
            "" if used >= 0.95 * read and own is not None and own.read else "odd",
        )
    ]
    if facts.verdict is not None:
        unmet, severe = facts.verdict.unmet(), facts.verdict.unmet("fail")
        total = len(facts.verdict.outcomes)
        words = "all met" if not unmet else f"{several(len(unmet), 'expectation')} not met"
        cards.append(
            Card(
                "checks met", f"{total - len(unmet)} of {total}", words, "bad" if severe else "odd" if unmet else "good"
            )
        )
    if facts.drift is not None and facts.drift.columns:
        drifted = sum(column.drifted for column in facts.drift.columns)
        cards.append(
            Card("columns drifted", str(drifted), drift_words(facts.drift.columns), "odd" if drifted else "good")
        )
    if facts.sample is not None:
        plan = facts.sample.plan
        share = percent(facts.sample.rows / plan.population) if plan.population else "–"
        by = f" by {plan.by}" if plan.by else ""
        cards.append(Card("sample", count(facts.sample.rows), f"{share} of the rows, {plan.method}{by}"))
    if facts.evaluation is not None:
        found = facts.evaluation
        own_figure = found.candidate.metrics.get(found.metric)
        value, _, interval = with_interval(own_figure).partition(" ")
        cards.append(Card(metric(found.metric), value, f"{interval} on {count(found.candidate.rows)} holdout rows"))
        decision = found.decision
        mood = "good" if decision.promote else "odd" if decision.awaits_approval else ""
        word = "promoted" if decision.promote else "awaits approval" if decision.awaits_approval else "not promoted"
        cards.append(Card("candidate", word, decision_words(found), mood))  # type: ignore[arg-type]
    if facts.scoring is not None:
        models = ", ".join(map(str, facts.scoring.models))
        whose = facts.scoring.other or facts.date
        cards.append(Card("rows scored", count(facts.scoring.rows), f"of {whose}, by model version {models}"))
    return cards


def _is_chart(block: object) -> bool:
    return isinstance(block, Chart)


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("millrace.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
