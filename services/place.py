"""The folder that holds all that the services need: programs, data, logs, ports and keys."""

from __future__ import annotations

import fcntl
import json
import os
import random
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below the ports that systems hand out to outgoing connections: a restart finds its own
Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """The folder of all services."""

    root: Path

    def folder(self, *names: str) -> Path:
        """A folder inside this one, made where it is missing."""
        path = self.root.joinpath(*names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log(self, daemon: str) -> Path:
        """The log file of a daemon."""
        return self.folder("logs") / f"{daemon}.log"

    @property
    def credentials(self) -> Path:
        """The keys of the object store as an AWS credentials file that its owner alone can read."""
        path = self.folder() / "credentials"
        if not path.exists():
            secret(
                path,
                f"[default]\naws_access_key_id = {secrets.token_hex(10)}\n"
                f"aws_secret_access_key = {secrets.token_hex(20)}\n",
            )
        return path

    def access(self) -> tuple[str, str]:
        """Access key and secret key of the object store."""
        values = [line.split(" = ")[1] for line in self.credentials.read_text(encoding="utf-8").splitlines()[1:]]
        return values[0], values[1]

    def ports(self, names: Sequence[str], *, fresh: bool) -> dict[str, int]:
        """The recorded ports of these names; with `fresh` (nothing of theirs runs) a taken one is replaced."""
        path = self.folder() / "ports.json"
        known: dict[str, int] = read_json(path, {})
        for name in names:
            if name not in known or (fresh and not is_free(known[name])):
                known[name] = free_port(set(known.values()))
        write(path, json.dumps(known, indent=1))
        return {name: known[name] for name in names}

    @contextmanager
    def locked(self, say: Say) -> Iterator[None]:
        """One start or stop at a time."""
        with (self.folder() / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another start or stop is at work: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def default_place() -> Place:
    """`MILLRACE_SERVICES`, or ``.services`` beside this package."""
    return Place(Path(os.environ.get("MILLRACE_SERVICES", Path(__file__).parents[1] / ".services")).absolute())


def read_json(path: Path, otherwise: Any) -> Any:
    """What a JSON file holds, or `otherwise` where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return otherwise


def write(path: Path, text: str) -> None:
    """Write a file that others read meanwhile: they find the old text or the new one, whole."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def secret(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(taken: set[int]) -> int:
    """A free loopback port outside `taken`."""
    return next(port for port in random.sample(PORTS, len(PORTS)) if port not in taken and is_free(port))
