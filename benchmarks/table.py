"""What was measured as a document, as a table for the terminal and as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from benchmarks.work import MILLRACE, Bench, Goal, Outcome, Work

MEGABYTE = 1_000_000
PACKAGES = ("polars", "duckdb", "pandas", "pyspark", "mrjob", "scikit-learn", "pyarrow")
HEADINGS = (
    "work",
    "who",
    "seconds",
    "engine",
    "cpu",
    "× Millrace",
    "peak MB",
    "all MB",
    "read MB",
    "written MB",
    "goal",
    "",
)


def report(found: Sequence[tuple[Work, Mapping[str, Outcome]]], bench: Bench, seconds: float) -> dict[str, Any]:
    """All figures, as JSON."""
    return {
        "rows": bench.rows,
        "seconds": round(seconds, 1),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "works": [work_facts(work, outcomes) for work, outcomes in found],
    }


def work_facts(work: Work, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The figures of one piece of work."""
    contenders = {name: outcome_facts(outcome) for name, outcome in outcomes.items()}
    figures = work.figures(outcomes) if MILLRACE in outcomes else {}
    return {
        "name": work.name,
        "title": work.title,
        "contenders": contenders,
        "figures": figures,
        "goals": [facts for goal in work.goals if (facts := goal_facts(goal, contenders, figures))],
        "wrong": work.check({name: outcome.answer for name, outcome in outcomes.items()}),
        "notes": list(work.notes),
    }


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """Medians of the runs; the largest memory."""
    runs = outcome.runs
    return {
        "seconds": outcome.start + (median(run.seconds for run in runs) - outcome.start) / outcome.share,
        "runs": [round(run.seconds, 3) for run in runs],
        "engine_seconds": None if outcome.engine is None else outcome.engine / outcome.share,
        "cpu": median(run.cpu for run in runs) / outcome.share,
        "peak_process": max(run.peak_process for run in runs),
        "peak_all": max(run.peak_all for run in runs),
        "read": median(run.read for run in runs),
        "written": median(run.written for run in runs),
        "share": outcome.share,
    }


def goal_facts(goal: Goal, contenders: Mapping[str, Any], figures: Mapping[str, float]) -> dict[str, Any] | None:
    """A goal, what was reached, and whether that is enough; None where somebody is missing."""
    if not goal.peers:
        found = figures.get(goal.figure, contenders.get(MILLRACE, {}).get(goal.figure))
    elif MILLRACE in contenders and all(name in contenders for name in goal.peers):
        found = contenders[MILLRACE][goal.figure] / min(contenders[name][goal.figure] for name in goal.peers)
    else:
        found = None
    if found is None:
        return None
    words = goal_words(goal, found)
    return {"goal": words[0], "found": words[1], "value": found, "most": goal.most, "met": found <= goal.most}


def goal_words(goal: Goal, found: float) -> tuple[str, str]:
    """A goal and what was found, in words; a small ratio the other way round, as so many times faster."""
    whom = " and ".join(goal.peers)
    whom = f"the faster of {whom}" if len(goal.peers) > 1 else whom
    if not goal.peers:
        return f"{goal.figure.replace('_', ' ')} ≤ {goal.most:g} {goal.unit}", f"{found:.3g} {goal.unit}"
    if goal.most < 0.7:
        return f"≥ {1 / goal.most:.3g} × faster than {whom}", f"{1 / found:.3g} ×"
    return f"≤ {goal.most:g} × {whom}", f"{found:.2f} ×"


def lines(document: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table."""
    found = []
    for work in document["works"]:
        goals = [(f"{goal['goal']}: {goal['found']}", "met" if goal["met"] else "NOT MET") for goal in work["goals"]]
        base = work["contenders"].get(MILLRACE, {}).get("seconds")
        for number, (name, facts) in enumerate(work["contenders"].items()):
            engine = "" if facts["engine_seconds"] is None else f"{facts['engine_seconds']:.2f}"
            ratio = "" if base is None else f"{facts['seconds'] / base:.2f}"
            sizes = [f"{facts[key] / MEGABYTE:,.0f}" for key in ("peak_process", "peak_all", "read", "written")]
            goal = goals[number] if number < len(goals) else ("", "")
            who = name if facts["share"] == 1 else f"{name} (from {facts['share']:.1%} of the rows)"
            title = work["title"] if not number else ""
            cpu = f"{facts['cpu']:.2f}"
            found.append([title, who, f"{facts['seconds']:.2f}", engine, cpu, ratio, *sizes, *goal])
        found += [[""] * 10 + [*goal] for goal in goals[len(work["contenders"]) :]]
    return found


def show(document: Mapping[str, Any]) -> None:
    """Print the table, and what is wrong."""
    console = Console(width=None if Console().is_terminal else 200)
    grid = Grid(title=title(document), title_justify="left")
    for number, heading in enumerate(HEADINGS):
        grid.add_column(heading, justify="right" if 1 < number < 10 else "left")
    for line in lines(document):
        grid.add_row(*line, style="bold" if line[1] == MILLRACE else None)
    console.print(grid)
    for work in document["works"]:
        for words in work["notes"]:
            console.print(f"{work['title']}: {words}", style="dim")
        for words in work["wrong"]:
            console.print(f"WRONG {work['name']}: {words}", style="red")


def title(document: Mapping[str, Any]) -> str:
    """What was measured where."""
    return f"{document['rows']:,} rows, {document['cores']} cores, medians of whole processes, files in the page cache"
