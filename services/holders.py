"""Who needs a service: a person who started it by hand, or processes (test runs) that it must outlive.

A service that was started for processes alone is ended when the last of them lets go of it or is gone.
"""

from __future__ import annotations

import json
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from services.daemon import alive
from services.place import Place, read_json, write

HAND = {"pid": 0, "born": 0.0}


def hold(place: Place, service: str, pid: int | None) -> None:
    """Note that this process needs the service; without one, a person does."""
    holder = HAND if pid is None else {"pid": pid, "born": psutil.Process(pid).create_time()}
    holders = read_json(file(place, service), [])
    if holder not in holders:
        write(file(place, service), json.dumps([*holders, holder]))


def release(place: Place, service: str, pid: int) -> bool:
    """Forget this process and those that are gone; returns whether nobody is left who needs the service."""
    known = read_json(file(place, service), None)
    if known is None:
        return False
    left = [one for one in known if one == HAND or (one["pid"] != pid and alive(one["pid"], one["born"]))]
    write(file(place, service), json.dumps(left))
    return not left


def forget(place: Place, service: str) -> None:
    """The service has ended."""
    file(place, service).unlink(missing_ok=True)


def file(place: Place, service: str) -> Path:
    """Where the holders of a service are noted."""
    return place.folder("run") / f"{service}.holders"
