"""Probes of a store: is it there, does it know us, does it keep what is written, does it let one of two writers win?

Each probe returns words for people, or raises a MillraceError that says what was expected, what was found and what to
do. None of them waits for more than about half a minute, and none tells a secret.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from millrace.errors import MillraceError, ProfileError, ServiceError
from millrace.storage.files import filesystem, open_output
from millrace.storage.object_store import S3_VARIABLES

SECONDS_TO_CONNECT, SECONDS_TO_ANSWER, ATTEMPTS = 3, 10, 2
SKEW = 15 * 60  # seconds that S3 lets clocks differ
LOCK = "use a store that honours it (Amazon S3, MinIO), or take care that only one run at a time writes to this root"
REFUSED = {
    "InvalidAccessKeyId": "the store doesn't know the access key",
    "SignatureDoesNotMatch": "the secret key doesn't belong to the access key",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is wrong",
    "AccessDenied": "the keys are known, but may not do this",
}


def credentials() -> str:
    """Where keys for S3 come from. Raises ProfileError where there are none."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        found = boto3.Session().get_credentials()
    except BotoCoreError as error:
        raise ProfileError("the keys for S3", found=str(error)) from error
    if found is None:
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or AWS_SHARED_CREDENTIALS_FILE"
        raise ProfileError("the keys for S3", expected="keys in the environment or a file", found="none", hint=hint)
    return f"keys found by {found.method}"


def reach_s3(uri: str) -> str:
    """Ask for the bucket's contents. Raises ServiceError where that isn't answered."""
    client, bucket, _ = s3_client(uri)
    address = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    with s3_answers(uri):
        answer = client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    if answer.get("Name") != bucket:  # any page of any web server has nothing in it
        hint = "see s3.endpoint in the profile"
        raise ServiceError("this store doesn't speak S3", found=f"{address}: no list of bucket {bucket}", hint=hint)
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return f"{address} lets us see bucket {bucket}" + (f"; its clock is {_skew(date):+.0f} s from ours" if date else "")


def put_once(uri: str) -> str:
    """Put an object twice with ``If-None-Match: *``: the second must be refused.

    Raises ServiceError where it isn't: Delta commits are such puts, and two writers would overwrite each other.
    """
    from botocore.exceptions import ClientError

    client, bucket, prefix = s3_client(uri)
    key = f"{prefix}/_probe/{uuid.uuid4().hex}".lstrip("/")
    with s3_answers(uri):
        try:
            client.put_object(Bucket=bucket, Key=key, Body=b"1", IfNoneMatch="*")
            client.put_object(Bucket=bucket, Key=key, Body=b"2", IfNoneMatch="*")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
                return "of two writers of one object the second is refused"
            if code not in ("NotImplemented", "501"):
                raise
            found = "an answer that conditional puts are not implemented"
        else:
            found = "the second of two puts accepted: If-None-Match was ignored"
        finally:
            client.delete_object(Bucket=bucket, Key=key)
    raise ServiceError(
        "two writers would overwrite each other's commits on this store",
        expected="a conditional put (If-None-Match: *) of an object that is there to be refused",
        found=f"{found} at {uri}",
        hint=LOCK,
    )


def check_put_once(uri: str) -> None:
    """`put_once` on S3, asked once per process and bucket; other stores have no such choice."""
    if uri.startswith("s3"):
        bucket = "/".join(uri.split("/")[:3])
        _put_once(bucket, uri, *(os.environ.get(name) for name in S3_VARIABLES))


@lru_cache(maxsize=64)
def _put_once(bucket: str, uri: str, *environment: str | None) -> None:
    put_once(uri)


def reach_hdfs(uri: str) -> str:
    """Connect to the NameNode. Raises ServiceError where nobody listens."""
    place = urlsplit(uri)
    if place.port is None:  # a name service of HADOOP_CONF_DIR
        return f"name service {place.hostname}"
    connect(str(place.hostname), place.port, "the NameNode of HDFS", "see MILLRACE_HDFS, and whether HDFS runs")
    return f"a NameNode listens at {place.hostname}:{place.port}"


