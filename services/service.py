"""What every service has in common: prepare, start until it answers, tell its facts, end."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from millrace.errors import ServiceError
from services.daemon import Daemon, wait_for
from services.place import Place, Say
from services.programs import Program


class Service(ABC):
    """One service: its daemons in the order in which they start."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # services that must run before
    patience: ClassVar[float] = 90  # seconds until it must answer

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    @abstractmethod
    def programs(self) -> tuple[Program, ...]:
        """Programs that the machine must have."""

    @abstractmethod
    def prepare(self, say: Say) -> None:
        """Fetch or build what is missing in the folder; nothing the second time."""

    @abstractmethod
    def daemons(self, *, fresh: bool = False) -> list[Daemon]:
        """The server processes; `fresh` where none of them runs and their ports may change."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """How to reach it: addresses and files, never a key itself."""

    @abstractmethod
    def variables(self) -> dict[str, str]:
        """The same as environment variables that the usual clients know."""

    def before(self, say: Say) -> None:  # noqa: B027  (most need nothing)
        """What must be there before the first daemon starts."""

    def after(self) -> None:  # noqa: B027
        """What is made once all daemons answer."""

    def running(self) -> list[str]:
        """The daemons whose process runs."""
        return [daemon.name for daemon in self.daemons() if daemon.process(self.place)]

    def missing(self) -> str | None:
        """What doesn't work; nothing when every daemon runs and answers."""
        for daemon in self.daemons():
            if not daemon.process(self.place):
                return f"{daemon.name} isn't running"
            if missing := daemon.check():
                return missing
        return None

    def start(self, say: Say) -> None:
        """Start the daemons that don't run and wait until all answer.

        Raises ServiceError with the end of the log of the one that doesn't.
        """
        began = time.monotonic()
        daemons = self.daemons(fresh=not self.running())
        absent = [daemon for daemon in daemons if not daemon.process(self.place)]
        if not absent and not self.missing():
            say(f"{self.name}: runs already")
            return
        self.before(say)
        for daemon in absent:
            daemon.launch(self.place)
        if absent:
            say(f"{self.name}: starting {', '.join(daemon.name for daemon in absent)}")
        for daemon in daemons:
            problem = wait_for(daemon.check, lambda daemon=daemon: bool(daemon.process(self.place)), self.patience)  # type: ignore[misc]
            if problem:
                tail = daemon.tail(self.place)
                self.end(daemons)
                raise ServiceError(
                    f"{daemon.name} didn't start",
                    found=problem,
                    hint=f"its log is {self.place.log(daemon.name)}; `make services-stop services` starts anew\n{tail}",
                )
        self.after()
        say(f"{self.name}: answers after {time.monotonic() - began:.1f} s")

    def stop(self, say: Say) -> None:
        """End every process of this service."""
        if ended := self.end(self.daemons()):
            say(f"{self.name}: ended {', '.join(ended)}")

    def end(self, daemons: Sequence[Daemon]) -> list[str]:
        """End daemons, the last one first; returns the names of those that ran."""
        return [daemon.name for daemon in reversed(daemons) if daemon.end(self.place)]
