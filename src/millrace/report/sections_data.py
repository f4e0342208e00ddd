"""The sections about distributions: each column's before and now, with its drift; the sample beside the population."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from millrace.data.drift import ColumnDrift
from millrace.report import charts
from millrace.report.blocks import Chart, Section, Table, table
from millrace.report.distributions import MISSING, Distribution
from millrace.report.facts import Night, ReportFacts, SampleFacts
from millrace.report.words import count, listed, number, percent, several

MOST_CHARTS = 16  # columns with pictures; the figures of all stand in the tables
HALVES = {"before": charts.GREY, "recent": charts.ORANGE}
SIDES = {"population": charts.GREY, "drawn": charts.YELLOW, "weighted": charts.BLUE}


def drift_section(facts: ReportFacts) -> Section:
    """Each column's distribution in the recent half of the window beside the half before, and what drifted."""
    title = "Distributions and drift"
    blocks: list[Chart | Table] = []
    verdict = facts.drift
    if verdict is None:
        words = ["There is no drift verdict for this interval yet."]
    elif not verdict.columns:
        words = [f"Drift wasn't judged: {verdict.reason}."]
    else:
        words = [
            drift_words(verdict.columns),
            f"Compared are {count(verdict.recent_rows)} rows of the newest "
            f"{several(verdict.recent_intervals, 'interval')} with {count(verdict.reference_rows)} rows of the "
            f"{several(verdict.reference_intervals, 'interval')} before them.",
        ]
        blocks.append(_drift_chart(verdict.columns))
    rates = [night for night in facts.nights if night.label_rate is not None]
    if len(rates) > 1:
        blocks.append(_label_rates(facts, rates))
    judged = {column.column: column for column in verdict.columns} if verdict else {}
    ranked = sorted(
        facts.distributions, key=lambda each: list(judged).index(each.column) if each.column in judged else 999
    )
    bare = [each.column for each in ranked if not each.pictured]
    if bare:
        words.append(f"No value is frequent enough for a picture of {listed(bare)}.")
    ranked = [each for each in ranked if each.pictured]
    for each in ranked[:MOST_CHARTS]:
        blocks.append(_distribution(each, HALVES, "column", _column_words(each, judged.get(each.column))))
    if len(ranked) > MOST_CHARTS:
        words.append(f"Pictures show the {MOST_CHARTS} columns that moved most of {len(ranked)}.")
    if facts.columns:
        blocks.append(_columns(facts))
    return Section("drift", title, words, blocks)


def drift_words(columns: Sequence[ColumnDrift]) -> str:
    """The verdict in one sentence."""
    drifted = [column for column in columns if column.drifted]
    largest = max(columns, key=lambda column: column.psi)
    if not drifted:
        none = f"None of {several(len(columns), 'column')} drifted"
        return f"{none}; the largest PSI is {largest.psi:.2g} ({largest.column})."
    top = max(drifted, key=lambda column: column.effect)
    many = f"{len(drifted)} of {several(len(columns), 'column')} drifted"
    return f"{many}; the largest is {top.column}: PSI {top.effect:.2f}."


def _drift_chart(columns: Sequence[ColumnDrift]) -> Chart:
    rows = [{"name": each.column, "value": each.effect, "odd": each.drifted} for each in columns[:30]]
    least = columns[0].least_effect
    heads = ["column", "verdict", ">effect", ">PSI", ">Jensen–Shannon", ">L∞", ">KS", ">p-value", "why"]
    body = [
        [
            each.column + (" (label)" if each.role == "label" else ""),
            "drifted" if each.drifted else "alike",
            number(each.effect),
            number(each.psi),
            number(each.jensen_shannon),
            number(each.l_infinity),
            number(each.ks),
            f"{each.adjusted_p_value:.2g}",
            each.reason,
        ]
        for each in columns
    ]
    return Chart(
        "drift-effects",
        "How far each column moved",
        charts.lying_bars(rows, "PSI, less what chance adds", limit=least, format=".3g"),
        f"A column drifted (red) where it passes the dashed line at {least:g} and chance hardly explains it.",
        table(heads, body),
        wide=True,
    )


def _label_rates(facts: ReportFacts, nights: Sequence[Night]) -> Chart:
    rows = [
        {
            "interval": night.interval,
            "value": night.label_rate,
            "odd": night.role == "judges",
            "words": f"{night.interval}: {percent(night.label_rate, 2)}",
        }
        for night in nights
    ]
    low, high = (pick(nights, key=lambda night: night.label_rate or 0.0) for pick in (min, max))
    return Chart(
        "label-rate",
        f"{facts.label} over the window",
        charts.line_in_time(rows, f"mean of {facts.label}"),
        f"Its mean lies between {percent(low.label_rate, 2)} ({low.interval}) and {percent(high.label_rate, 2)} "
        f"({high.interval}); orange intervals judge the model.",
        table(["interval", ">mean"], [[night.interval, percent(night.label_rate, 3)] for night in nights]),
        wide=True,
    )


def _column_words(found: Distribution, judged: ColumnDrift | None) -> str:
    if judged is None:
        return "Not judged."
    return f"{'Drifted' if judged.drifted else 'Alike'}: {judged.reason}."