def connect(host: str, port: int, what: str, hint: str) -> None:
    """Raise ServiceError where nobody listens at an address."""
    try:
        socket.create_connection((host, port), SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise ServiceError(f"{what} doesn't answer", found=f"{host}:{port}: {error}", hint=hint) from error


def keep(uri: str) -> str:
    """Write, read, list and delete a file below a path or URI. Raises ServiceError where one of them fails."""
    system, path, _ = filesystem(uri)
    folder, content = f"{path}/_probe-{uuid.uuid4().hex}", uuid.uuid4().bytes
    step = "write"
    try:
        with open_output(system, f"{folder}/probe") as output:
            output.write(content)
        step = "read"
        with system.open_input_stream(f"{folder}/probe", compression=None) as stored:
            found = stored.read()
        step = "list"
        import pyarrow.fs as pafs

        names = [info.base_name for info in system.get_file_info(pafs.FileSelector(folder))]
        step = "delete"
        system.delete_dir(folder)
    except OSError as error:
        raise ServiceError(f"can't {step} at {uri}", found=" ".join(str(error).split())[:300]) from error
    if found != content or names != ["probe"]:
        raise ServiceError("a file isn't read or listed as it was written", found=f"{names} at {uri}")
    return f"a file was written, read, listed and deleted at {uri}"


def s3_client(uri: str) -> tuple[Any, str, str]:
    """A client that gives up soon, the bucket, and the prefix in it."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    place = urlsplit(uri)
    config = Config(
        connect_timeout=SECONDS_TO_CONNECT,
        read_timeout=SECONDS_TO_ANSWER,
        retries={"total_max_attempts": ATTEMPTS},
    )
    try:
        client = boto3.Session().client("s3", config=config, region_name=os.environ.get("AWS_REGION"))
    except (BotoCoreError, ValueError) as error:
        raise ProfileError("the address of the store", found=str(error)) from error
    return client, place.netloc, place.path.strip("/")


@contextmanager
def s3_answers(uri: str) -> Iterator[None]:
    """Turns what boto3 says into words."""
    from botocore import exceptions as boto

    address = os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    try:
        yield
    except boto.NoCredentialsError as error:
        raise ProfileError("the keys for S3", found="none") from error
    except boto.SSLError as error:
        hint = "http:// where the store speaks plain HTTP; AWS_CA_BUNDLE where it has a certificate of its own"
        raise ServiceError("no TLS with the store", found=f"{address}: {error}"[:300], hint=hint) from error
    except (boto.EndpointConnectionError, boto.HTTPClientError) as error:
        hint = "see s3.endpoint in the profile, and whether the store runs"
        raise ServiceError("the store doesn't answer", found=f"{address}: {type(error).__name__}", hint=hint) from error
    except boto.ClientError as error:
        raise _told(error, uri, address) from error
    except (boto.BotoCoreError, boto.ParamValidationError) as error:
        hint = "see s3.endpoint in the profile"
        raise ServiceError("this store doesn't speak S3", found=f"{address}: {error}"[:300], hint=hint) from error


def _told(error: Any, uri: str, address: str) -> MillraceError:
    """The words for an error that the store answered."""
    found, headers = error.response["Error"], error.response["ResponseMetadata"].get("HTTPHeaders", {})
    code, bucket = found.get("Code", ""), urlsplit(uri).netloc
    if code in ("RequestTimeTooSkewed", "RequestExpired"):
        skew = f"{_skew(headers['date']):+,.0f} s" if "date" in headers else "more"
        return ServiceError(
            "the clock of this machine or of the store is wrong",
            expected=f"at most {SKEW // 60} minutes between them",
            found=f"{skew} at {address}",
            hint="set the clock (NTP)",
        )
    if code == "NoSuchBucket":
        return ServiceError(
            "no such bucket", expected=f"a bucket {bucket} at {address}", found="none", hint="make it, or see `root`"
        )
    if code in REFUSED:
        return ServiceError("the store refuses us", found=f"{REFUSED[code]} ({code}, {address}, bucket {bucket})")
    region = headers.get("x-amz-bucket-region") or found.get("Region")
    if region or code in ("PermanentRedirect", "AuthorizationHeaderMalformed"):
        return ServiceError("the bucket is in another region", expected=region, found=os.environ.get("AWS_REGION"))
    return ServiceError("the store refuses us", found=f"{code}: {found.get('Message', '')} ({address})"[:300])


def _skew(date: str) -> float:
    """Seconds that the store's clock is before ours."""
    return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
