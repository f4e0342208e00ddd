"""Stores that misbehave: a proxy of MinIO that ignores conditional puts, and a server with one answer for all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import requests

from tests.services_fixture import MinioFacts

DROPPED = {"connection", "transfer-encoding", "content-length", "date", "server", "keep-alive"}


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(BaseHTTPRequestHandler):
    """No lines on standard error."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def ignores_conditions(minio: MinioFacts) -> type[BaseHTTPRequestHandler]:
    """MinIO, as if it had never heard of ``If-None-Match``: such a put is done anew, without its condition."""
    client = boto3.client(
        "s3",
        endpoint_url=minio.endpoint,
        region_name=minio.region,
        aws_access_key_id=minio.access_key,
        aws_secret_access_key=minio.secret_key,
    )

    class Proxy(Quiet):
        def forward(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "If-None-Match" in self.headers:
                bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
                tag = client.put_object(Bucket=bucket, Key=key, Body=content)["ETag"]
                self.answer(200, {"ETag": tag}, b"")
                return
            found = requests.request(
                self.command, minio.endpoint + self.path, headers=dict(self.headers), data=content, timeout=30
            )
            headers = {name: value for name, value in found.headers.items() if name.lower() not in DROPPED}
            if self.command == "HEAD":
                headers["Content-Length"] = found.headers.get("Content-Length", "0")
            self.answer(found.status_code, headers, found.content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward  # noqa: N815

    return Proxy


def always(status: int, content: bytes, headers: dict[str, str] | None = None) -> type[BaseHTTPRequestHandler]:
    """A server with one answer."""

    class Server(Quiet):
        def same(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(status, headers or {}, content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = same  # noqa: N815

    return Server
