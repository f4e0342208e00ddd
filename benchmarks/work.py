"""What is measured: a piece of work, those who do it, what their answers must be, and what is to be reached."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import Measured

REPOSITORY = Path(__file__).parents[1]
PEERS = REPOSITORY / "benchmarks" / "peers"
MILLRACE = "Millrace"


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark: where it works, how many rows, who hears of progress."""

    place: Path
    rows: int
    say: Callable[[str], None]

    @property
    def data(self) -> Path:
        """The folder of the data, kept from run to run."""
        return self.place / "data"

    @property
    def pipelines(self) -> Path:
        """The folder of the pipeline files."""
        return self.place / f"pipelines-{self.rows}"

    @property
    def home(self) -> Path:
        """MILLRACE_HOME of the contenders."""
        return self.place / f"home-{self.rows}"

    @property
    def output(self) -> Path:
        """The folder of what contenders write."""
        return self.place / f"output-{self.rows}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every contender."""
        own = {"MILLRACE_HOME": str(self.home), "MILLRACE_PIPELINES": str(self.pipelines)}
        bare = {key: value for key, value in os.environ.items() if not key.startswith(("MILLRACE_", "PYTHON"))}
        return bare | own | {"GX_ANALYTICS_ENABLED": "false", "PYTHONPATH": ""}


@dataclass(frozen=True)
class Contender:
    """One who does the work.

    `answer` reads what it found from its standard output's file; `engine` its seconds without start-up, where it can
    tell; `prepare` is called before each run, unmeasured. `share`: it does so much of the work, and its seconds are
    divided by that.
    """

    name: str
    command: Sequence[str]
    answer: Callable[[Path], Any] = lambda out: None
    engine: Callable[[Path], float | None] = lambda out: None
    prepare: Callable[[], None] = lambda: None
    share: float = 1.0
    environment: Mapping[str, str] | None = None
    """Its own, where it isn't that of the others."""
    seconds: Callable[[Path], float] | None = None
    """Reads the seconds that count from its output, where they aren't those of the whole process."""
    start: Sequence[str] | None = None
    """With `share`: the command over next to nothing; only the seconds beyond its own are divided."""
    once: bool = False
    """One run is enough: it is far from the fastest, or bytes are judged, not seconds."""


@dataclass(frozen=True)
class Goal:
    """Millrace's figure over the peer's (the faster's, of several), or the figure itself, is at most `most`."""

    most: float
    peers: tuple[str, ...] = ()
    figure: str = "seconds"
    unit: str = "×"


@dataclass(frozen=True)
class Outcome:
    """What a contender took, run by run, and what it found."""

    runs: Sequence[Measured]
    answer: Any
    engine: float | None = None
    share: float = 1.0
    start: float = 0.0


@dataclass(frozen=True)
class Work:
    """A piece of work and all who do it; `check` names what is wrong with the answers."""

    name: str
    title: str
    contenders: Sequence[Contender]
    goals: Sequence[Goal] = ()
    check: Callable[[Mapping[str, Any]], list[str]] = lambda answers: []
    figures: Callable[[Mapping[str, Outcome]], dict[str, float]] = lambda outcomes: {}
    """Figures of Millrace beside its seconds, such as bytes over bytes, for the goals that name them."""
    notes: Sequence[str] = field(default_factory=tuple)


def peer(script: str, *arguments: str) -> list[str]:
    """The command of a peer's script."""
    return [sys.executable, str(PEERS / script), *arguments]


def job(script: str, *arguments: str) -> list[str]:
    """The command of one of Millrace's own scripts."""
    return [sys.executable, f"mrjobs/{script}.py", *arguments]


def millrace(*arguments: str) -> list[str]:
    """The command `millrace`."""
    return [str(Path(sys.executable).with_name("millrace")), *arguments]
