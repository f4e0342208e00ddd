"""The report of a run: tables and registry in; one HTML file of pictures, with its Data Docs page beside it, out.

A part that isn't there yet is left out, and the page says so; a part that can't be read is named on the page and told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from millrace import intervals
from millrace.data.check_verdict import Verdict
from millrace.data.drift import DriftVerdict
from millrace.data.stats import Stats
from millrace.errors import MillraceError, RequestError
from millrace.report.facts import ModelFacts, ReportFacts
from millrace.report.kept import CHECKS, keep_report, read_report
from millrace.report.page import render
from millrace.report.vega import bundle
from millrace.stages.choose import read_drift
from millrace.stages.context import Run, StageResult
from millrace.stages.ingest import read_verdicts
from millrace.stages.report_data import (
    changes,
    column_facts,
    distributions,
    label_rates,
    nights,
    reasons,
    sample_facts,
    scoring_facts,
    statistics,
)
from millrace.stages.report_model import evaluation_facts, history, model_facts
from millrace.stages.report_tables import has_rows, pinned, stage_facts, table_facts

Part = TypeVar("Part")
DIGEST = "<!-- millrace {} -->"


def report(run: Run) -> StageResult:
    """Write the report of the run's interval; `details["path"]` says where."""
    path = write_report(run)
    return StageResult(stage="report", details={"words": path, "path": path})


def write_report(run: Run) -> str:
    """Write ``<reports>/<pipeline>/<run.name>.html``, whole or not at all, and return its path or URI.

    Where the interval was checked, ``<date>-checks.html`` beside it holds the same as Great Expectations' Data Docs.
    """
    known = run.tokens("check")
    if known and run.date not in known and run.date not in run.tokens("drift"):
        newest = intervals.newest([name for name in known if name != "*"], run.kind)
        raise RequestError(f"nothing is known of {run.date}", expected=f"an interval that was run, such as {newest}")
    page = render(collect(run), bundle(run.profile.home / "cache"))
    return keep_report(run.profile.reports, run.pipeline.name, run.name, page)


def collect(run: Run) -> ReportFacts:
    """All that the report shows; its Data Docs page is written on the way."""
    notes: list[str] = []
    run = pinned(run)

    def part(name: str, find: Callable[[Run], Part], default: Part) -> Part:
        try:
            return find(run)
        except MillraceError as error:
            notes.append(f"{name} is left out: {error}")
            run.say(f"WARNING report: {notes[-1]}")
            return default

    verdicts: dict[str, Verdict] = part("the check", _verdicts, {})
    drift: DriftVerdict | None = part("the drift verdict", _drift, None)
    evaluation = part("the evaluation", evaluation_facts, None)
    models: list[ModelFacts] = part("the registry", model_facts, [])
    known: dict[str, Stats] = part("the statistics", statistics, {})
    verdict = verdicts.get(run.date)
    return ReportFacts(
        pipeline=run.pipeline.name,
        date=run.date,
        name=run.name,
        window=run.window(),
        nights=part("the count of rows", lambda run: nights(run, verdicts, label_rates(known)), []),
        stages=part("the ledgers", stage_facts, []),
        reasons=part("the quarantine", reasons, []),
        changes=part("the changed cells", changes, []),
        verdict=verdict,
        warned={name: [each.rule for each in found.unmet()] for name, found in verdicts.items()},
        checks_page=None if verdict is None else part("Data Docs", lambda run: checks_page(run, verdict), None),
        label=run.pipeline.label,
        drift=drift,
        columns=part("the table of columns", lambda run: column_facts(run, known), []),
        distributions=part("the distributions", lambda run: distributions(run, known), []),
        sample=part("the sample", lambda run: sample_facts(run, known), None),
        evaluation=evaluation,
        scoring=part("the scoring", scoring_facts, None),
        history=part("the history", history, []),
        models=models,
        tables=part("the list of tables", table_facts, []),
        notes=notes,
    )


def checks_page(run: Run, verdict: Verdict) -> str | None:
    """The verdict as a page of Data Docs, kept beside the report: a page of the same verdict isn't made again.

    Great Expectations takes seconds to load: a rerun doesn't wait for it.
    """
    if not verdict.outcomes:
        return None
    place = (run.profile.reports, run.pipeline.name, f"{run.date}{CHECKS}")
    mark = DIGEST.format(hashlib.sha256(verdict.model_dump_json().encode()).hexdigest())
    text = read_report(*place) or ""
    if not text.endswith(mark):
        from millrace.report.data_docs import page

        text = page(verdict, name=run.pipeline.name, interval=run.date) + mark
        keep_report(*place, text)
    return text


def _verdicts(run: Run) -> dict[str, Verdict]:
    return read_verdicts(run) if has_rows(run, "check") else {}


def _drift(run: Run) -> DriftVerdict | None:
    if run.date not in (run.table("drift").intervals(run.version("drift")) if run.table("drift").exists() else {}):
        return None
    return read_drift(run, run.version("drift"))
