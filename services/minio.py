"""MinIO, an S3 server, built from its source by `go install`."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from millrace.errors import ServiceError
from services.daemon import Daemon
from services.place import HOST, Say
from services.programs import GO, Program
from services.service import Service

# The last commit of the archived repository; its release tags aren't versions that `go install` can verify.
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
BUCKET = "millrace"
REGION = "us-east-1"


class Minio(Service):
    """An S3 server with one bucket."""

    name: ClassVar[str] = "minio"

    @property
    def programs(self) -> tuple[Program, ...]:
        """Go, until the server is built."""
        return () if self.binary.exists() else (GO,)

    @property
    def binary(self) -> Path:
        """The server program; another version is another file."""
        return self.place.folder("cache") / f"minio-{VERSION}"

    @property
    def endpoint(self) -> str:
        """The address for S3 clients."""
        return f"http://{HOST}:{self.place.ports(['minio'], fresh=False)['minio']}"

    def prepare(self, say: Say) -> None:
        """Build the server: modules, objects and the result stay in the folder, and only the result is kept."""
        if self.binary.exists():
            return
        say("minio: building it from source, once; 2 to 4 minutes")
        began = time.monotonic()
        work = self.place.folder("cache", "go")
        log = self.place.log("minio-build")
        environment = os.environ | {
            "GOPATH": str(work), "GOMODCACHE": str(work / "mod"), "GOCACHE": str(work / "objects"), "GOBIN": str(work),
            "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -modcacherw -trimpath -buildvcs=false".strip(),
            "GOTOOLCHAIN": "auto", "CGO_ENABLED": "0",
        }  # fmt: skip
        command = ["go", "install", "-ldflags=-s -w", f"github.com/minio/minio@{VERSION}"]
        with log.open("wb") as output:
            status = subprocess.run(command, env=environment, cwd=work, stdout=output, stderr=output, check=False)
        if status.returncode:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise ServiceError("minio can't be built", hint=f"`go install` says, in {log}:\n{tail}")
        (work / "minio").replace(self.binary)
        shutil.rmtree(work)
        say(f"minio: built in {time.monotonic() - began:.0f} s")

    def daemons(self, *, fresh: bool = False) -> list[Daemon]:
        """The one server process."""
        port = self.place.ports(["minio"], fresh=fresh)["minio"]
        user, password = self.place.access()
        environment = {
            "MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off",
            "MINIO_REGION": REGION,
        }  # fmt: skip
        data = str(self.place.folder("minio"))
        command = [str(self.binary), "server", "--quiet", "--address", f"{HOST}:{port}", data]
        return [Daemon("minio", command, environment, self.check)]

    def check(self) -> str | None:
        """Whether it takes requests."""
        try:
            with urllib.request.urlopen(f"{self.endpoint}/minio/health/cluster", timeout=5):
                return None
        except OSError as error:
            return f"no answer ({error})"

    def after(self) -> None:
        """Make the bucket."""
        self.client().create_dir(BUCKET)

    def client(self) -> Any:
        """An Arrow file system on it."""
        from pyarrow import fs

        user, password = self.place.access()
        return fs.S3FileSystem(
            access_key=user, secret_key=password, endpoint_override=self.endpoint, region=REGION,
            allow_bucket_creation=True,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Endpoint, bucket, region and the file with the keys."""
        return {
            "endpoint": self.endpoint,
            "bucket": BUCKET,
            "region": REGION,
            "credentials": str(self.place.credentials),
        }

    def variables(self) -> dict[str, str]:
        """What boto3, the AWS command line and deltalake read."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SHARED_CREDENTIALS_FILE": str(self.place.credentials),
            "AWS_ALLOW_HTTP": "true",
        }
