"""The contenders of a piece of work take turns."""

from __future__ import annotations

import compileall
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import CommandFailed, Measured, measure
from benchmarks.work import MILLRACE, REPOSITORY, Bench, Contender, Outcome, Work

COMPILED = (
    "polars", "duckdb", "pandas", "pyarrow", "numpy", "mrjob", "pyspark", "py4j", "sklearn", "scipy", "joblib",
    "datasketches", "pydantic", "mlflow", "deltalake", "sqlalchemy", "skops", "millrace",
)  # fmt: skip
SLOW, VERY_SLOW = 8.0, 15.0  # seconds of a run; slower contenders run less often


def compile_all() -> None:
    """Compile what the contenders import, so that none of them does it while it is timed."""
    folders = [REPOSITORY / "benchmarks", REPOSITORY / "mrjobs"]
    for name in COMPILED:
        spec = importlib.util.find_spec(name)
        folders += [Path(place) for place in (spec.submodule_search_locations or [] if spec else [])]
    for folder in folders:
        compileall.compile_dir(folder, quiet=2, workers=os.cpu_count() or 1)


def run_work(
    work: Work, bench: Bench, runs: int, wanted: Sequence[str] = (), left_out: Sequence[str] = ()
) -> tuple[Work, dict[str, Outcome]]:
    """All contenders, taking turns. A peer that fails is told, and left out; a failure of Millrace's is raised."""
    contenders = [each for each in work.contenders if (not wanted or each.name in wanted) and each.name not in left_out]
    bench.output.mkdir(parents=True, exist_ok=True)
    found = {each.name: _Runs(each) for each in contenders}
    failed: list[str] = []
    for turn in range(runs):
        for runner in list(found.values()):
            name = runner.contender.name
            if turn >= runner.wanted(runs):
                continue
            bench.say(f"{work.name}: {name}, run {turn + 1}")
            try:
                runner.run(bench, bench.output / f"{work.name}-{name.replace(' ', '-')}.out")
            except CommandFailed as error:
                if name == MILLRACE:
                    raise
                failed.append(f"{name} failed: {str(error).splitlines()[-1]}")
                del found[name]
    return replace(work, notes=[*work.notes, *failed]), {name: runs.outcome(bench) for name, runs in found.items()}


class _Runs:
    """The runs of one contender."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self._measured: list[Measured] = []
        self._walls: list[float] = []
        self._engine: list[float] = []
        self._answer: Any = None

    def wanted(self, runs: int) -> int:
        """How often it runs: the slower, the less often."""
        first = self._walls[0] if self._walls else 0.0
        return 1 if first > VERY_SLOW or self.contender.once else min(runs, 2) if first > SLOW else runs

    def run(self, bench: Bench, out: Path) -> None:
        """Once more."""
        contender = self.contender
        contender.prepare()
        took = measure(contender.command, out, contender.environment or bench.environment, REPOSITORY)
        self._walls.append(took.seconds)
        self._measured.append(took if contender.seconds is None else replace(took, seconds=contender.seconds(out)))
        engine = contender.engine(out)
        self._engine += [] if engine is None else [engine]
        if len(self._walls) == 1:
            self._answer = contender.answer(out)

    def outcome(self, bench: Bench) -> Outcome:
        """What all runs gave."""
        start, contender = 0.0, self.contender
        if contender.start is not None:
            contender.prepare()
            start = measure(contender.start, bench.output / "start.out", bench.environment, REPOSITORY).seconds
        engine = median(self._engine) if self._engine else None
        return Outcome(self._measured, self._answer, engine, contender.share, start)
