"""The clients of the stores: S3 by Arrow's own client, HDFS by deltalake's (it speaks the protocol, without a JVM).

Addresses and keys come from the environment (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``,
``HADOOP_CONF_DIR``…) or from where it points to: all that a process does goes to the same store.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

SECONDS_TO_CONNECT, SECONDS_TO_ANSWER, ATTEMPTS = 5.0, 60.0, 6
S3_VARIABLES = (
    *("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"),
)


def s3() -> pafs.FileSystem:
    """S3 as the environment says; one client for each process and address."""
    return _s3(os.getpid(), *(os.environ.get(name) for name in S3_VARIABLES))


def hdfs(namenode: str) -> pafs.FileSystem:
    """The HDFS of a name node, ``host:port`` (or a name service of ``HADOOP_CONF_DIR``)."""
    return _hdfs(os.getpid(), namenode)


def delta_options(uri: str) -> dict[str, str]:
    """What deltalake needs to know to open a table: for S3 the keys, where they don't stand in the environment.

    deltalake looks for keys there and on the node; boto3 also finds those of a credentials file, a profile or a login.
    """
    if not uri.startswith("s3") or "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    keys = _session(os.getpid(), os.environ.get("AWS_PROFILE"), os.environ.get("AWS_SHARED_CREDENTIALS_FILE"))
    found = keys.get_credentials()
    if found is None:
        return {}
    now = found.get_frozen_credentials()  # boto3 renews them before they expire
    options = {"AWS_ACCESS_KEY_ID": now.access_key, "AWS_SECRET_ACCESS_KEY": now.secret_key}
    return options | ({"AWS_SESSION_TOKEN": now.token} if now.token else {})


@lru_cache(maxsize=4)
def _session(process: int, profile: str | None, file: str | None) -> Any:
    import boto3

    return boto3.Session()


@lru_cache(maxsize=4)
def _s3(process: int, endpoint: str | None, region: str | None, *keys: str | None) -> pafs.FileSystem:
    address = urlsplit(endpoint or "")
    return pafs.S3FileSystem(
        region=region,
        scheme=address.scheme or None,
        endpoint_override=address.netloc or None,
        connect_timeout=SECONDS_TO_CONNECT,
        request_timeout=SECONDS_TO_ANSWER,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        # a file is there when its close returns, and a failure to write is told where it happens
        background_writes=False,
        # a small file is one put, which may be done twice, and not three requests of which the last may not
        allow_delayed_open=True,
    )


@lru_cache(maxsize=4)
def _hdfs(process: int, namenode: str) -> pafs.FileSystem:
    from deltalake.fs import DeltaStorageHandler

    class Handler(DeltaStorageHandler):
        """deltalake's handler; its output takes only `bytes` where Arrow hands it buffers, and it knows no folders."""

        def open_output_stream(self, path: str, metadata: dict[str, str] | None = None) -> pa.PythonFile:
            return pa.PythonFile(_Bytes(self._handler.open_output_stream(path, metadata)), mode="w")

        def delete_dir(self, path: str) -> None:
            from hdfs_native import Client

            Client(f"hdfs://{namenode}").delete(f"/{path.strip('/')}", recursive=True)

    return pafs.PyFileSystem(Handler(f"hdfs://{namenode}/"))


class _Bytes:
    """An output that turns every buffer into bytes."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self.closed = False

    def write(self, data: Any) -> int:
        self._output.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        self._output.flush()

    def close(self) -> None:
        self.closed = True
        self._output.close()
