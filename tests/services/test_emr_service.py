"""The stand-in for EMR: clusters live as EMR's do, and mrjob's own EMR runner works on it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import uuid

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError
from pyarrow import fs

pytestmark = pytest.mark.services
EVERY_SECOND = {"Delay": 1, "MaxAttempts": 120}


@pytest.fixture
def client(emr, minio):
    return boto3.client(
        "emr", endpoint_url=emr.endpoint, region_name=emr.region,
        aws_access_key_id=minio.access_key, aws_secret_access_key=minio.secret_key,
    )  # fmt: skip


@pytest.fixture
def cluster(client, minio):
    """Starts clusters, and ends those that a test leaves."""
    started = []

    def start(*steps, alive=False):
        answer = client.run_job_flow(
            Name="test", ReleaseLabel="emr-7.12.0", LogUri=f"s3://{minio.bucket}/logs/",
            Instances={"InstanceCount": 1, "MasterInstanceType": "m5.xlarge", "KeepJobFlowAliveWhenNoSteps": alive},
            Steps=list(steps),
        )  # fmt: skip
        started.append(answer["JobFlowId"])
        return answer["JobFlowId"]

    yield start
    client.terminate_job_flows(JobFlowIds=started)


def step(*words, on_failure="CONTINUE"):
    jar = {"Jar": "command-runner.jar", "Args": list(words)}
    return {"Name": " ".join(words), "ActionOnFailure": on_failure, "HadoopJarStep": jar}


def states(client, cluster):
    return [each["Status"]["State"] for each in reversed(client.list_steps(ClusterId=cluster)["Steps"])]


def state(client, cluster):
    return client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]


def wait_for_last_step(client, cluster, status="step_complete"):
    last = client.list_steps(ClusterId=cluster)["Steps"][0]["Id"]
    client.get_waiter(status).wait(ClusterId=cluster, StepId=last, WaiterConfig=EVERY_SECOND)


def test_a_cluster_ends_after_its_last_step_and_takes_no_more(client, cluster):
    name = cluster(step("true"), step("false"), step("true"))
    client.get_waiter("cluster_terminated").wait(ClusterId=name, WaiterConfig=EVERY_SECOND)
    assert states(client, name) == ["COMPLETED", "FAILED", "COMPLETED"]
    with pytest.raises(ClientError, match="may not be modified"):
        client.add_job_flow_steps(JobFlowId=name, Steps=[step("true")])


def test_a_cluster_that_is_kept_alive_waits_for_the_next_step(client, cluster):
    name = cluster(step("true"), alive=True)
    wait_for_last_step(client, name)
    client.add_job_flow_steps(JobFlowId=name, Steps=[step("true")])
    wait_for_last_step(client, name)
    assert states(client, name) == ["COMPLETED", "COMPLETED"]
    assert state(client, name) in ("RUNNING", "WAITING")


def test_a_failed_step_ends_the_cluster_where_it_says_so(client, cluster):
    name = cluster(step("false", on_failure="TERMINATE_CLUSTER"), step("true"), alive=True)
    with pytest.raises(WaiterError, match="CANCELLED"):
        wait_for_last_step(client, name)
    assert state(client, name) == "TERMINATED_WITH_ERRORS"
    assert states(client, name) == ["FAILED", "CANCELLED"]


def test_ending_a_cluster_ends_its_running_step(client, cluster):
    name = cluster(step("sleep", "600"), alive=True)
    client.get_waiter("cluster_running").wait(ClusterId=name, WaiterConfig=EVERY_SECOND)
    client.terminate_job_flows(JobFlowIds=[name])
    client.get_waiter("cluster_terminated").wait(ClusterId=name, WaiterConfig=EVERY_SECOND)
    assert states(client, name) == ["CANCELLED"]


def test_logs_of_a_step_are_where_emr_puts_them(client, cluster, minio):
    name = cluster(step("echo", "hello"))
    client.get_waiter("cluster_terminated").wait(ClusterId=name, WaiterConfig=EVERY_SECOND)
    store = fs.S3FileSystem(
        access_key=minio.access_key, secret_key=minio.secret_key, endpoint_override=minio.endpoint, region=minio.region
    )
    number = client.list_steps(ClusterId=name)["Steps"][0]["Id"]
    with store.open_input_file(f"{minio.bucket}/logs/{name}/steps/{number}/stdout.gz") as file:
        assert gzip.decompress(file.read()) == b"hello\n"


JOB = """
from mrjob.job import MRJob
from mrjob.step import MRStep

class WordsByCount(MRJob):
    def steps(self):
        return [MRStep(mapper=self.words, reducer=self.count), MRStep(mapper=self.turn, reducer=self.gather)]

    def words(self, _, line):
        if "?" in line:
            raise ValueError("a question, on purpose")
        for word in line.split():
            yield word, 1

    def count(self, word, ones):
        yield word, sum(ones)

    def turn(self, word, count):
        yield count, word

    def gather(self, count, words):
        yield count, sorted(words)

if __name__ == "__main__":
    WordsByCount.run()
"""


@pytest.fixture
def run_on_emr(emr, minio, tmp_path):
    """Runs `JOB` on a text with mrjob's EMR runner."""
    options = {
        "emr_endpoint": emr.endpoint, "ec2_endpoint": emr.endpoint, "iam_endpoint": emr.endpoint,
        "s3_endpoint": minio.endpoint, "region": minio.region, "release_label": "emr-7.12.0",
        "applications": ["Hadoop"], "iam_service_role": "service", "iam_instance_profile": "instance",
        "bootstrap_mrjob": False, "add_steps_in_batch": True, "cloud_fs_sync_secs": 0, "check_cluster_every": 1,
        "cloud_tmp_dir": f"s3://{minio.bucket}/{uuid.uuid4().hex}/", "task_python_bin": [sys.executable],
        "jobconf": {"mapreduce.jobhistory.jhist.format": "json"},  # the only one that mrjob reads; Hadoop 3 writes Avro
        "cleanup": ["CLUSTER", "CLOUD_TMP"], "bootstrap_python": False,
    }  # fmt: skip
    (tmp_path / "mrjob.json").write_text(json.dumps({"runners": {"emr": options}}))
    (tmp_path / "job.py").write_text(JOB)

    def run(text: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "job.py", "-r", "emr", "-c", "mrjob.json", *words, "-"]
        keys = {"AWS_ACCESS_KEY_ID": minio.access_key, "AWS_SECRET_ACCESS_KEY": minio.secret_key}
        return subprocess.run(
            command, input=text, cwd=tmp_path, env=os.environ | keys, capture_output=True, text=True, check=False
        )

    return run


def test_mrjobs_own_runner_does_a_job_of_two_steps(run_on_emr):
    job = run_on_emr("a b a\nc a\n", "--no-read-logs")  # mrjob waits ten minutes for the logs of a cluster that goes on
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.splitlines()) == ['1\t["b", "c"]', '3\t["a"]']


def test_mrjobs_own_runner_finds_the_probable_cause_of_a_failure(run_on_emr):
    job = run_on_emr("a\nwhy?\n")
    assert job.returncode == 1
    assert "ValueError: a question, on purpose" in job.stderr
