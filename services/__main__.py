"""`python -m services start|stop|status|env [minio hadoop emr]`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence

from millrace.errors import MillraceError
from services import holders
from services.emr import Emr
from services.hadoop import Hadoop
from services.minio import Minio
from services.place import Place, default_place
from services.programs import provide
from services.service import Service

SERVICES: dict[str, type[Service]] = {service.name: service for service in (Minio, Hadoop, Emr)}
LEFT_OUT = 3


def say(words: str) -> None:
    """A line of progress."""
    print(words, file=sys.stderr, flush=True)


def with_needs(names: Sequence[str]) -> list[str]:
    """These services and those that they need, in the order in which they start."""
    wanted = set(names)
    for name in names:
        wanted.update(SERVICES[name].needs)
    return [name for name in SERVICES if name in wanted]


def start(place: Place, names: Sequence[str], pid: int | None) -> int:
    """Start services; returns 0, or 3 where one was left out because this machine lacks its programs."""
    left_out: list[str] = []
    for name in with_needs(names):
        service = SERVICES[name](place)
        problems = [f"{need} is left out" for need in service.needs if need in left_out] or provide(
            service.programs, say
        )
        if problems:
            say(f"{name}: left out: {'; '.join(problems)}")
            left_out.append(name)
            continue
        service.prepare(say)
        service.start(say)
        holders.hold(place, name, pid)
    return LEFT_OUT if left_out else 0


def stop(place: Place, names: Sequence[str], pid: int | None) -> int:
    """End services and those that need them; with a `pid`, only those that nobody else holds."""
    for name in reversed(SERVICES):
        service = SERVICES[name](place)
        if pid is not None:
            asked = name in names and holders.release(place, name, pid)
        else:
            asked = name in names or bool(set(service.needs) & set(names))
        if asked:
            service.stop(say)
            holders.forget(place, name)
    return 0


def status(place: Place, names: Sequence[str], *, as_json: bool) -> int:
    """Tell what runs; returns 1 where one of the services asked for doesn't."""
    services = [SERVICES[name](place) for name in names]
    found = {service.name: service.missing() for service in services}
    if as_json:
        report = {
            service.name: {"running": not found[service.name], "missing": found[service.name]}
            | ({} if found[service.name] else service.facts())
            for service in services
        }
        print(json.dumps(report, indent=1))
    else:
        for name, missing in found.items():
            print(f"{name}: {missing or 'runs'}")
    return 1 if any(found.values()) else 0


def env(place: Place, names: Sequence[str], *, as_json: bool) -> int:
    """Print the variables for clients of what runs."""
    variables: dict[str, str] = {}
    for name in names:
        service = SERVICES[name](place)
        if service.running():
            variables |= service.variables()
    print(json.dumps(variables, indent=1) if as_json else "\n".join(
        f"export {key}={shlex.quote(value)}" for key, value in variables.items()
    ))  # fmt: skip
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a service failed or doesn't run, 2 wrong request, 3 left out for want of a program."""
    parser = argparse.ArgumentParser("python -m services", description="Real servers for tests, on loopback.")
    parser.add_argument("action", choices=["start", "stop", "status", "env"])
    parser.add_argument("names", nargs="*", help=f"{', '.join(SERVICES)}; all where none is named", metavar="SERVICE")
    parser.add_argument("--json", action="store_true", help="status, env: print JSON")
    parser.add_argument(
        "--for", dest="pid", type=int, help="start: until this process ends; stop: if no other needs it"
    )
    request = parser.parse_intermixed_args(words)
    if unknown := set(request.names) - set(SERVICES):
        parser.error(f"no service {', '.join(sorted(unknown))}; expected some of {', '.join(SERVICES)}")
    names = request.names or list(SERVICES)
    place = default_place()
    try:
        if request.action == "status":
            return status(place, names, as_json=request.json)
        if request.action == "env":
            return env(place, names, as_json=request.json)
        with place.locked(say):
            return (start if request.action == "start" else stop)(place, names, request.pid)
    except MillraceError as error:
        say(f"error: {error}")
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
