"""Runs a job on a cluster: a plan and splits flow into a work folder on the store, and the pairs flow back from it.

    <work>/<job>/plan.json        what every task gets
    <work>/<job>/manifest/00007   the splits of one map task, one a line
    <work>/<job>/shuffle/…        the rows that map tasks give to reduce tasks
    <work>/<job>/failures/…       what a task that failed says of it
    <work>/<job>/output/part-…    the pairs

All of it goes through the store's own clients; of the engine's, only the command that runs the job is started.

On EMR, which outlives its driver, the folder stays until its stage is done: a stage that is tried again, or taken up
after it waited, finds all its jobs done but the last.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from millrace.data.split import Split
from millrace.errors import MillraceError, ProfileError
from millrace.mapreduce.causes import EngineWords, probable_cause
from millrace.mapreduce.deferral import Deferral, StepRunning
from millrace.mapreduce.failures import revive
from millrace.mapreduce.job import ColumnJob, JobPlan, JsonPairs
from millrace.mapreduce.manifest import balance, weight
from millrace.mapreduce.pack import FOLDER, pack
from millrace.mapreduce.store_fs import remove
from millrace.mapreduce.task import SPARK_DAEMON
from millrace.profiles import Profile
from millrace.storage.files import filesystem, open_output

log = logging.getLogger("mrjob.millrace")
TASK_WEIGHT = 8 << 20  # bytes of plain text: about what is worth starting a task for
MAP_TASKS = 16


@dataclass(frozen=True)
class Outcome:
    """What a job put out, sorted, and the counters of its engine (group → counter → amount).

    `kept` is the work folder where it stays: the caller removes it when the pairs are of no more use.
    """

    pairs: list[tuple[str, Any]]
    counters: dict[str, dict[str, int]]
    kept: str | None = None


def run_on_cluster(
    job: type[ColumnJob],
    plan: JobPlan,
    splits: Sequence[Split],
    profile: Profile,
    *,
    name: str | None = None,
    deferral: Deferral | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> Outcome:
    """Run `job` over `splits` on the profile's runner: the same pairs as everywhere else.

    `name` is the same for every attempt at the same work: on EMR, which outlives its driver, the step of an earlier
    attempt is followed instead of adding another. With a `deferral` nobody waits for such a step. `say` is told of
    progress.

    Raises the MillraceError that a task raised, SplitFailed with the engine's own last words where it left none,
    ProfileError where the engine can't be started, StepRunning where a deferred step isn't done.
    """
    if not splits:
        return Outcome([], {})
    name = name or job.__name__.lower()
    own = name if profile.runner == "emr" else f"{name}-{uuid.uuid4().hex[:8]}"  # two drivers at once don't meet
    folder = Work(work_folder(profile), own)
    params = plan.params | ({"shuffle": folder.uri("shuffle")} if "shuffle" in plan.params else {})
    plan = plan.model_copy(update={"failures": folder.uri("failures"), "params": params})
    folder.write("plan.json", plan.model_dump_json())
    tasks = write_manifests(folder, splits, tasks_for(splits, profile))
    words = EngineWords(say)
    try:
        with words.listening():
            counters = _start(job, folder, profile, len(tasks), deferral)
        pairs = sorted(line for text in folder.read_all("output", "part-") for line in text.splitlines())
    except StepRunning:
        raise
    except MillraceError:
        folder.remove()
        raise
    except Exception as error:
        told = [revive(json.loads(text)) for text in folder.read_all("failures", "")]
        folder.remove()
        if told:
            raise told[0] from error
        raise probable_cause(words.last, str(error), job.__name__, profile, tasks) from error
    except BaseException:  # the driver is told to end; what EMR runs, the next attempt follows
        if profile.runner != "emr":
            folder.remove()
        raise
    if profile.runner != "emr":
        folder.remove()
    kept = folder.uri() if profile.runner == "emr" else None
    return Outcome([JsonPairs().read(line) for line in pairs], counters, kept)


def work_folder(profile: Profile) -> str:
    """Where a cluster's jobs keep their files: `work` of the profile, else a folder below its root."""
    if profile.work is not None:
        return profile.work.rstrip("/")
    if profile.runner == "spark" and profile.spark.master.startswith("local"):
        return str(profile.home / "work")
    return f"{profile.root}/_work"


