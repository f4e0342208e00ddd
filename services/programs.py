"""Programs of the machine that a service is built with or runs on, installed by apt where that is allowed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from services.place import Say


@dataclass(frozen=True)
class Program:
    """A program, how it tells its version, the lowest that serves, and its Debian package."""

    command: str
    version: tuple[str, ...]
    least: tuple[int, ...]
    package: str

    def problem(self) -> str | None:
        """Why this program doesn't serve; nothing where it does."""
        if shutil.which(self.command) is None:
            return f"no {self.command} on PATH"
        run = subprocess.run([self.command, *self.version], capture_output=True, text=True, check=False)
        found = re.search(r"(\d+(?:\.\d+)+)", run.stdout + run.stderr)
        if found is None:
            return f"`{self.command} {' '.join(self.version)}` tells no version"
        if tuple(int(part) for part in found[1].split(".")) < self.least:
            return f"{self.command} is {found[1]}, expected {'.'.join(map(str, self.least))} or newer"
        return None


JAVA = Program("java", ("-version",), (11,), "openjdk-17-jre-headless")
MAVEN = Program("mvn", ("-version",), (3, 6), "maven")
GO = Program("go", ("version",), (1, 21), "golang")


def provide(programs: Iterable[Program], say: Say) -> list[str]:
    """Install with apt what is missing, where this user may; returns what is still wrong, in words."""
    absent = [program for program in programs if program.problem()]
    if absent and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {', '.join(program.package for program in absent)} with apt")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, stdout=subprocess.DEVNULL, check=False)
        for program in absent:
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", program.package]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    return [problem for program in programs if (problem := program.problem())]