def _distribution(found: Distribution, colours: Mapping[str, str], prefix: str, words: str) -> Chart:
    used = {side: colours[side] for side in found.sides}
    names = [*(bar.label for bar in found.bars), MISSING]
    shares = [*(bar.shares for bar in found.bars), found.missing]
    body = [
        [name, *(percent(each.get(side, 0.0), 2) for side in found.sides)]
        for name, each in zip(names, shares, strict=True)
        if name != MISSING or any(found.missing.values())
    ]
    missing = [f"{percent(share)} {side}" for side, share in found.missing.items() if share > 0]
    if found.numbers and missing:
        words += f" Missing: {listed(missing)}."
    if not found.numbers and len(found.bars) and min(found.bars[-1].shares.values()) > 0.5 and len(found.bars) > 1:
        words += (
            f" The bars are the most frequent values; all others are {percent(found.bars[-1].shares[found.sides[-1]])}."
        )
    return Chart(
        f"{prefix}-{abs(hash_text(found.column))}",
        found.column,
        charts.distribution(found, used),
        words,
        table(["value", *(f">{side}" for side in found.sides)], body),
    )


def hash_text(text: str) -> int:
    """A number for a name, the same in every process: an id for the page without the name's own characters."""
    return zlib.crc32(text.encode())


def _columns(facts: ReportFacts) -> Table:
    heads = [
        "column",
        "type",
        "role",
        ">missing before",
        ">missing after",
        ">distinct",
        ">least",
        ">median",
        ">greatest",
    ]
    body = [
        [
            each.column,
            each.kind,
            each.role,
            percent(each.raw_missing),
            percent(each.clean_missing),
            count(each.distinct),
            each.least or "–",
            each.middle or "–",
            each.greatest or "–",
        ]
        for each in facts.columns
    ]
    return table(heads, body, "All columns over the window, before and after cleaning", shut=len(body) > 20)


def sample_section(facts: ReportFacts) -> Section:
    """How the sample was drawn, and its distributions beside those of the rows it was drawn from."""
    title, sample = "The sample", facts.sample
    if sample is None:
        reason = "no column has the role label" if facts.label is None else "the stage sample hasn't run"
        return Section("sample", title, [f"There is no training sample: {reason}."])
    plan = sample.plan
    by = f" by {plan.by}" if plan.by else ""
    words = [
        f"Method {plan.method}{by}: {count(sample.rows)} of {count(plan.population)} rows of "
        f"{several(len(sample.training), 'interval')} teach; {sample.holdout} judge.",
        *(f"{reason[:1].upper()}{reason[1:]}." for reason in plan.why),
    ]
    blocks: list[Chart | Table] = []
    if sample.distributions and plan.method != "all":
        words.append(_distance_words(sample))
        blocks.append(_distances(sample))
        ranked = sorted(sample.distributions, key=lambda each: -each.distance("population", "drawn"))
        for each in [each for each in ranked if each.pictured][:MOST_CHARTS]:
            drawn, weighted = each.distance("population", "drawn"), each.distance("population", "weighted")
            words_ = f"Differs by {percent(drawn, 2)} as drawn, by {percent(weighted, 2)} with its weights."
            blocks.append(_distribution(each, SIDES, "sample", words_))
    if plan.method == "stratified":
        strata = [
            [listed([value if value is not None else "missing" for value in each.values], 6), count(each.rows),
             count(each.take), percent(each.take / each.rows) if each.rows else "–"]
            for each in plan.strata
        ]  # fmt: skip
        heads = [f"values of {plan.by}", ">rows", ">drawn", ">share drawn"]
        blocks.append(table(heads, strata, "Strata", shut=len(strata) > 12))
    return Section("sample", title, words, blocks)


def _distance_words(sample: SampleFacts) -> str:
    largest = max(sample.distributions, key=lambda each: each.distance("population", "weighted"))
    distance = largest.distance("population", "weighted")
    return (
        f"With its weights, the sample differs from the rows it was drawn from by at most {percent(distance, 2)} of "
        f"the rows of any column ({largest.column})."
    )


def _distances(sample: SampleFacts) -> Chart:
    ranked = sorted(sample.distributions, key=lambda each: -each.distance("population", "drawn"))
    figures = [
        (each.column, each.distance("population", "drawn"), each.distance("population", "weighted")) for each in ranked
    ]
    rows = [
        {"name": name, "share": value, "side": side}
        for name, drawn, weighted in figures[:30]
        for side, value in (("drawn", drawn), ("weighted", weighted))
    ]
    used = {side: SIDES[side] for side in ("drawn", "weighted")}
    return Chart(
        "sample-distances",
        "How far the sample is from the population",
        charts.paired_bars(rows, used, "share of rows that lie elsewhere"),
        "Half the sum of all differences between shares (total variation); 0 is the same distribution. What weights "
        "leave is chance, and for numbers with many values the sketch's error of up to about 1%.",
        table(
            ["column", ">as drawn", ">weighted"],
            [[name, percent(drawn, 2), percent(weighted, 2)] for name, drawn, weighted in figures],
        ),
        wide=True,
    )
