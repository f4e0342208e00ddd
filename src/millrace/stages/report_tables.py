"""The tables behind a report: versions, files, and the ledger of each stage's newest commit for the run's interval."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from millrace.report.facts import StageFacts, TableFacts
from millrace.stages.context import STAGE_OF, Run
from millrace.storage.commits import CommitRecord

TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")
LEDGERS = {"clean": "clean", "sharded": "shard", "sample": "sample", "scores": "score"}
OWN = ("sample", "evaluation")  # what a what-if makes for itself; it shares the other tables with the nights
SEARCHED = 100  # newest commits among which the ledger of the run's own is looked for


def pinned(run: Run) -> Run:
    """The run, with the version of every table that it reads named: one state of all tables, looked up once.

    Sample and evaluation are those that a run of this name made; a what-if of the same interval made others.
    """
    names = {name: STAGE_OF.get(name, name) for name in TABLES if name != "quarantine"}
    versions = {stage: run.version(name) for name, stage in names.items()}
    for name in OWN:
        own = committed_by(run, name, None)
        versions[STAGE_OF.get(name, name)] = None if own is None else own.version
    found = {stage: version for stage, version in versions.items() if version is not None}
    return replace(run, upstream={**found, **run.upstream})


def has_rows(run: Run, name: str) -> bool:
    """Whether a stage's table was ever committed."""
    return run.version(name) is not None


def own_record(run: Run, name: str) -> CommitRecord | None:
    """The commit that this run made to a table; the newest, where it made none; None where there is no table."""
    found = committed_by(run, name, SEARCHED)
    if found is None and name not in OWN and (version := run.version(name)) is not None:
        return run.table(name).record(version)
    return found


def committed_by(run: Run, name: str, limit: int | None) -> CommitRecord | None:
    """The newest commit to a table by a run of this name, among the newest `limit` commits (None: all)."""
    table, mark = run.table(name), f"{run.pipeline.name}/"
    records = islice(table.records(), limit) if table.exists() else iter(())
    own = (each for each in records if each.transaction.startswith(mark) and each.transaction.split("/")[2] == run.name)
    return next(own, None)


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
