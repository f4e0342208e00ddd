"""One step of a cluster: its command line, the process that runs it, and its logs where EMR puts them."""

from __future__ import annotations

import getpass
import gzip
import json
import os
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

from services.daemon import descendants, signal_all
from services.hadoop import Hadoop
from services.minio import Minio
from services.place import default_place

HISTORY = "/tmp/hadoop-yarn/staging/history/done_intermediate"  # where a job's master leaves it
APPLICATION = re.compile(r"Submitted application (application_\d+_\d+)")
POLL = 0.2  # seconds


class Running:
    """A step that runs."""

    def __init__(self, cluster: str, step: str, log_uri: str | None, jar: str, words: Sequence[str]) -> None:
        self.hadoop = Hadoop(default_place())
        self.minio = Minio(default_place())
        self.cluster, self.step, self.log_uri = cluster, step, log_uri
        self.folder = Path(tempfile.mkdtemp(prefix=f"{step}-", dir=default_place().folder("emr")))
        self.command = self.command_line(jar, words)
        print(f"{cluster} {step}: {' '.join(self.command)}", flush=True)
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as log:
            self.process = psutil.Popen(
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                env=os.environ | self.hadoop.environment() | self.minio.variables(),
            )  # fmt: skip

    def command_line(self, jar: str, words: Sequence[str]) -> list[str]:
        """What EMR's master node would run."""
        facts = self.hadoop.facts()
        if jar == "command-runner.jar" and words[0] == "hadoop-streaming":
            return [facts["bin"], "jar", facts["streaming_jar"], *words[1:]]
        if jar == "command-runner.jar":
            return list(words)
        return [facts["bin"], "jar", jar, *words]

    def wait(self, ended: Callable[[], bool]) -> int:
        """The exit status; ends the process, and its job on YARN, when the cluster ends."""
        while True:
            try:
                status = int(self.process.wait(timeout=POLL))
                print(f"{self.cluster} {self.step}: status {status}", flush=True)
                return status
            except psutil.TimeoutExpired:
                if ended():
                    signal_all([self.process, *descendants(self.process)], force=True)
                    for application in self.applications():
                        subprocess.run(
                            [self.hadoop.facts()["bin"], "application", "-kill", application],
                            capture_output=True, check=False,
                        )  # fmt: skip

    def applications(self) -> list[str]:
        """The jobs on YARN that this step submitted."""
        return APPLICATION.findall((self.folder / "stderr").read_text(encoding="utf-8", errors="replace"))

    def file_logs(self) -> None:
        """Put the step's and its containers' logs below the cluster's log URI, gzipped, as EMR does."""
        if not self.log_uri:
            return
        base = f"{self.log_uri.split('://', 1)[1].rstrip('/')}/{self.cluster}"
        own = {"stdout": "stdout", "stderr": "stderr", "syslog": "stderr"}  # Hadoop's client logs to stderr here
        files = {f"{base}/steps/{self.step}/{name}.gz": self.folder / source for name, source in own.items()}
        for application in self.applications():
            logs = self.hadoop.home / "logs" / "userlogs" / application
            for path in logs.glob("container_*/*"):
                if path.name in ("stdout", "stderr", "syslog"):
                    files[f"{base}/containers/{application}/{path.parent.name}/{path.name}.gz"] = path
        contents = {key: path.read_bytes() for key, path in files.items()}
        for name, history in self.histories().items():
            contents[f"{base}/hadoop-mapreduce/history/{name}.gz"] = history
        store = self.minio.client()
        for key, content in contents.items():
            with store.open_output_stream(key, compression=None) as output:
                output.write(gzip.compress(content))

    def histories(self) -> dict[str, bytes]:
        """The history of each job of this step, by file name; EMR's user is `hadoop`, and the name says so."""
        user = getpass.getuser()
        folder = f"{self.hadoop.facts()['webhdfs']}{HISTORY}/{user}"
        jobs = {application.replace("application", "job") for application in self.applications()}
        if not jobs:
            return {}
        listing = json.loads(fetch(f"{folder}?op=LISTSTATUS&user.name={user}"))["FileStatuses"]["FileStatus"]
        names = [each["pathSuffix"] for each in listing]
        found = [name for name in names if name.endswith(".jhist") and name.split("-")[0] in jobs]
        return {
            name.replace(f"-{user}-", "-hadoop-", 1): fetch(f"{folder}/{quote(name)}?op=OPEN&user.name={user}")
            for name in found
        }


def fetch(address: str) -> bytes:
    """What an address answers."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        content: bytes = answer.read()
        return content
