"""`-r emr`: mrjob's EMR runner, which submits a step once, however often its task is tried.

A step's name is that of its work. An attempt that finds a step of this name, still waiting, running or done, follows it
instead of adding another: a task that was killed and started again pays for one run of the job.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from mrjob.emr import EMRJobRunner
from mrjob.fs.composite import CompositeFilesystem
from mrjob.fs.local import LocalFilesystem

from millrace.mapreduce.deferral import RUNNING, Deferral, StepRunning
from millrace.mapreduce.hadoop import PackedTasks
from millrace.mapreduce.store_fs import StoreFilesystem
from millrace.mapreduce.task import task_reference
from millrace.profiles import Emr, Profile

log = logging.getLogger("mrjob.emr")
REMEMBERED = timedelta(days=2)
"""A step of an older cluster isn't looked for: its work folder is gone long since."""


class EmrRunner(PackedTasks, EMRJobRunner):
    """mrjob's EMR runner, for `ColumnJob`s.

    With a `deferral`, `run` raises StepRunning as soon as the step is submitted, unless it has ended.
    """

    deferral: Deferral | None = None
    _fs: Any

    def __init__(self, mrjob_cls: type[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._task = task_reference(mrjob_cls)

    @property
    def fs(self) -> CompositeFilesystem:
        if self._fs is None:
            self._fs = CompositeFilesystem()
            self._fs.add_fs("s3", StoreFilesystem([]))
            self._fs.add_fs("local", LocalFilesystem())
        return self._fs

    def _wait_for_logs_on_s3(self) -> None:
        """mrjob would wait for ten minutes: tasks tell failures themselves, and counters are read where they are."""

    def _step_name(self, step_num: int) -> str:
        return f"{self._opts['label']}: Step {step_num + 1} of {self._num_steps()}"

    def _launch(self) -> None:
        earlier = self._earlier_attempt()
        if earlier is not None:
            self._cluster_id, self._step_ids = earlier[0], [earlier[1]]
            log.info("following step %s on cluster %s, which an earlier attempt submitted", *reversed(earlier))
            return
        self.fs.rm(self._output_dir)  # what an attempt that failed left there
        super()._launch()

    def _finish_run(self) -> None:
        if self.deferral is not None and self._step_state() in RUNNING:
            raise StepRunning(self._cluster_id, self._step_ids[-1])
        super()._finish_run()

    def _step_state(self) -> str:
        found = self.make_emr_client().describe_step(ClusterId=self._cluster_id, StepId=self._step_ids[-1])
        return str(found["Step"]["Status"]["State"])

    def _earlier_attempt(self) -> tuple[str, str] | None:
        """Cluster and step of an earlier attempt at this work, the newest first."""
        client = self.make_emr_client()
        for cluster in self._clusters(client):
            for page in client.get_paginator("list_steps").paginate(ClusterId=cluster):
                for step in page["Steps"]:
                    if step["Name"] == self._step_name(0) and self._can_follow(step):
                        return cluster, str(step["Id"])
        return None

    def _can_follow(self, step: dict[str, Any]) -> bool:
        """Whether a step's output comes or is there (when its stage is done it is removed), or its end is awaited."""
        state = step["Status"]["State"]
        done = state == "COMPLETED" and self.fs.exists(f"{self._output_dir.rstrip('/')}/_SUCCESS")
        awaited = self.deferral is not None and step["Id"] == self.deferral.awaited
        return done or awaited or state in RUNNING

    def _clusters(self, client: Any) -> Iterator[str]:
        if self._opts["cluster_id"]:
            yield self._opts["cluster_id"]
            return
        since = datetime.now(UTC) - REMEMBERED
        for page in client.get_paginator("list_clusters").paginate(CreatedAfter=since):
            yield from (str(cluster["Id"]) for cluster in page["Clusters"])


def emr_options(name: str, work: str, profile: Profile) -> list[str]:
    """mrjob's options for the profile's clusters; `name` is that of the work, `work` its folder."""
    emr = profile.emr
    options = ["--label", name, "--owner", "millrace", "--region", profile.s3.region, "--release-label", emr.release]
    options += ["--application", "Hadoop", "--add-steps-in-batch", "--no-bootstrap-python", "--cleanup", "LOCAL_TMP"]
    options += ["--cloud-tmp-dir", f"{work}/mrjob/", "--cloud-fs-sync-secs", "0", "--no-check-input-paths"]
    options += ["--check-cluster-every", str(emr.poll_seconds), "--emr-action-on-failure", "CONTINUE"]
    if emr.streaming_jar is not None:
        options += ["--hadoop-streaming-jar", emr.streaming_jar]
    for variable, value in profile.environment.items():
        if variable == "AWS_ENDPOINT_URL":
            options += ["--s3-endpoint", value]
    return [*options, *_cluster_options(emr, profile)]


def _cluster_options(emr: Emr, profile: Profile) -> list[str]:
    if emr.cluster_id is not None:
        return ["--cluster-id", emr.cluster_id]
    options = ["--cloud-log-dir", emr.log_uri or f"{profile.root}/_logs/"]
    if emr.instance_fleets is not None:
        options += ["--instance-fleets", json.dumps(emr.instance_fleets)]
    elif emr.instance_groups is not None:
        options += ["--instance-groups", json.dumps(emr.instance_groups)]
    else:
        options += ["--instance-type", emr.instance_type, "--num-core-instances", str(emr.instances)]
    if emr.pool is not None:
        options += ["--pool-clusters", "--pool-name", emr.pool, "--max-mins-idle", str(emr.idle_minutes)]
        policy = json.dumps({"IdleTimeout": int(emr.idle_minutes * 60)})
        options += ["--extra-cluster-param", f"AutoTerminationPolicy={policy}"]
    if emr.scaling is not None:
        options += ["--extra-cluster-param", f"ManagedScalingPolicy={json.dumps({'ComputeLimits': emr.scaling})}"]
    for option, value in (
        ("--subnet", emr.subnet),
        ("--iam-service-role", emr.service_role),
        ("--iam-instance-profile", emr.instance_profile),
    ):
        options += [option, value] if value is not None else []
    for key, value in emr.tags.items():
        options += ["--tag", f"{key}={value}"]
    for command in emr.bootstrap:
        options += ["--bootstrap", command]
    return options
