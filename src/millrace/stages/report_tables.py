"""The tables behind a report: versions, files, and the ledger of each stage's newest commit for the run's interval."""

from __future__ import annotations

from dataclasses import replace

from millrace.report.facts import StageFacts, TableFacts
from millrace.stages.context import STAGE_OF, Run
from millrace.storage.commits import CommitRecord

TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")
LEDGERS = {"clean": "clean", "sharded": "shard", "sample": "sample", "scores": "score"}
SEARCHED = 100  # newest commits among which the run's own are looked for


def pinned(run: Run) -> Run:
    """The run, with the version of every table that it reads named: one state of all tables, looked up once."""
    names = {name: STAGE_OF.get(name, name) for name in TABLES if name != "quarantine"}
    versions = {stage: run.version(name) for name, stage in names.items()}
    found = {stage: version for stage, version in versions.items() if version is not None}
    return replace(run, upstream={**found, **run.upstream})


def has_rows(run: Run, name: str) -> bool:
    """Whether a stage's table was ever committed."""
    return run.version(name) is not None


def own_record(run: Run, name: str) -> CommitRecord | None:
    """The commit that this run made to a table; the newest, where it made none; None where there is no table."""
    table = run.table(name)
    if not table.exists():
        return None
    mark = f"{run.pipeline.name}/"
    records = table.history(SEARCHED)
    own = (each for each in records if each.transaction.startswith(mark) and each.transaction.split("/")[2] == run.date)
    return next(own, records[0] if records else None)


def stage_facts(run: Run) -> list[StageFacts]:
    """The newest commit and ledger of each stage that moves rows."""
    found = []
    for name, stage in LEDGERS.items():
        record = own_record(run, name)
        if record is None:
            continue
        ledger = record.ledger
        replaced = record.replaced
        words = "whole table" if isinstance(replaced, str) else _told(replaced)
        found.append(
            StageFacts(
                stage=stage,
                version=record.version,
                committed=f"{record.timestamp:%Y-%m-%d %H:%M} UTC",
                intervals=words,
                rows_in=ledger.rows_in,
                rows_out=ledger.rows_out,
                quarantined=ledger.quarantined,
                duplicates=ledger.duplicates,
                not_sampled=ledger.not_sampled,
                other=ledger.other,
            )
        )
    return found


def table_facts(run: Run) -> list[TableFacts]:
    """Version, rows and files of every table there is."""
    found = []
    for name in TABLES:
        version = run.version(name)
        if version is None:
            continue
        table = run.table(name)
        parts = table.parts(version)
        newest = max((part.interval or "" for part in parts), default="")
        found.append(TableFacts(name, version, sum(part.rows for part in parts), len(parts), newest, table.uri))
    return found


def _told(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} intervals"
