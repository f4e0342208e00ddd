"""Upkeep of a pipeline's tables: old versions' files go, what is read or being written stays."""

from __future__ import annotations

from millrace.errors import RequestError
from millrace.spec import parse_duration
from millrace.stages.context import Run

TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")


def vacuum_tables(run: Run, retention: str, dry_run: bool) -> dict[str, list[str]]:
    """Remove the files that no version younger than `retention` needs; table → files removed (or that would be)."""
    try:
        age = parse_duration(retention)
    except ValueError as error:
        raise RequestError("wrong retention", hint=str(error)) from None
    tables = {name: run.table(name) for name in TABLES}
    return {name: table.vacuum(age, dry_run=dry_run) for name, table in tables.items() if table.exists()}
