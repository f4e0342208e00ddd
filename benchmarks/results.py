"""What was measured, kept: as JSON, as a page of Markdown and a chart, and in the README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.chart import chart
from benchmarks.table import HEADINGS, lines, title
from benchmarks.work import MILLRACE, REPOSITORY

FOLDER = REPOSITORY / "benchmarks" / "results"
README = REPOSITORY / "README.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->\n"


def write_results(document: Mapping[str, Any], name: str) -> None:
    """Write the results of a whole run; the README shows those of the plain one."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (FOLDER / f"{name}.md").write_text(page(document, name))
    (FOLDER / f"{name}.svg").write_text(chart(document))
    if name == "bench":
        before, begin, rest = README.read_text("utf-8").partition(BEGIN)
        if begin:
            README.write_text(before + BEGIN + summary(document) + END + rest.partition(END)[2], "utf-8")


def page(document: Mapping[str, Any], name: str) -> str:
    """All figures, for people."""
    rows = [f"| {' | '.join(HEADINGS)} |", "|---|---|" + "---:|" * 8 + "---|---|"]
    rows += [f"| {' | '.join(line)} |" for line in lines(document)]
    notes = [f"- {work['title']}: {words}" for work in document["works"] for words in work["notes"]]
    wrong = [f"- WRONG {work['title']}: {words}" for work in document["works"] for words in work["wrong"]]
    versions = ", ".join(f"{package} {version}" for package, version in document["versions"].items())
    about = (
        "Seconds are those of whole processes, from start to end; engine: those that the program itself takes for the "
        "work, without start-up and imports; cpu: those of all processors. Peak: the largest process; all: all "
        "processes at one time, what they share counted once. Bytes are those of system calls, of files and pipes; "
        "mapped files aren't in them."
    )
    parts = [f"# {title(document)}", "\n".join(rows), f"![]({name}.svg)", about, "\n".join([*notes, *wrong]), versions]
    return "\n\n".join(parts) + "\n"


def summary(document: Mapping[str, Any]) -> str:
    """A line for each piece of work."""
    rows = ["| work | Millrace | others | goal |", "|---|---:|---|---|"]
    for work in document["works"]:
        own = work["contenders"][MILLRACE]
        others = [f"{name} {_seconds(facts)}" for name, facts in work["contenders"].items() if name != MILLRACE]
        goals = [f"{goal['goal']}: {'' if goal['met'] else '**not met**, '}{goal['found']}" for goal in work["goals"]]
        rows.append(f"| {work['title']} | {_seconds(own)} | {', '.join(others)} | {'; '.join(goals)} |")
    return "\n".join([f"{title(document)}.", "", *rows, "", "![](benchmarks/results/bench.svg)"]) + "\n"


def _seconds(facts: Mapping[str, Any]) -> str:
    about = "about " if facts["share"] < 1 else ""
    return f"{about}{facts['seconds']:.3g} s"