def pack_folder(profile: Profile) -> str:
    """Where the worker environment is: one for all pipelines of the profile."""
    return f"{work_folder(profile)}/{FOLDER}"


def needs_pack(profile: Profile) -> bool:
    """Whether tasks work on machines that have none of our packages."""
    return profile.runner in ("hadoop", "emr") or (
        profile.runner == "spark" and not profile.spark.master.startswith("local")
    )


def tasks_for(splits: Sequence[Split], profile: Profile) -> int:
    """How many map tasks, and reduce tasks: as many as the profile allows, where each has enough to do."""
    worth = -(-sum(map(weight, splits)) // TASK_WEIGHT)
    return max(1, min(profile.tasks or MAP_TASKS, worth))


def write_manifests(folder: Work, splits: Sequence[Split], tasks: int) -> list[list[Split]]:
    """The splits of each map task, balanced and written down. Engines number map tasks by the size of what they read,
    the longest first: so are the manifests, and a failed task's number tells its splits."""
    groups = [[splits[index] for index in group] for group in balance([weight(split) for split in splits], tasks)]
    texts = ["".join(f"{split.to_json()}\n" for split in group) for group in groups]
    order = sorted(range(len(groups)), key=lambda number: -len(texts[number].encode()))
    for number, group in enumerate(order):
        folder.write(f"manifest/{number:05d}", texts[group])
    return [groups[group] for group in order]


class Work:
    """The work folder of one job."""

    def __init__(self, base: str, name: str) -> None:
        self.base, self.name = base, name
        self._system, path, self._prefix = filesystem(base)
        self._path = f"{path}/{name}"

    def uri(self, name: str = "") -> str:
        """The full name of something in it."""
        return f"{self._prefix}{self._path}/{name}".rstrip("/")

    def write(self, name: str, text: str) -> None:
        with open_output(self._system, f"{self._path}/{name}") as file:
            file.write(text.encode())

    def read_all(self, name: str, prefix: str) -> Iterator[bytes]:
        """The contents of the files of a folder, in order of name."""
        selector = pafs.FileSelector(f"{self._path}/{name}", allow_not_found=True)
        for info in sorted(self._system.get_file_info(selector), key=lambda info: info.path):
            if info.type == pafs.FileType.File and info.base_name.startswith(prefix):
                with self._system.open_input_stream(info.path, compression=None) as stream:
                    yield stream.read()

    def remove(self) -> None:
        remove(self.uri())


def _start(
    job: type[ColumnJob], folder: Work, profile: Profile, tasks: int, deferral: Deferral | None
) -> dict[str, Any]:
    """Run the engine's command and wait; the job's counters. A reduce phase has as many tasks as the map phase, where
    the profile doesn't say otherwise: the rows that are shuffled are about those that are read."""
    engine = {"hadoop": hadoop_options, "spark": spark_options, "emr": emr_step_options}[profile.runner]
    reduces = job.reduce_key is not ColumnJob.reduce_key
    args = ["-r", profile.runner, "--plan", folder.uri("plan.json"), "--output-dir", folder.uri("output")]
    args += settings({REDUCES: str(tasks)}) if reduces else []
    args += engine(folder, profile)
    args += [] if reduces else settings({REDUCES: "0"})
    with tempfile.TemporaryDirectory(prefix="millrace-job-") as local:  # where `millrace vacuum` looks, too
        args += ["--cleanup", "LOCAL_TMP", "--local-tmp-dir", local, "--no-cat-output", folder.uri("manifest")]
        started = job(args)
        with started.make_runner() as runner:
            runner.deferral = deferral
            runner.run()
            return merged(runner.counters())


def merged(counters: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """The counters of all steps, added.

    >>> merged([{"g": {"a": 1}}, {"g": {"a": 2, "b": 3}}])
    {'g': {'a': 3, 'b': 3}}
    """
    total: dict[str, dict[str, int]] = {}
    for step in counters:
        for group, amounts in step.items():
            for name, amount in amounts.items():
                total.setdefault(group, {})[name] = total.get(group, {}).get(name, 0) + amount
    return total


def environment_options(profile: Profile, python: str) -> list[str]:
    """The worker environment of every task: the archives, the interpreter, and the address of the store."""
    found = pack(pack_folder(profile), log.info)
    options = ["--python-bin", python, "--no-bootstrap-mrjob"]
    if profile.runner == "spark":
        options += [word for archive in found.archives for word in ("--archive", archive)]
    else:  # as an option, Hadoop would copy them from S3 to HDFS for each job, and each node would unpack them anew
        options += settings({"mapreduce.job.cache.archives": ",".join(found.archives)})
    for name, value in {**profile.environment, "PYTHONPATH": found.python_path}.items():
        options += ["--cmdenv", f"{name}={value}"]
    return options


def settings(values: Mapping[str, str]) -> list[str]:
    """Settings of a job, as options of mrjob."""
    return [text for key, value in values.items() for text in ("-D", f"{key}={value}")]


REDUCES = "mapreduce.job.reduces"
"""How many reduce tasks there are; mrjob tells it to Spark too."""

MANIFEST_UNCUT = {"mapreduce.input.fileinputformat.split.minsize": str(1 << 40)}
"""One file, one task: a manifest is never cut."""

HADOOP_DEFAULTS = {
    "mapreduce.job.name": "millrace",
    "mapreduce.map.maxattempts": "2",
    "mapreduce.reduce.maxattempts": "2",
    **MANIFEST_UNCUT,
    "mapreduce.fileoutputcommitter.algorithm.version": "1",
    "mapreduce.jobhistory.jhist.format": "json",  # mrjob can't read the binary one, and finds no cause of a failure
}


def hadoop_options(folder: Work, profile: Profile) -> list[str]:
    """mrjob's options for the profile's Hadoop cluster."""
    hadoop = profile.hadoop
    require_command(hadoop.bin, "hadoop.bin", profile)
    options = environment_options(profile, hadoop.python)
    options += ["--hadoop-bin", hadoop.bin, "--hadoop-tmp-dir", f"{folder.uri()}/mrjob"]
    if hadoop.streaming_jar is not None:
        options += ["--hadoop-streaming-jar", hadoop.streaming_jar]
    return [*options, *settings(HADOOP_DEFAULTS | {"mapreduce.job.name": folder.name} | hadoop.jobconf)]


def emr_step_options(folder: Work, profile: Profile) -> list[str]:
    """mrjob's options for a step on the profile's EMR clusters."""
    from millrace.mapreduce.emr import emr_options  # boto3 takes half a second to import

    options = environment_options(profile, profile.emr.python)
    options += emr_options(folder.name, folder.uri(), profile)
    return [*options, *settings(HADOOP_DEFAULTS | {"mapreduce.job.name": folder.name} | profile.emr.jobconf)]


def spark_options(folder: Work, profile: Profile) -> list[str]:
    """mrjob's options for the profile's Spark cluster; a local one needs no archives."""
    spark = profile.spark
    conf = {f"spark.hadoop.{key}": value for key, value in MANIFEST_UNCUT.items()}
    options = ["--spark-master", spark.master, "--spark-tmp-dir", f"{folder.uri()}/mrjob"]
    if spark.deploy_mode is not None:
        options += ["--spark-deploy-mode", spark.deploy_mode]
    if spark.submit is not None:
        require_command(spark.submit, "spark.submit", profile)
        options += ["--spark-submit-bin", spark.submit]
    if needs_pack(profile):
        options += environment_options(profile, spark.python or "python3")
        conf["spark.python.daemon.module"] = SPARK_DAEMON
    else:
        options += ["--python-bin", spark.python or sys.executable, "--no-bootstrap-mrjob"]
    return [*options, *settings(conf | spark.conf)]


def require_command(command: str, setting: str, profile: Profile) -> None:
    """Raise ProfileError where the command that starts jobs isn't there: mrjob would end without a word."""
    if shutil.which(command) is None:
        hint = f"let {setting} of the profile {profile.name} name it"
        raise ProfileError(f"no command to start a job on {profile.runner}", found=f"no program {command}", hint=hint)
