"""How little is read: the raw data once from check to feature statistics, and a window's drift without its rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.data import make_data, make_days
from benchmarks.measure import measure
from benchmarks.pipelines import CHECK, night_pipeline, write_pipeline
from benchmarks.setup import run_setups
from benchmarks.work import MILLRACE, REPOSITORY, Bench, Contender, Goal, Outcome, Work, millrace
from benchmarks.works_shard import stage_seconds

DAYS = 60
WINDOW_ROWS = 4_000_000  # of the larger window, at most; the smaller one has a tenth
FEW = "a tenth of the rows"


def one_scan(bench: Bench) -> Work:
    """Thirty expectations judged and the statistics of every column taken, over all rows of the raw CSV."""
    data = make_data(bench.data, bench.rows, bench.say)
    few = make_data(bench.data, 1_000, bench.say)
    write_pipeline(bench.pipelines, "scan", night_pipeline("scan", data.files("csv")))
    write_pipeline(bench.pipelines, "scan_few", night_pipeline("scan_few", few.files("csv")))
    start = _bytes_read(bench, millrace("run", "scan_few", "--until", "check"), "scan_few")
    tables = bench.home / "tables" / "scan"
    command = millrace("run", "scan", "--until", "check", "--json")

    def again() -> None:
        shutil.rmtree(tables, ignore_errors=True)

    contender = Contender(MILLRACE, command, _ledger, stage_seconds, again, once=True)

    def figures(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
        read = min(run.read for run in outcomes[MILLRACE].runs)
        return {"bytes_read_over_input": (read - start) / data.size("csv")}

    title = f"check ({CHECK.count('expect:')} expectations) and feature statistics in one scan"
    goals = (Goal(1.05, figure="bytes_read_over_input"),)
    note = f"{start / 1e6:,.0f} MB that the same command reads for 1,000 rows (code, mostly) are left out of the ratio"
    return Work("one-scan", title, [contender], goals, lambda answers: [], figures, notes=(note,))


def window(bench: Bench) -> Work:
    """The statistics of sixty days merged and their halves compared, for a new day."""
    rows = max(1_000, min(WINDOW_ROWS, bench.rows) // DAYS)
    names = {MILLRACE: "window", FEW: "window_few", "start": "window_start"}
    sizes = {MILLRACE: (DAYS, rows), FEW: (DAYS, rows // 10), "start": (2, 100)}
    raw: dict[str, int] = {}
    for who, name in names.items():
        folder = make_days(bench.data, *sizes[who], bench.say)
        files = sorted(map(str, folder.glob("*.csv")))
        raw[who] = sum(Path(path).stat().st_size for path in files)
        more = f"window: {DAYS}d\n"
        write_pipeline(bench.pipelines, name, night_pipeline(name, files, more))
    run_setups(bench, [millrace("run", name, "--until", "stats") for name in names.values()])
    start = _bytes_read(bench, _drift(names["start"]), "window_start")
    contenders = []
    for who in (MILLRACE, FEW):
        table = bench.home / "tables" / names[who] / "drift"
        contenders.append(
            Contender(
                who,
                _drift(names[who]),
                engine=stage_seconds,
                prepare=lambda table=table: shutil.rmtree(table, ignore_errors=True),  # type: ignore[misc]
            )
        )

    def figures(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
        read = min(run.read for run in outcomes[MILLRACE].runs)
        return {"bytes_read_of_the_window": 100 * max(0, read - start) / raw[MILLRACE]}

    goals = (Goal(1.1, (FEW,)), Goal(1.0, figure="bytes_read_of_the_window", unit="%"))
    title = f"statistics and drift of {DAYS} days of {rows:,} rows"
    note = f"{start / 1e6:,.0f} MB that the same command reads for two days of 100 rows are left out of the share"
    return Work("window", title, contenders, goals, lambda answers: [], figures, notes=(note,))


def _drift(name: str) -> list[str]:
    return millrace("run", name, "--from", "drift", "--until", "drift", "--json")


def _bytes_read(bench: Bench, command: list[str], name: str) -> int:
    """The least bytes that a command reads, of two runs."""
    bench.output.mkdir(parents=True, exist_ok=True)
    found = []
    for _ in range(2):
        for table in ("check", "drift"):
            shutil.rmtree(bench.home / "tables" / name / table, ignore_errors=True)
        found.append(measure(command, bench.output / f"{name}.out", bench.environment, REPOSITORY).read)
    return min(found)


def _ledger(out: Path) -> Any:
    return json.loads(out.read_text())[0]["ledger"]
