"""The sections about the rows: what happened to them from stage to stage and night by night, and the checks."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.data.check_verdict import Outcome
from millrace.report import charts
from millrace.report.blocks import Chart, Section, Table, table
from millrace.report.facts import Night, ReportFacts
from millrace.report.words import count, listed, percent, several

KEPT, QUARANTINED, UNREADABLE, MERGED = "kept", "quarantined", "unreadable", "merged as duplicates"
PLACES = {
    KEPT: charts.BLUE,
    MERGED: charts.GREY,
    "drawn for training": charts.GREEN,
    "kept for judging": charts.YELLOW,
    "not drawn": charts.GREY,
    QUARANTINED: charts.ORANGE,
    UNREADABLE: charts.RED,
}


def rows_section(facts: ReportFacts) -> Section:
    """What happened to the rows of the window, night by night and stage by stage."""
    nights = [night for night in facts.nights if night.read is not None or night.clean is not None]
    if not nights:
        return Section("rows", "What happened to the rows", ["No row of this window has been read yet."])
    read, clean = _total(nights, "read"), _total(nights, "clean")
    quarantined, sharded = _total(nights, "quarantined"), _total(nights, "sharded")
    words = [
        f"{several(read, 'row')} of {several(len(nights), 'interval')} were read; {count(sharded or clean)} "
        f"({percent((sharded or clean) / read) if read else '–'}) are in use."
    ]
    lost = []
    if quarantined:
        lost.append(f"{count(quarantined)} ({percent(quarantined / max(1, read), 2)}) went to quarantine")
    if sharded and clean > sharded:
        lost.append(f"{count(clean - sharded)} were duplicates of a row that stayed")
    words.append(f"{listed(lost).capitalize()}." if lost else "None was quarantined, none was a duplicate.")
    failed = [night.interval for night in nights if night.failed]
    if failed:
        words.append(f"{several(len(failed), 'interval')} failed the check and stayed out: {listed(failed)}.")
    missing = [name for name in facts.window if name not in {night.interval for night in nights}]
    if missing:
        words.append(f"{several(len(missing), 'interval')} of the window had no rows: {listed(missing)}.")
    blocks: list[Chart | Table] = [_flow(nights, facts.sample.plan.population if facts.sample else None)]
    if len(nights) > 1:
        blocks.append(_nights(nights))
    blocks += _reasons(facts) + _changes(facts)
    blocks.append(_ledgers(facts))
    return Section("rows", "What happened to the rows", words, blocks)


def _total(nights: Sequence[Night], name: str) -> int:
    return sum(getattr(night, name) or 0 for night in nights)


def _flow(nights: Sequence[Night], teachable: int | None) -> Chart:
    """`teachable`: rows that the sample could be drawn from; where no whole interval judges, the other rows do."""
    total = {
        name: _total(nights, name) for name in ("read", "unreadable", "clean", "quarantined", "sharded", "sampled")
    }
    unreadable = min(total["unreadable"], total["quarantined"])
    rows = [
        {"what": "read", "place": KEPT, "rows": total["read"] - total["quarantined"]},
        {"what": "read", "place": QUARANTINED, "rows": total["quarantined"] - unreadable},
        {"what": "read", "place": UNREADABLE, "rows": unreadable},
        {"what": "clean", "place": KEPT, "rows": min(total["clean"], total["sharded"] or total["clean"])},
        {"what": "clean", "place": MERGED, "rows": total["clean"] - total["sharded"] if total["sharded"] else 0},
    ]
    judging = sum(night.sharded or 0 for night in nights if night.role == "judges")
    if not judging and teachable is not None:
        judging = max(0, total["sharded"] - teachable)
    if total["sampled"]:
        neither = total["sharded"] - judging - total["sampled"]
        rows += [
            {"what": "sharded", "place": "drawn for training", "rows": total["sampled"]},
            {"what": "sharded", "place": "kept for judging", "rows": judging},
            {"what": "sharded", "place": "not drawn", "rows": max(0, neither)},
        ]
    elif total["sharded"]:
        rows.append({"what": "sharded", "place": KEPT, "rows": total["sharded"]})
    shown = [row for row in rows if int(row["rows"]) > 0]  # type: ignore[call-overload]
    return Chart(
        "flow",
        "Rows from stage to stage",
        charts.stacked(shown, PLACES, order=["read", "clean", "sharded"], across=True),
        "Each bar holds all rows of one table; its colours say what became of them next.",
        table(["of", "are", ">rows"], [[str(r["what"]), str(r["place"]), count(r["rows"])] for r in shown]),  # type: ignore[arg-type]
        wide=True,
    )


def _nights(nights: Sequence[Night]) -> Chart:
    rows = []
    for night in nights:
        kept = night.sharded if night.sharded is not None else night.clean or 0
        parts = {
            KEPT: kept,
            MERGED: max(0, (night.clean or 0) - kept),
            QUARANTINED: max(0, (night.quarantined or 0) - (night.unreadable or 0)),
            UNREADABLE: min(night.unreadable or 0, night.quarantined or night.unreadable or 0),
        }
        rows += [{"what": night.interval, "place": place, "rows": size} for place, size in parts.items() if size]
    heads = [
        "interval",
        ">read",
        ">quarantined",
        ">clean",
        ">sharded",
        ">sampled",
        ">scored",
        ">label",
        "for the model",
    ]
    body = [
        [
            night.interval + (" (check failed)" if night.failed else ""),
            *(count(getattr(night, name)) for name in ("read", "quarantined", "clean", "sharded", "sampled", "scored")),
            percent(night.label_rate, 2),
            night.role,
        ]
        for night in nights
    ]
    order = [night.interval for night in nights]
    return Chart(
        "nights",
        "Rows of each interval",
        charts.stacked(rows, PLACES, order=order, across=False),
        f"Intervals hold between {count(min(night.read or night.clean or 0 for night in nights))} and "
        f"{count(max(night.read or night.clean or 0 for night in nights))} rows.",
        table(heads, body),
        wide=True,
    )


def _reasons(facts: ReportFacts) -> list[Chart | Table]:
    if not facts.reasons:
        return []
    ranked = sorted(facts.reasons, key=lambda reason: -reason.rows)
    rows = [
        {"name": f"{reason.column or 'whole row'}: {reason.rule}", "value": reason.rows, "odd": False}
        for reason in ranked[:15]
    ]
    first = ranked[0]
    body = [
        [each.column or "(whole row)", each.rule, count(each.rows), each.expected or "", each.value or ""]
        for each in ranked
    ]
    return [
        Chart(
            "reasons",
            "Why rows are in quarantine",
            charts.lying_bars(rows, "rows"),
            f"The commonest reason is {first.rule}{f' in {first.column}' if first.column else ''}: "
            f"{several(first.rows, 'row')}.",
            table(["column", "rule", ">rows", "expected", "for example"], body),
            wide=True,
        )
    ]


def _changes(facts: ReportFacts) -> list[Chart | Table]:
    if not facts.changes:
        return []
    ranked = sorted(facts.changes, key=lambda change: -change.cells)
    body = [[change.column, change.rule, count(change.cells)] for change in ranked]
    return [table(["column", "rule", ">cells"], body, "Cells that the last cleaning changed", shut=len(body) > 12)]


def _ledgers(facts: ReportFacts) -> Table:
    heads = [
        "stage",
        "intervals",
        ">rows in",
        ">out",
        ">quarantined",
        ">duplicates",
        ">not sampled",
        ">version",
        "when",
    ]
    body = [
        [
            stage.stage,
            stage.intervals,
            count(stage.rows_in),
            count(stage.rows_out),
            count(sum(stage.quarantined.values())),
            count(stage.duplicates),
            count(stage.not_sampled + sum(stage.other.values())),
            str(stage.version),
            stage.committed,
        ]
        for stage in facts.stages
    ]
    return table(heads, body, "The newest commit of each stage and its ledger: rows in are accounted for, every one")


def checks_section(facts: ReportFacts) -> Section:
    """The expectations of the run's interval, met or not."""
    verdict = facts.verdict
    if verdict is None:
        return Section("checks", "Checks", [f"There is no check of {facts.date}: its files haven't been read."])
    if not verdict.outcomes:
        return Section("checks", "Checks", ["The pipeline file has no section check, so nothing was expected."])
    unmet = verdict.unmet()
    met = len(verdict.outcomes) - len(unmet)
    words = [
        f"{met} of {len(verdict.outcomes)} expectations were met by the {count(verdict.rows)} rows of {facts.date}."
    ]
    if unmet:
        words.append(f"Not met: {listed([_short(outcome) for outcome in unmet])}.")
    rest = {name: rules for name, rules in facts.warned.items() if name != facts.date and rules}
    if rest:
        words.append(
            f"In the rest of the window, {several(len(rest), 'interval')} didn't meet all: {listed(list(rest))}."
        )
    ordered = [*unmet, *(outcome for outcome in verdict.outcomes if outcome.success)]
    body = [
        [
            "met" if outcome.success else "NOT MET",
            outcome.severity,
            outcome.expect.replace("_", " "),
            outcome.column or "",
            outcome.expected_text(),
            outcome.found_text(),
        ]
        for outcome in ordered
    ]
    blocks: list[Chart | Table] = [table(["result", "severity", "expectation", "column", "expected", "found"], body)]
    if rest:
        warned = [[name, listed(list(rules), 8)] for name, rules in rest.items()]
        blocks.append(table(["interval", "not met"], warned, "Other intervals of the window", shut=True))
    page = ("The same as a page of Great Expectations' Data Docs", facts.checks_page) if facts.checks_page else None
    return Section("checks", "Checks", words, blocks, page)


def _short(outcome: Outcome) -> str:
    return f"{outcome.expect.replace('_', ' ')}{f' ({outcome.column})' if outcome.column else ''}"
