"""Trials in parallel processes, each with benches of its own, made when a trial first needs them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.faults.losses import Bench, Losses, Trial

SECONDS = 240  # for one trial; what takes longer hangs


@dataclass(frozen=True)
class Servers:
    """What the trials reach: the variables that let clients in, and the roots on S3 and HDFS."""

    variables: Mapping[str, str]
    bucket: str
    roots: Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """A trial, what it lost, and how long it took."""

    trial: Trial
    losses: Losses
    seconds: float


def run(chunks: Sequence[Sequence[Trial]], servers: Servers, processes: int) -> Iterator[Done]:
    """The trials as they are done; each chunk in one process."""
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(chunks))
    pipes: dict[Connection, Any] = {}
    for _ in range(min(processes, len(chunks))):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, servers))
        process.start()
        theirs.close()
        pipes[ours] = process
        ours.send(waiting.pop())
    while pipes:
        for pipe in wait(list(pipes)):
            assert isinstance(pipe, Connection)
            try:
                answer = pipe.recv()
            except EOFError:
                pipes.pop(pipe).join()
                continue
            if isinstance(answer, Done):
                yield answer
            else:
                pipe.send(waiting.pop() if waiting else None)


def bench_of(kind: str, servers: Servers, stack: ExitStack) -> tuple[str, Any]:
    """The name of the bench of a kind, and how it is made."""
    from tests.faults import on_processes, on_road, on_servers, on_tables

    if kind in ("answers", "reads"):
        return "tables", lambda: on_tables.Answers(servers.variables, stack, servers.bucket)
    if kind in ("commit killed", "16 committers", "late commit"):
        return "processes", lambda: on_processes.Committers(servers.variables, stack, servers.roots)
    if kind in ("minio killed", "datanode killed"):
        return kind, lambda: on_servers.Server(kind, stack)
    if kind == "nights on s3":
        return kind, lambda: on_servers.Runs(servers.variables, stack)
    return "road", lambda: on_road.Stages(stack)


def _work(pipe: Connection, servers: Servers) -> None:
    signal.signal(signal.SIGALRM, _too_long)
    os.environ.update(servers.variables)
    benches: dict[str, Bench] = {}
    with ExitStack() as stack, contextlib.suppress(EOFError, BrokenPipeError):  # who asked is gone
        while (chunk := pipe.recv()) is not None:
            for trial in chunk:
                name, make = bench_of(trial.kind, servers, stack)
                if name not in benches:
                    benches[name] = make()
                began = time.monotonic()
                losses = _tried(benches[name], trial)
                pipe.send(Done(trial, losses, time.monotonic() - began))
            pipe.send(None)
    pipe.close()


def _tried(bench: Bench, trial: Trial) -> Losses:
    signal.alarm(SECONDS)
    try:
        return bench.trial(trial)
    except Exception:
        losses = Losses()
        losses.failed(traceback.format_exc()[-3000:])
        return losses
    finally:
        signal.alarm(0)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"a trial took more than {SECONDS} s")
