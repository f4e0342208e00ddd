"""Uploads to S3 that were never finished: those of ours that are old go."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from millrace.profiles import Profile
from millrace.spec import Column, Pipeline, Source
from millrace.stages.context import Run
from millrace.stages.maintain import vacuum_leftovers
from millrace.storage.uploads import Upload, abort_upload, unfinished_uploads
from millrace.storage.vacuum import store_now

HOUR, CENTURY = timedelta(hours=1), timedelta(days=36_525)
OURS = ("root/_models/1/model.skops", "root/_work/job/manifest/0", "root/clicks/clean/part-1.parquet")
OTHERS = ("root/clicks2/clean/part-1.parquet", "elsewhere/file")


@pytest.fixture
def s3_that_lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 that lists uploads as Amazon's does, with the bucket `bucket`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    yield client
    server.stop()


def begin(client: Any, bucket: str, key: str) -> Upload:
    return Upload(f"s3://{bucket}/{key}", client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])


def test_old_uploads_of_ours_are_given_up_and_no_others(
    s3_that_lists: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pipeline = Pipeline(
        name="clicks",
        source=Source(uri="x", interval="none"),
        columns={"a": Column(type="string", role="categorical")},
    )
    run = Run(pipeline, Profile(name="p", home=tmp_path, root="s3://bucket/root", registry="none"), "")
    ours = [str(begin(s3_that_lists, "bucket", key)) for key in OURS]
    others = [begin(s3_that_lists, "bucket", key).key for key in OTHERS]
    assert vacuum_leftovers(run, dry_run=False, grace=CENTURY) == []  # moto says of each that it was begun in 2010
    assert vacuum_leftovers(run, dry_run=True, grace=HOUR) == ours
    assert vacuum_leftovers(run, dry_run=False, grace=HOUR) == ours
    left = [upload["UploadId"] for upload in s3_that_lists.list_multipart_uploads(Bucket="bucket")["Uploads"]]
    assert sorted(left) == sorted(others)


def test_one_that_was_given_up_meanwhile_is_no_failure(s3_that_lists: Any) -> None:
    upload = begin(s3_that_lists, "bucket", "root/clicks/a")
    abort_upload(upload)
    abort_upload(upload)


@pytest.mark.services
def test_minio_lists_only_uploads_of_a_file_that_is_named(minio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a MinIO list them below a folder one day, the words in docs/emr.md are no longer true."""
    for name, value in minio.variables.items():
        monkeypatch.setenv(name, value)
    folder = f"{uuid.uuid4().hex}"
    client = boto3.Session().client("s3")
    upload = begin(client, minio.bucket, f"{folder}/file")
    after = store_now(f"s3://{minio.bucket}/{folder}") + HOUR
    named = client.list_multipart_uploads(Bucket=minio.bucket, Prefix=f"{folder}/file")["Uploads"]
    assert [each["UploadId"] for each in named] == [upload.key]
    assert unfinished_uploads(f"s3://{minio.bucket}/{folder}", after) == []
    abort_upload(upload)
    abort_upload(upload)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=minio.bucket, Prefix=f"{folder}/file")
