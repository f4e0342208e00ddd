"""What the command line shows: results of stages as a table, the status of a pipeline, where keys are."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from millrace.errors import InputError
from millrace.report.kept import kept_reports, newest_report, report_uri
from millrace.stages.context import Run, StageResult
from millrace.storage.parts import Part
from millrace.storage.seal import check_seal


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough for them where there is none."""
    return (
        Console(stderr=stderr) if (sys.stderr if stderr else sys.stdout).isatty() else Console(stderr=stderr, width=120)
    )


def results_grid(results: Sequence[StageResult], title: str | None = None) -> Grid:
    """A row a stage: its table's version, rows in, out, quarantined, duplicates, and seconds."""
    grid = Grid(title=title, title_justify="left")
    for name in ("stage", "version"):
        grid.add_column(name, no_wrap=True)
    for name in ("rows in", "out", "quarantined", "duplicates", "not taken", "seconds"):
        grid.add_column(name, justify="right", no_wrap=True)
    for result in results:
        ledger = result.ledger
        counts = (
            [
                ledger.rows_in,
                ledger.rows_out,
                sum(ledger.quarantined.values()),
                ledger.duplicates,
                ledger.not_sampled + sum(ledger.other.values()),
            ]
            if ledger is not None
            else []
        )
        cells = [f"{count:,}" for count in counts] or [""] * 5
        version = "" if result.version is None else str(result.version)
        grid.add_row(result.stage, version, *cells, f"{result.seconds:.1f}")
    return grid


def results_table(results: Sequence[StageResult]) -> None:
    """Print the table of results."""
    console().print(results_grid(results))


def status_of(run: Run) -> dict[str, Any]:
    """Tables with version, rows and newest interval, and where reports are; as JSON.

    Without the champion: MLflow takes seconds to load, and what is known already can be shown before.
    """
    tables = {}
    for stage in ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores"):
        table = run.table(stage)
        if table.exists():
            version = table.version()
            parts = table.parts(version)
            tables[stage] = {
                "version": version,
                "rows": sum(part.rows for part in parts),
                "files": len(parts),
                "newest": max((part.interval or "" for part in parts), default=""),
                "where": table.uri,
            }
    reports, name = run.profile.reports, run.pipeline.name
    report = newest_report(reports, name)
    newest = max((str(tables[name]["newest"]) for name in ("clean", "sharded", "stats") if name in tables), default="")
    return {
        "pipeline": name,
        "date": newest,
        "tables": tables,
        "report": report and report_uri(reports, name, report),
        "what_if_reports": [report_uri(reports, name, each) for each in kept_reports(reports, name) if "_" in each],
    }


def show_status(status: dict[str, Any]) -> None:
    """Print the tables and reports for people."""
    grid = Grid(title=f"{status['pipeline']}", title_justify="left")
    for name, justify in (("table", "left"), ("version", "right"), ("rows", "right"), ("files", "right")):
        grid.add_column(name, justify=justify)  # type: ignore[arg-type]
    grid.add_column("newest")
    for name, facts in status["tables"].items():
        grid.add_row(name, str(facts["version"]), f"{facts['rows']:,}", f"{facts['files']:,}", facts["newest"])
    console().print(grid)
    for words, path in (("report", status["report"]), *(("what-if", path) for path in status["what_if_reports"][:5])):
        if path:
            print(f"{words}: {path}")


def show_champion(champion: dict[str, Any] | None) -> None:
    """Print the champion for people."""
    if champion is None:
        print("champion: none yet")
        return
    former = f", before it version {champion['former'][0]}" if champion["former"] else ""
    night = "" if champion["interval"] == "all" else f", trained for {champion['interval']}"
    print(f"champion: version {champion['version']}{night}{former}")
    for name, value in champion["evaluation"].items():
        if value is not None:
            print(f"  {name:<18} {value:.4f}  on its holdout")


def lookup_keys(run: Run, keys: Sequence[str], rows: bool) -> list[dict[str, Any]]:
    """Where each key's rows are: interval, shard, file and rows; with `rows`, the rows themselves."""
    from millrace.data.lookup import lookup, read_rows
    from millrace.data.shard import ShardPlan
    from millrace.stages.layout import shard_plans
    from millrace.storage.files import table_filesystem

    table = run.table("sharded")
    if not table.exists():
        hint = f"millrace run {run.pipeline.name} --until shard"
        raise InputError("no sharded table to look in", expected=table.uri, found="none", hint=hint)
    plans = shard_plans(run)
    newest = plans[max(plans)]
    system, root = table_filesystem(table.uri)

    def open_file(path: str) -> Any:
        file = system.open_input_file(root + path)
        check_seal(file, path)
        return file

    alike: dict[str, list[Part]] = {}
    for part in table.parts():
        alike.setdefault(plans[part.interval or ""].model_dump_json(), []).append(part)
    places_of = [(ShardPlan.model_validate_json(plan), parts) for plan, parts in alike.items()]
    found = []
    for key in keys:
        places = [
            place for plan, parts in places_of if plan.by == newest.by for place in lookup(parts, plan, key, open_file)
        ]
        entry: dict[str, Any] = {
            "key": key,
            "column": newest.by,
            "by_another_key": sorted(name for name, plan in plans.items() if plan.by != newest.by),
            "rows": sum(place.rows for place in places),
            "locations": [{**vars(place), "path": f"{table.uri}/{place.path}"} for place in places],
        }
        if rows:
            entry["records"] = read_rows(places, open_file).to_pylist()
        found.append(entry)
    return found


def show_lookup(found: list[dict[str, Any]]) -> None:
    """Print where keys are for people."""
    for entry in found:
        print(f"{entry['column']} {entry['key']}: {entry['rows']:,} rows in {len(entry['locations'])} files")
        for place in [] if "records" in entry else entry["locations"]:
            print(f"  {place['data_interval']}  shard {place['shard']}  {place['rows']:>7,} rows  {place['path']}")
        if entry["by_another_key"]:
            print(f"  not looked at, as sharded by another column: {', '.join(entry['by_another_key'])}")
        for record in entry.get("records", []):
            print(json.dumps(record, default=str))
