"""Whole pipelines in process: `millrace init`, lines of its file changed as a person would, then the stages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from millrace.init import write_pipeline_file
from millrace.pipeline_file import load
from millrace.profiles import pipelines_folder
from millrace.stages import STAGES, open_run, run_one
from millrace.stages.context import Run, StageResult

Results = dict[str, StageResult]
TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")


def init(name: str, files: Sequence[Path | str], label: str | None = None, **lines: str) -> Path:
    """Write the pipeline file by `millrace init`, then put `lines` in place of its lines of the same key."""
    path = write_pipeline_file(name, [str(file) for file in files], pipelines_folder(), label=label, force=True)
    text = path.read_text()
    for key, value in lines.items():
        line = f"{key}: {value}\n"
        text, count = re.subn(rf"(?m)^{key}:.*\n(?:[ #].*\n)*", lambda _, line=line: line, text)  # type: ignore[misc]
        text = text if count else text + line
    path.write_text(text)
    load(path)
    return path


def change(path: Path, old: str, new: str) -> None:
    """Change one line of a pipeline file, which must be there."""
    text = path.read_text()
    assert old in text, f"{old!r} isn't in {path.name}"
    path.write_text(text.replace(old, new, 1))


def run(name: str, date: str | None, *, until: str = "score", report: bool = False, **options: Any) -> Results:
    """Every stage of one run up to `until`, by name; the report, which takes longest, where it is asked for."""
    opened = open_run(name, date, options={"runner": "inline", **options}, say=print)
    order = STAGES[: STAGES.index(until) + 1]
    results: Results = {}
    for stage in (each for each in order if report or each != "report"):
        upstream = {each: found.version for each, found in results.items() if found.version is not None}
        results[stage] = run_one(stage, replace(opened, upstream=upstream))
    return results


def of(name: str, date: str | None = None) -> Run:
    """The run, to read its tables."""
    return open_run(name, date)


def read(name: str, table: str, date: str | None = None) -> pd.DataFrame:
    """A table's newest version as a frame."""
    return of(name, date).table(table).read().to_pandas()


def versions(name: str, date: str | None = None) -> dict[str, int]:
    """The newest version of every table there is."""
    opened = of(name, date)
    return {table: opened.table(table).version() for table in TABLES if opened.table(table).exists()}


def assert_rows_conserved(name: str, date: str | None, raw: Mapping[str, int]) -> None:
    """Every raw row of every interval is in one table, once: counted in the tables themselves and in their ledgers.

    `raw` is the true number of rows by interval.
    """
    opened = of(name, date)
    counts = {table: opened.table(table).intervals() for table in ("clean", "sharded", "scores")}
    quarantine = opened.table("quarantine").intervals() if opened.table("quarantine").exists() else {}
    for interval, rows in raw.items():
        assert counts["clean"].get(interval, 0) + quarantine.get(interval, 0) == rows, interval
    assert counts["scores"] == counts["sharded"]
    sharded = opened.table("sharded").read(columns=["row_id", "data_interval"]).to_pandas()
    scores = opened.table("scores").read(columns=["row_id", "data_interval"]).to_pandas()
    ordered = [frame.sort_values(["data_interval", "row_id"]).reset_index(drop=True) for frame in (sharded, scores)]
    pd.testing.assert_frame_equal(*ordered)


def metrics(results: Results) -> dict[str, float]:
    """The candidate's metrics on the holdout."""
    return dict(results["evaluate"].details["metrics"])


def seconds(results: Results) -> str:
    """Seconds per stage, for the report of a test."""
    return ", ".join(f"{name} {result.seconds:.2f}" for name, result in results.items())


def rows_of(table: pa.Table) -> dict[str, list[Any]]:
    """A table's values, column by column, in their order."""
    return {name: table.column(name).to_pylist() for name in table.column_names}
