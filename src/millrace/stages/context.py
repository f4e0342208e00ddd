"""What every stage is given (`Run`) and gives back (`StageResult`), and how a stage finds the intervals it must do.

Each table keeps, with every commit, one token per interval: a hash of all that the interval's rows were made from
(source files or upstream token, and the part of the pipeline file that shapes them). An interval is stale where the
token of now differs from the token kept. The first night, a late file, a changed rule and a rerun are thus one case.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from millrace import intervals
from millrace.data.split import Split
from millrace.errors import UncertainCut
from millrace.profiles import Profile, check_reach
from millrace.runner_names import CLUSTERS, Runner
from millrace.spec import Duration, Method, Pipeline, format_duration
from millrace.storage.ledger import Ledger

if TYPE_CHECKING:  # slow to import: what only looks at tables starts no job, and a job by hand has no tables
    from millrace.mapreduce.deferral import Deferral
    from millrace.mapreduce.job import ColumnJob, JobPlan
    from millrace.storage.tables import Table

T = TypeVar("T")

LITTLE_WORK = 4 << 20  # bytes of plain text: about a second of work
STAGE_OF = {"sharded": "shard", "evaluation": "evaluate", "scores": "score", "quarantine": "clean"}
"""The stage that makes a table, where the two have different names."""


class Options(BaseModel):
    """What one run changes of the pipeline file: the form of the Airflow trigger, or flags of `millrace run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Duration | None = None
    sample_method: Method | None = None
    sample_rows: int | None = Field(None, ge=1)
    runner: Runner | None = None
    force: bool = False
    approved: bool = False


class StageResult(BaseModel):
    """What a stage did: the table and version that hold its output, its ledger, and a few small facts."""

    model_config = ConfigDict(frozen=True)

    stage: str
    table: str | None = None
    version: int | None = None
    ledger: Ledger | None = None
    seconds: float = 0.0
    details: dict[str, Any] = {}


@dataclass(frozen=True)
class Run:
    """One run of a pipeline for one data interval: where it works, what it was told, and who hears of progress."""

    pipeline: Pipeline
    profile: Profile
    date: str
    options: Options = field(default_factory=Options)
    upstream: Mapping[str, int] = field(default_factory=dict)
    say: Callable[[str], None] = lambda words: None
    deferral: Deferral | None = None
    """On EMR, raise StepRunning instead of waiting for a step; the stage is called again when the step has ended."""
    held: list[str] = field(default_factory=list)
    """What other attempts at this stage would need: removed from the store when it is done."""
    started: float = field(default_factory=time.monotonic)

    @property
    def kind(self) -> Any:
        """The kind of the pipeline's intervals."""
        return self.pipeline.source.interval

    @property
    def name(self) -> str:
        """The interval and, in a what-if run, what its options change of the pipeline file.

        Its report and its commits go by this name, so that they are told from the night's own.
        ``2026-01-31``, or ``2026-01-31_window-30d_sample-random_rows-5000``.
        """
        options, usual = self.options, self.pipeline
        found = [self.date]
        if options.window not in (None, usual.window):
            found.append(f"window-{format_duration(options.window)}")
        if options.sample_method not in (None, usual.sample.method):
            found.append(f"sample-{options.sample_method}")
        if options.sample_rows not in (None, usual.sample.rows):
            found.append(f"rows-{options.sample_rows}")
        return "_".join(found)

    def window(self) -> list[str]:
        """The intervals of the window that ends with this run's interval, oldest first."""
        return intervals.window(self.date, self.kind, self.options.window or self.pipeline.window)

    def runner(self) -> str:
        """The mrjob runner of this run."""
        return self.options.runner or self.profile.runner

    def table(self, stage: str) -> Table:
        """The table of a stage."""
        from millrace.storage.tables import Table

        return Table(self.profile.table_uri(self.pipeline.name, stage))

    def version(self, stage: str) -> int | None:
        """The version of a stage's table that this run reads: as told by the earlier stage, else the newest."""
        told = self.upstream.get(STAGE_OF.get(stage, stage))
        if told is not None and stage != "quarantine":
            return told
        return self.table(stage).newest()

    def tokens(self, stage: str) -> dict[str, str]:
        """Interval → token of the version of a stage's table that this run reads; empty where there is none."""
        version = self.version(stage)
        return {} if version is None else dict(self.table(stage).details(version).get("tokens", {}))

    def transaction(self, stage: str, *inputs: object) -> str:
        """The application transaction id of a commit: pipeline, stage, the run's name and a hash of all inputs."""
        return f"{self.pipeline.name}/{stage}/{self.name}/{digest(*inputs)}"

    @contextlib.contextmanager
    def shuffle_folder(self) -> Iterator[str]:
        """A folder that all tasks of a job reach, gone afterwards; on a cluster, one in the job's own work folder."""
        if self.runner() in CLUSTERS:
            yield ""
            return
        folder = self.profile.home / "shuffle"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            yield name

    def run_job(self, job: type[ColumnJob], plan: JobPlan, splits: Sequence[Split]) -> list[tuple[str, Any]]:
        """The pairs of a job on this run's runner, with progress told; the same on every runner.

        Where nobody asked for a runner, little work is done in this process: it takes less time than starting tasks.
        """
        words, runner = job.__name__.lower(), self.runner()
        if runner in CLUSTERS:
            return self._run_on_cluster(job, plan, splits)
        from millrace.mapreduce.manifest import weight
        from millrace.mapreduce.run import run_job

        if self.options.runner is None and runner == "local" and sum(map(weight, splits)) < LITTLE_WORK:
            runner = "inline"
        return run_job(job, plan, splits, runner=runner, tasks=self.profile.tasks, progress=self.progress(words))

    def with_guessed_cuts(self, work: Callable[..., T]) -> T:
        """What `work(numbered=False)` gives; where a guessed cut may be wrong, what `work(numbered=True)` does.

        On EMR that is kept for the stage's other attempts, which else would submit the step that failed again.
        """
        uncertain = f"{self.date}/uncertain cuts"
        if not self._is_settled(uncertain):
            try:
                return work(numbered=False)
            except UncertainCut:
                self.settled(uncertain, lambda: "true")
        return work(numbered=True)

    def _run_on_cluster(self, job: type[ColumnJob], plan: JobPlan, splits: Sequence[Split]) -> list[tuple[str, Any]]:
        """As `run_job`; the job's name is that of its work, so that another attempt finds what an earlier one began."""
        from millrace.mapreduce.cluster import run_on_cluster

        words = job.__name__.lower()
        self.say(f"{words}: {len(splits)} splits on {self.runner()}")
        params = {key: value for key, value in plan.params.items() if key != "shuffle"}
        work = digest(plan.model_copy(update={"params": params}), [split.to_json() for split in splits])
        name = f"{self.pipeline.name}-{words}-{self.date}-{work}"
        outcome = run_on_cluster(
            job,
            plan,
            splits,
            self.cluster(),
            name=name,
            deferral=self.deferral,
            say=lambda text: self.say(f"{words}: {text}"),
        )
        self.held.extend([outcome.kept] if outcome.kept else [])
        self.say(f"{words}: {told_counters(outcome.counters)}")
        return outcome.pairs

    def settled(self, name: str, decide: Callable[[], str]) -> str:
        """What `decide` says, as text; the same for every attempt at a stage on EMR, where it shapes the work that
        another attempt must find."""
        if self.runner() != "emr":
            return decide()
        from millrace.storage.files import exists, open_input, write_file

        uri = self._settled_uri(name)
        if not exists(uri):
            write_file(uri, decide().encode())
        self.held.append(uri)
        with open_input(uri) as file:
            return str(file.read().decode())

    def _is_settled(self, name: str) -> bool:
        """Whether another attempt has `settled` this, which then is there until the stage is done."""
        from millrace.storage.files import exists

        found = self.runner() == "emr" and exists(self._settled_uri(name))
        self.held.extend([self._settled_uri(name)] if found else [])
        return found

    def _settled_uri(self, name: str) -> str:
        from millrace.mapreduce.cluster import work_folder

        return f"{work_folder(self.cluster())}/{self.pipeline.name}-settled-{digest(name)}.json"

    def release(self) -> None:
        """The stage is done: remove what was held for other attempts."""
        from millrace.mapreduce.store_fs import remove

        for uri in self.held:
            remove(uri)
        self.held.clear()

    def cluster(self) -> Profile:
        """The profile with this run's runner. Raises ProfileError where its nodes don't reach the tables."""
        found = self.profile.model_copy(update={"runner": self.runner()})
        check_reach(found)
        return found

    def job_plan(self, out: str, **params: Any) -> JobPlan:
        """The plan of a job that writes below `out`."""
        from millrace.mapreduce.job import JobPlan

        return JobPlan(pipeline=self.pipeline, out=out, params=params)

    def part_splits(self, name: str, version: int, wanted: Collection[str]) -> list[Split]:
        """Splits of the files of these intervals of a table's version."""
        from millrace.mapreduce.part_splits import split_parts

        table = self.table(name)
        return list(split_parts(table.uri, table.parts(version, wanted), self.profile.split_bytes))

    def progress(self, words: str) -> Callable[[int, int], None]:
        """A progress callback for a job that tells splits done of all, at most once a second."""
        last = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal last
            if done == total or time.monotonic() - last > 1:
                last = time.monotonic()
                self.say(f"{words}: {done} of {total} splits")

        return tell


TOLD = {
    "Launched map tasks": "map tasks",
    "Launched reduce tasks": "reduce tasks",
    "Failed map tasks": "map tasks failed",
    "Failed reduce tasks": "reduce tasks failed",
    "splits": "splits",
}
"""The counters of an engine that a person wants to see, and their words."""


def told_counters(counters: Mapping[str, Mapping[str, int]]) -> str:
    """The counters of a job in words.

    >>> told_counters({"millrace": {"splits": 8}, "Job Counters": {"Launched map tasks": 4, "Other": 3}})
    '4 map tasks, 8 splits'
    """
    found = {name: amount for group in counters.values() for name, amount in group.items()}
    return ", ".join(f"{found[name]:,} {words}" for name, words in TOLD.items() if name in found) or "done"


def digest(*parts: object) -> str:
    """16 hex digits of the SHA-256 of the parts' canonical JSON.

    >>> digest("clicks", 1) == digest("clicks", 1) != digest("clicks", 2)
    True
    """
    text = json.dumps(parts, sort_keys=True, default=_jsonable, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _jsonable(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def stale(now: Mapping[str, str], kept: Mapping[str, str]) -> list[str]:
    """Intervals whose token of now isn't the token kept, in order of time.

    >>> stale({"2026-01-01": "a", "2026-01-02": "b"}, {"2026-01-01": "a"})
    ['2026-01-02']
    """
    return sorted(name for name, token in now.items() if kept.get(name) != token)


def within(tokens: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The tokens of these intervals alone."""
    wanted = set(names)
    return {name: token for name, token in tokens.items() if name in wanted}
