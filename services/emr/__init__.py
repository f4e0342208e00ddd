"""A stand-in for Amazon EMR: moto answers the API, and each step runs as it is on the local Hadoop and MinIO."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from services.daemon import Daemon
from services.minio import REGION
from services.place import HOST, Say
from services.programs import Program
from services.service import Service


class Emr(Service):
    """The API of EMR, EC2 and IAM at one address.

    It shows that a job's steps, as they are submitted, run on a real Hadoop, that results and logs are where they are
    expected, and that clusters are started, shared and ended. It has no bootstrap action, no instance, no permission,
    no waiting for capacity, and S3A instead of EMRFS.
    """

    name: ClassVar[str] = "emr"
    needs: ClassVar[tuple[str, ...]] = ("minio", "hadoop")

    @property
    def programs(self) -> tuple[Program, ...]:
        """None of its own."""
        return ()

    @property
    def endpoint(self) -> str:
        """The address for clients of EMR, EC2 and IAM."""
        return f"http://{HOST}:{self.place.ports(['emr'], fresh=False)['emr']}"

    def prepare(self, say: Say) -> None:
        """All it needs is installed with Millrace's tests."""

    def daemons(self, *, fresh: bool = False) -> list[Daemon]:
        """The server with its executor."""
        port = self.place.ports(["emr"], fresh=fresh)["emr"]
        environment = {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONUNBUFFERED": "1",
            "MILLRACE_SERVICES": str(self.place.root),
        }
        return [Daemon("emr", [sys.executable, "-m", "services.emr.server", str(port)], environment, self.check)]

    def check(self) -> str | None:
        """Whether it takes requests."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        user, password = self.place.access()
        config = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})
        client = boto3.client(
            "emr", endpoint_url=self.endpoint, region_name=REGION, config=config,
            aws_access_key_id=user, aws_secret_access_key=password,
        )  # fmt: skip
        try:
            client.list_clusters()
        except (BotoCoreError, ClientError) as error:
            return f"no answer ({error})"
        return None

    def facts(self) -> dict[str, Any]:
        """The endpoint, and the region that clusters are in."""
        return {"endpoint": self.endpoint, "region": REGION}

    def variables(self) -> dict[str, str]:
        """What boto3 reads; S3 stays at MinIO."""
        return {f"AWS_ENDPOINT_URL_{name}": self.endpoint for name in ("EMR", "EC2", "IAM")}
