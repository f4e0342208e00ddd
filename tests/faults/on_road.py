"""Trials of whole stages on a local folder, each in a process forked from a warm one.

The home before each stage is prepared once for all trials of a process (`tests.stages.test_kills`).
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from threading import Thread
from typing import Any

from tests.faults.losses import Losses, Trial
from tests.faults.watch import Watcher
from tests.orders import day_rows
from tests.stages.forked import PAUSED, TABLES, Forks
from tests.stages.test_kills import KILLS, LOCAL, ROLLBACK, SECOND, STAGES, Road

BY_DRAW = ("check", "clean", "shard", "stats", "sample", "train", "promote", "compress", "score")
LONGEST = 1.2  # seconds: most stages of the small pipeline are done by then
FILE_LIMITS = (100, 2_000, 8_000, 20_000)
NAMED = [
    *(f"{night}/{stage}/{fault}" for (night, stage), faults in KILLS.items() for fault in faults.split()),
    *(f"rollback/{fault}" for fault in ROLLBACK.split()),
]
BY_TASK = [f"{stage}/{fault}" for stage, faults in LOCAL.items() for fault in faults.split()]
DISK = [f"{stage}/{limit}" for stage in BY_DRAW for limit in FILE_LIMITS]


class Stages:
    """A road that is prepared, a second warm process, and the reader."""

    def __init__(self, stack: ExitStack) -> None:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-faults-")))
        for name in ("data", "pipelines", "home"):
            (place / name).mkdir()
        for day in range(8, 13):
            (place / "data" / f"2026-01-{day:02}.csv").write_text(day_rows(date(2026, 1, day)))
        forks, self.second = Forks(), Forks()
        stack.callback(forks.close)
        stack.callback(self.second.close)
        self.road = Road(place, forks)
        self.watcher = Watcher({})
        stack.callback(self.watcher.close)
        self.tables = [str(place / "home" / "tables" / "orders" / name) for name in TABLES]

    def trial(self, trial: Trial) -> Losses:
        losses = Losses()
        if trial.point.startswith("rollback/"):
            self._rollback(trial.point.partition("/")[2], losses)
            return losses
        where = trial.point.split("/")  # (night,) stage (, fault)
        night = where.pop(0) if trial.kind == "kill" else SECOND
        stage, fault = where if len(where) > 1 else (*where, "")
        wanted = self.road.after(night, stage)
        self.road.before(night, stage)
        with self.watcher.watching(losses, self.tables):
            self._strike(trial, night, stage, fault, losses)
            code, said = self.road.run(night, stage)
        if code:
            losses.failed(f"the rerun of {stage} ends with {code}: {said[-600:]}")
        else:
            losses.compare(self.road.look(stage), wanted)
        return losses

    def _strike(self, trial: Trial, night: str, stage: str, fault: str, losses: Losses) -> None:
        draw = trial.draw()
        after = draw.uniform(0.01, LONGEST)
        if trial.kind == "kill":
            code, said = self.road.run(night, stage, fault)
            self._struck(losses, code == -9, said)
        elif trial.kind == "task killed":
            code, said = self.road.run(night, stage, fault, "local")
            self._struck(losses, code in (1, -9), said)
        elif trial.kind == "driver at any time":
            code, said = self.road.run(night, stage, runner=fault, after=after, strike="driver")
            losses.struck = int(code == -9)
            self._told(losses, code, said)
        elif trial.kind == "task at any time":
            code, said = self.road.run(night, stage, runner="local", after=after, strike="task")
            losses.struck = int(code != 0)
            self._told(losses, code, said)
        elif trial.kind == "disk full":
            code, said = self.road.run(night, stage, file_limit=int(fault))
            losses.struck = int(code != 0)
            self._told(losses, code, said)
        elif trial.kind == "two drivers":
            self._two(night, stage, losses)
        else:
            self._late(night, stage, after / 2, losses)

    def _two(self, night: str, stage: str, losses: Losses) -> None:
        """Two drivers of one interval at once."""
        words, found = self.road.words(night, stage), []
        threads = [
            Thread(target=lambda forks=forks: found.append(forks(self.road.place, words)))  # type: ignore[misc]
            for forks in (self.road.forks, self.second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        losses.struck = 1
        for code, said in found:
            self._told(losses, code, said)

    def _late(self, night: str, stage: str, after: float, losses: Losses) -> None:
        """An attempt is stopped, its successor does the work, then the late attempt goes on."""
        words = self.road.words(night, stage)
        code, _ = self.second(self.road.place, words, after=after, strike="pause")
        if code != PAUSED:
            return
        losses.struck = 1
        try:
            self._told(losses, *self.road.forks(self.road.place, words))
        finally:
            code = self.second.go_on()
        said = Path(self.second.request(self.road.place, words)["said"]).read_text()
        self._told(losses, code, said)

    def _rollback(self, fault: str, losses: Losses) -> None:
        road = self.road
        wanted = road.after_rollback()
        road.restore(f"{SECOND}-score")
        code, said = road.forks(road.place, ["rollback", "orders"], fault)
        self._struck(losses, code == -9, said)
        code, said = road.forks(road.place, ["rollback", "orders"])
        if code:
            losses.failed(f"the second rollback ends with {code}: {said[-600:]}")
        else:
            losses.compare(road.look("rollback"), wanted)

    @staticmethod
    def _struck(losses: Losses, hit: bool, said: str) -> None:
        losses.struck = int(hit)
        if not hit:
            losses.failed(f"the fault wasn't reached: {said[-600:]}")

    @staticmethod
    def _told(losses: Losses, code: int, said: str) -> None:
        """An attempt may fail, but in words."""
        losses.refused += int(code == 1)
        if code not in (0, 1, -9) or (code == 1 and '"exit_status": 1}' not in said):
            losses.failed(f"an attempt ends with {code}: {said[-900:]}")


def kinds() -> dict[str, Any]:
    """The points of each kind."""
    return {
        "kill": NAMED,
        "task killed": BY_TASK,
        "driver at any time": [f"{stage}/{runner}" for runner in ("inline", "local") for stage in BY_DRAW],
        "task at any time": ["check", "clean", "shard", "sample", "score"],
        "two drivers": list(STAGES),
        "late attempt": list(BY_DRAW),
        "disk full": DISK,
    }
