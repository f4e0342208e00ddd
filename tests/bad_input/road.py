"""A small pipeline of daily files as a user has it: a folder of data, a pipeline file, and the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from millrace.cli import main
from millrace.storage.ledger import Ledger
from millrace.storage.tables import Table

HEADER = "when,who,amount,bought\n"
PIPELINE = """\
name: buys
source: {uri: "DATA/*", format: csv, time: when, file_date: "%Y-%m-%d", interval: daily}
columns:
  when: {type: timestamp, role: time}
  who: {type: string, role: key}
  amount: {type: float64, role: numeric}
  bought: {type: int8, role: label}
shard: {by: who, shards: 2}
window: 30d
"""


def rows(day: int, count: int = 4) -> str:
    """Some good rows of a day of January 2026, without the header."""
    lines = (f"2026-01-{day:02}T10:00:{n % 60:02},c{n},{n}.5,{n % 2}" for n in range(count))
    return "".join(f"{line}\n" for line in lines)


def night(day: int, count: int = 4) -> bytes:
    """A good file of a day."""
    return (HEADER + rows(day, count)).encode()


@dataclass(frozen=True)
class Told:
    """What a command told: its exit status, standard output and standard error."""

    status: int
    out: str
    err: str


class Road:
    """A project folder, and `millrace` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        (folder / "pipelines").mkdir()
        self.pipeline()

    def pipeline(self, text: str = PIPELINE, *changes: tuple[str, str]) -> Path:
        """Write the pipeline file, with each of the changes (old, new) made once."""
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = self.folder / "pipelines/buys.yaml"
        path.write_text(text.replace("DATA", str(self.data)))
        return path

    def file(self, day: int, content: bytes | str, suffix: str = "csv") -> Path:
        """Write the file of a day."""
        path = self.data / f"buys-2026-01-{day:02}.{suffix}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def millrace(self, *arguments: str) -> Told:
        """A command in this process. Whatever it does, no traceback, and no half-written table."""
        done = CliRunner().invoke(main, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        self.check_tables()
        return Told(done.exit_code, done.stdout, done.stderr)

    def run(self, *arguments: str) -> Told:
        """`millrace run buys` until the rows are in shards."""
        until = () if "--until" in arguments else ("--until", "shard")
        return self.millrace("run", "buys", "-r", "inline", *until, *arguments)

    def table(self, name: str) -> Table:
        return Table(str(self.folder / f"home/tables/buys/{name}"))

    def rows(self, name: str = "sharded") -> list[dict[str, Any]]:
        return self.table(name).read().to_pylist() if self.table(name).exists() else []

    def counts(self, name: str = "sharded") -> dict[str, int]:
        """Rows of each interval."""
        return self.table(name).intervals() if self.table(name).exists() else {}

    def ledger(self, name: str = "clean") -> Ledger:
        return self.table(name).ledger()

    def quarantined(self) -> list[tuple[Any, ...]]:
        """Row, column and rule of each quarantined row."""
        return [(row["row"], row["column"], row["rule"]) for row in self.rows("quarantine")]

    def versions(self) -> dict[str, int]:
        """The version of each table there is."""
        names = ("check", "clean", "quarantine", "sharded")
        return {name: self.table(name).version() for name in names if self.table(name).exists()}

    def check_tables(self) -> None:
        """Every committed file is there, every ledger balances, and the quarantine holds what was counted."""
        for name in self.versions():
            self.table(name).verify()
            for record in self.table(name).history():
                record.ledger.check(name)
        if self.table("clean").exists():
            counted = sum(self.ledger("clean").quarantined.values())
            added = sum(
                part.rows for part in self.table("quarantine").parts(None, self.table("clean").record().replaced)
            )
            assert added == counted


def failure(told: Told) -> dict[str, Any]:
    """The error that `--json` printed, which standard error told too."""
    document: dict[str, Any] = json.loads(told.out.splitlines()[-1])
    assert told.status == document["exit_status"] != 0
    assert document["error"] in told.err
    assert document["message"] in told.err
    return document
