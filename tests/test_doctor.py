"""`millrace doctor`: what is wrong with a store or a runner is told in words, soon, and without a secret."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.doctor import Finding, examine
from millrace.errors import ServiceError
from millrace.mapreduce.store_fs import remove
from millrace.storage.commits import Commit
from millrace.storage.parts import PartWriter
from millrace.storage.tables import Table
from tests.services_fixture import EmrFacts, HadoopFacts, MinioFacts
from tests.stores_of_trouble import always, ignores_conditions, serving

Diagnose = Callable[[dict[str, Any]], dict[str, Finding]]


@pytest.fixture
def diagnose(tmp_path: Path) -> Iterator[Diagnose]:
    """The findings of a profile, by name. The environment is as it was, afterwards."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("AWS_", "HADOOP_"))]:
        del os.environ[name]
    os.environ |= {
        "MILLRACE_HOME": str(tmp_path / "home"),
        "MILLRACE_PROFILES": str(tmp_path),
        "MILLRACE_PIPELINES": str(tmp_path / "pipelines"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def go(settings: dict[str, Any]) -> dict[str, Finding]:
        (tmp_path / "mine.yaml").write_text(json.dumps(settings))
        return {finding.name: finding for finding in examine("mine")}

    yield go
    os.environ.clear()
    os.environ.update(before)


def test_kernels_that_were_not_built_are_told(diagnose: Diagnose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.data.native.kernels", None)
    finding = diagnose({})["kernels"]
    assert finding.ok
    assert "C compiler" in finding.words


@pytest.fixture
def keys(minio: MinioFacts, diagnose: Diagnose) -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": minio.access_key, "AWS_SECRET_ACCESS_KEY": minio.secret_key}


@pytest.fixture
def bucket(minio: MinioFacts, keys: None) -> Iterator[str]:
    """A root of its own."""
    root = f"s3://{minio.bucket}/{uuid.uuid4().hex}"
    yield root
    os.environ |= minio.variables
    remove(root)


def s3(root: str, endpoint: str) -> dict[str, Any]:
    return {"root": root, "s3": {"endpoint": endpoint, "region": "us-east-1"}}


def wrong(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.words for name, finding in found.items() if not finding.ok}


def test_a_store_that_has_all_it_needs(diagnose: Diagnose, minio: MinioFacts, bucket: str) -> None:
    found = diagnose(s3(bucket, minio.endpoint))
    assert wrong(found) == {}
    assert found["S3: keys"].words == "keys found by env"
    assert found["S3: conditional put"].words == "of two writers of one object the second is refused"


def test_a_store_that_ignores_conditions_is_refused(diagnose: Diagnose, minio: MinioFacts, bucket: str) -> None:
    with serving(ignores_conditions(minio)) as address:
        found = diagnose(s3(bucket, address))
        assert found["S3: bucket"].ok
        words = wrong(found)["S3: conditional put"]
        assert "two writers would overwrite each other's commits" in words
        assert "only one run at a time writes to this root" in words
        assert wrong(found)["tables"] == "not looked at: the store comes first"


def test_a_run_refuses_it_before_its_first_commit(diagnose: Diagnose, minio: MinioFacts, bucket: str) -> None:
    os.environ |= minio.variables
    table = Table(f"{bucket}/t")
    schema = pa.schema([("x", pa.int64()), ("data_interval", pa.string())])
    with PartWriter(table.uri, {"data_interval": "all"}, schema) as writer:
        writer.write(pa.table({"x": [1]}))
        part = writer.close()
    with serving(ignores_conditions(minio)) as address:
        os.environ["AWS_ENDPOINT_URL"] = address
        with pytest.raises(ServiceError, match="If-None-Match"):
            table.commit(Commit([part], schema, "a"))
        assert not table.exists()


@pytest.mark.usefixtures("keys")
def test_a_bucket_that_is_missing(diagnose: Diagnose, minio: MinioFacts) -> None:
    assert (
        "no such bucket: expected a bucket nowhere at"
        in wrong(diagnose(s3("s3://nowhere", minio.endpoint)))["S3: bucket"]
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AWS_ACCESS_KEY_ID", "doesn't know the access key"),
        ("AWS_SECRET_ACCESS_KEY", "doesn't belong to the access key"),
    ],
)
@pytest.mark.usefixtures("keys")
def test_a_wrong_key_is_told_and_never_shown(diagnose: Diagnose, minio: MinioFacts, name: str, words: str) -> None:
    os.environ[name] = "0123456789abcdef"
    found = diagnose(s3(f"s3://{minio.bucket}", minio.endpoint))
    assert words in wrong(found)["S3: bucket"]
    told = json.dumps([finding.model_dump() for finding in found.values()])
    assert not [os.environ[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if os.environ[key] in told]


def test_no_keys_at_all(diagnose: Diagnose, minio: MinioFacts, tmp_path: Path) -> None:
    os.environ |= {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), "AWS_CONFIG_FILE": str(tmp_path / "none")}
    assert "set AWS_ACCESS_KEY_ID" in wrong(diagnose(s3("s3://b", minio.endpoint)))["S3: keys"]


@pytest.mark.usefixtures("keys")
def test_a_wrong_address(diagnose: Diagnose, minio: MinioFacts) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert "the store doesn't answer" in wrong(diagnose(s3("s3://b", closed)))["S3: bucket"]
    assert (
        "no TLS with the store"
        in wrong(diagnose(s3("s3://b", minio.endpoint.replace("http:", "https:"))))["S3: bucket"]
    )
    with serving(always(200, b"<html>welcome</html>")) as address:
        assert "doesn't speak S3" in wrong(diagnose(s3("s3://b", address)))["S3: bucket"]


@pytest.mark.usefixtures("keys")
def test_a_clock_that_is_wrong(diagnose: Diagnose) -> None:
    told = b"<Error><Code>RequestTimeTooSkewed</Code><Message>too large</Message></Error>"
    with serving(always(403, told, {"Date": "Mon, 05 Jan 2026 12:00:00 GMT"})) as address:
        words = wrong(diagnose(s3("s3://b", address)))["S3: bucket"]
    assert "at most 15 minutes between them; found -" in words


def test_hadoop(diagnose: Diagnose, hadoop: HadoopFacts) -> None:
    os.environ |= hadoop.variables
    settings = {"root": f"{hadoop.namenode}/{uuid.uuid4().hex}", "runner": "hadoop", "hadoop": {"bin": str(hadoop.bin)}}
    found = diagnose(settings)
    assert wrong(found) == {}
    assert found["hadoop command"].words.startswith("Hadoop 3.4.2 at ")
    assert found["YARN"].words.endswith("active nodes: 1")
    assert "can't be seen from here" in found["nodes"].words
    os.environ["HADOOP_CONF_DIR"] = os.environ["HADOOP_HOME"] = "/nowhere"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings |= {"root": f"hdfs://127.0.0.1:{free.getsockname()[1]}/x", "hadoop": {"bin": "no-hadoop"}}
        told = wrong(diagnose(settings))
    assert "the NameNode of HDFS doesn't answer" in told["HDFS"]
    assert "expected no-hadoop; found no such program" in told["hadoop command"]
    assert "set hadoop.streaming_jar" in told["hadoop streaming"]
    assert "set HADOOP_CONF_DIR" in told["YARN"]


def test_emr(diagnose: Diagnose, minio: MinioFacts, emr: EmrFacts, bucket: str) -> None:
    os.environ |= emr.variables
    settings = s3(bucket, minio.endpoint) | {"runner": "emr"}
    assert wrong(diagnose(settings)) == {}
    assert "expected emr-7" in wrong(diagnose(settings | {"emr": {"release": "emr-5.36.0"}}))["EMR"]
