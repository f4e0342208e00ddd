"""Hadoop as `make services` starts it: real HDFS, real YARN, MinIO as s3."""

from __future__ import annotations

import os
import subprocess
import uuid

import pytest

from services.place import default_place

pytestmark = pytest.mark.services


@pytest.fixture
def shell(hadoop):
    def run(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = os.environ | hadoop.variables
        command = [str(hadoop.bin), *words]
        return subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_streaming_job_reads_hdfs_and_writes_to_the_object_store(hadoop, minio, shell):
    folder = f"/{uuid.uuid4().hex}"
    output = f"s3://{minio.bucket}{folder}"
    assert shell("fs", "-mkdir", folder).returncode == 0
    assert shell("fs", "-put", "-", f"{folder}/lines", given="b\na\nb\n").returncode == 0
    words = ["-input", folder, "-output", output, "-mapper", "cat", "-reducer", "uniq -c"]
    job = shell("jar", str(hadoop.streaming_jar), "-D", "mapreduce.job.reduces=1", *words)
    assert job.returncode == 0, job.stderr
    counts = shell("fs", "-cat", f"{output}/part-*").stdout.split()
    assert counts == ["1", "a", "2", "b"]


def test_no_key_is_in_settings_or_logs(hadoop, minio):
    files = [*hadoop.conf.iterdir(), *(default_place().folder("logs")).iterdir()]
    assert not [file for file in files if minio.secret_key in file.read_text(errors="replace")]
