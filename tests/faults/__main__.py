"""`python -m tests.faults [--trials N] [--seed S] [--only KIND] [--json]`: trials, and a table of what was lost."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.faults import on_processes, on_road, on_servers, on_tables, pool
from tests.faults.losses import Trial

TRIALS = 1200
SHARES = {  # of the trials, after every point of every kind has one
    "answers": 30,
    "reads": 15,
    "commit killed": 20,
    "late commit": 6,
    "16 committers": 4,
    "driver at any time": 10,
    "task at any time": 5,
    "two drivers": 5,
    "late attempt": 5,
}
POINTS: dict[str, list[str]] = {
    "datanode killed": ["at once", "for a while"] * 3,
    "nights on s3": ["four requests a night"] * 8,
    "minio killed": ["at once", "for a while"] * 6,
    **on_road.kinds(),
    "16 committers": on_processes.RACES,
    "late commit": on_processes.LATE,
    "commit killed": on_processes.KILLS,
    "answers": on_tables.points(on_tables.WRITES),
    "reads": on_tables.points(on_tables.READS),
}
ALONE = ("datanode killed", "minio killed", "nights on s3")  # whose servers and nights are made once
CHUNK = 4
COLUMNS = ("lost_rows", "doubled_rows", "half_reads", "failed_reruns", "differences")


def plan(trials: int, seed: int, only: Sequence[str]) -> list[Trial]:
    """Each point once, as far as the number goes, then more of those that are drawn."""
    kinds = {kind: points for kind, points in POINTS.items() if not only or kind in only}
    every = [Trial(kind, point, number, seed) for kind, points in kinds.items() for number, point in enumerate(points)]
    if trials < len(every):
        step = len(every) / trials
        return [every[int(number * step)] for number in range(trials)]
    shares = {kind: SHARES.get(kind, 0) for kind in kinds}
    if not any(shares.values()):
        shares = dict.fromkeys(kinds, 1)
    rest = trials - len(every)
    for kind, share in shares.items():
        count = round(rest * share / sum(shares.values()))
        points = kinds[kind]
        every += [Trial(kind, points[n % len(points)], len(points) + n, seed) for n in range(count)]
    return every


def chunks(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The pieces of work, long ones first."""
    found = [[trial for trial in trials if trial.kind == kind] for kind in ALONE]
    for kind in POINTS:
        rest = [trial for trial in trials if trial.kind == kind and kind not in ALONE]
        found += [rest[start : start + CHUNK] for start in range(0, len(rest), CHUNK)]
    return [chunk for chunk in found if chunk]


def servers(kinds: set[str]) -> pool.Servers:
    """Start what the trials need and isn't there."""
    from services.__main__ import start
    from services.hadoop import Hadoop
    from services.minio import BUCKET, Minio
    from services.place import default_place

    place = default_place()
    names = ["minio", *(["hadoop"] if kinds & {"16 committers", "late commit", "datanode killed"} else [])]
    with place.locked(lambda words: None):
        if start(place, names, os.getpid()):
            sys.exit("these trials need MinIO and Hadoop")
    variables = (
        on_servers.keys(place) | Minio(place).variables() | (Hadoop(place).variables() if "hadoop" in names else {})
    )
    roots = {"s3": f"s3://{BUCKET}"}
    if "hadoop" in names:
        roots["hdfs"] = Hadoop(place).facts()["namenode"]
    return pool.Servers(variables, BUCKET, roots)


def release() -> None:
    """End the servers that these trials started."""
    from services.__main__ import SERVICES, stop
    from services.place import default_place

    place = default_place()
    with place.locked(lambda words: None):
        stop(place, list(SERVICES), os.getpid())


def main() -> int:
    """Exit status: 0 nothing was lost, 1 something was."""
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=list(POINTS), metavar="KIND")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--json", action="store_true")
    request = parser.parse_args()
    trials = plan(request.trials, request.seed, request.only)
    console = Console(stderr=True)
    began = time.monotonic()
    done: list[pool.Done] = []
    reached = servers({trial.kind for trial in trials})
    try:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        ) as progress:
            task = progress.add_task("trials", total=len(trials))
            for each in pool.run(chunks(trials), reached, request.processes):
                done.append(each)
                losses = sum(each.losses.any for each in done)
                progress.update(task, advance=1, description=f"{each.trial.kind}, {losses} with losses")
                if not console.is_terminal and len(done) % 50 == 0:
                    console.print(f"{len(done)} of {len(trials)} after {time.monotonic() - began:.0f} s")
                if each.losses.any:
                    progress.console.print(f"{each.trial}: {'; '.join(each.losses.notes)}", markup=False)
    finally:
        release()
    seconds = time.monotonic() - began
    rows = table(done)
    if request.json:
        document = {"trials": len(done), "seconds": round(seconds, 1), "seed": request.seed, "points": rows}
        print(json.dumps(document, indent=1))
    else:
        show(rows, f"{len(done):,} trials in {seconds:,.0f} s, seed {request.seed}")
    return 1 if any(each.losses.any for each in done) or len(done) < len(trials) else 0


def table(done: Sequence[pool.Done]) -> list[dict[str, object]]:
    """One row for each point of each kind."""
    groups: dict[tuple[str, str], list[pool.Done]] = defaultdict(list)
    for each in done:
        groups[each.trial.kind, each.trial.point].append(each)
    order = {(kind, point): number for number, (kind, point) in enumerate(
        (kind, point) for kind, points in POINTS.items() for point in points
    )}  # fmt: skip
    return [
        {
            "kind": kind,
            "point": point,
            "trials": len(group),
            "struck": sum(bool(each.losses.struck) for each in group),
            "refused": sum(bool(each.losses.refused) for each in group),
            **{name: sum(getattr(each.losses, name) for each in group) for name in COLUMNS},
            "seconds": round(sum(each.seconds for each in group), 1),
        }
        for (kind, point), group in sorted(groups.items(), key=lambda item: order[item[0]])
    ]


def show(rows: Sequence[dict[str, object]], title: str) -> None:
    """The table, and its sums by kind."""
    names = ["kind", "point", "trials", "struck", "refused", *COLUMNS, "seconds"]
    sums: dict[str, dict[str, object]] = {}
    for row in rows:
        total = sums.setdefault(str(row["kind"]), dict.fromkeys(names, 0) | {"kind": row["kind"], "point": "all"})
        for name in names[2:]:
            total[name] = total[name] + row[name]  # type: ignore[operator]
    for caption, listed in ((None, rows), (title, list(sums.values()))):
        found = Table(title=caption, box=None)
        for name in names:
            found.add_column(name.replace("_", " "), justify="left" if name in names[:2] else "right")
        for row in listed:
            found.add_row(*[f"{row[name]:,.0f}" if name == "seconds" else str(row[name]) for name in names])
        Console(width=max(Console().width, 150)).print(found)


if __name__ == "__main__":
    sys.exit(main())
