"""Hadoop on one machine: NameNode, DataNode, ResourceManager and NodeManager, from the jars on Maven Central."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from millrace.errors import ServiceError
from services.daemon import Daemon
from services.hadoop import settings
from services.minio import REGION, Minio
from services.place import HOST, Say, write
from services.programs import JAVA, MAVEN, Program
from services.service import Service

POM = Path(__file__).with_name("pom.xml")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
SERVERS = {
    "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
    "resourcemanager": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    "nodemanager": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
}
LAUNCHER = """#!/bin/sh
# hadoop fs …, hadoop jar …, hadoop job …, hadoop application …, hadoop version, or hadoop CLASS …
export HADOOP_HOME={home} JAVA_HOME={java} AWS_SHARED_CREDENTIALS_FILE={credentials}
export HADOOP_CONF_DIR="${{HADOOP_CONF_DIR:-$HADOOP_HOME/etc/hadoop}}"
case "$1" in
  fs|dfs) class=org.apache.hadoop.fs.FsShell ;;
  jar) class=org.apache.hadoop.util.RunJar ;;
  job) class=org.apache.hadoop.mapred.JobClient ;;
  application) class=org.apache.hadoop.yarn.client.cli.ApplicationCLI ;;
  version) class=org.apache.hadoop.util.VersionInfo ;;
  *) class=$1 ;;
esac
shift
exec "$JAVA_HOME/bin/java" {options} $HADOOP_CLIENT_OPTS -Dhadoop.log.dir="$HADOOP_HOME/logs" \\
  -cp "$HADOOP_CONF_DIR:$HADOOP_HOME/share/hadoop/lib/*:$HADOOP_CLASSPATH" "$class" "$@"
"""


class Hadoop(Service):
    """HDFS and YARN. Hadoop believes every caller's name: whoever can log in to this machine can use it."""

    name: ClassVar[str] = "hadoop"
    patience: ClassVar[float] = 120

    @property
    def programs(self) -> tuple[Program, ...]:
        """Java, and Maven until the jars are there."""
        return (JAVA,) if self.complete.exists() else (JAVA, MAVEN)

    @property
    def home(self) -> Path:
        """What `HADOOP_HOME` names, laid out as Hadoop's own release is."""
        return self.place.folder("hadoop")

    @property
    def jars(self) -> Path:
        """The folder of all jars."""
        return self.home / "share" / "hadoop" / "lib"

    @property
    def complete(self) -> Path:
        """Says which jars are there: a copy of the list that they were fetched by."""
        return self.jars / "pom.xml"

    def prepare(self, say: Say) -> None:
        """Fetch the jars, once per list of them, and write settings and launcher."""
        if not self.complete.exists() or self.complete.read_bytes() != POM.read_bytes():
            self.fetch(say)
        self.configure()

    def fetch(self, say: Say) -> None:
        """Let Maven copy the jars; its own store is in the folder too, and is thrown away."""
        say("hadoop: fetching its jars with Maven, once; a minute or so")
        began = time.monotonic()
        shutil.rmtree(self.jars, ignore_errors=True)
        store = self.place.folder("cache", "maven")
        log = self.place.log("hadoop-jars")
        command = [
            "mvn", "--batch-mode", "--no-transfer-progress", "-f", str(POM), COPY, "-DincludeScope=runtime",
            f"-DoutputDirectory={self.jars}", f"-Dmaven.repo.local={store}",
        ]  # fmt: skip
        with log.open("wb") as output:
            status = subprocess.run(command, cwd=store, stdout=output, stderr=output, check=False)
        if status.returncode:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise ServiceError("the jars of Hadoop can't be fetched", hint=f"Maven says, in {log}:\n{tail}")
        shutil.rmtree(store)
        shutil.copy(POM, self.complete)
        say(f"hadoop: {sum(1 for _ in self.jars.glob('*.jar'))} jars in {time.monotonic() - began:.0f} s")

    def configure(self) -> None:
        """Write the site files and `bin/hadoop`."""
        ports = self.place.ports(settings.PORTS, fresh=False)
        data = self.place.folder("hadoop", "data")
        conf = self.place.folder("hadoop", "etc", "hadoop")
        classpath = f"{conf},{self.jars}/*"
        files = {
            "core-site.xml": settings.xml(settings.core(ports, data, Minio(self.place).endpoint, REGION)),
            "hdfs-site.xml": settings.xml(settings.hdfs(ports, data)),
            "yarn-site.xml": settings.xml(settings.yarn(ports, data, classpath)),
            "mapred-site.xml": settings.xml(settings.mapred(ports, classpath)),
            "capacity-scheduler.xml": settings.xml(settings.queue()),
            "log4j.properties": settings.LOG4J,
        }
        for name, text in files.items():
            write(conf / name, text)
        for page in ("hdfs", "datanode", "cluster", "node"):  # the servers look for their pages and end without them
            self.place.folder("hadoop", "share", "hadoop", "webapps", page)
        launcher = self.place.folder("hadoop", "bin") / "hadoop"
        options = f"-Xmx512m {settings.JVM} {settings.OPEN}"
        write(
            launcher,
            LAUNCHER.format(home=self.home, java=java_home(), credentials=self.place.credentials, options=options),
        )
        launcher.chmod(0o755)

    def daemons(self, *, fresh: bool = False) -> list[Daemon]:
        """The four servers."""
        self.place.ports(settings.PORTS, fresh=fresh)
        checks = {"datanode": self.check_hdfs, "nodemanager": self.check_yarn}
        return [
            Daemon(name, self.java(server), self.environment(), checks.get(name, lambda: None))
            for name, server in SERVERS.items()
        ]

    def java(self, *words: str) -> list[str]:
        """The command line of a server."""
        options = ["-Xmx256m", *settings.JVM.split(), settings.OPEN, f"-Dhadoop.log.dir={self.home}/logs"]
        classpath = f"{self.home}/etc/hadoop:{self.jars}/*:{self.home}/share/hadoop"
        return [f"{java_home()}/bin/java", *options, "-cp", classpath, *words]

    def environment(self) -> dict[str, str]:
        """What servers, and through them containers, know of their surroundings."""
        return {
            "HADOOP_HOME": str(self.home),
            "HADOOP_CONF_DIR": str(self.home / "etc" / "hadoop"),
            "JAVA_HOME": java_home(),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.place.credentials),
        }

    def before(self, say: Say) -> None:
        """Settings follow the ports; a new HDFS is formatted."""
        self.configure()
        if not (self.home / "data" / "name" / "current" / "VERSION").exists():
            command = self.java(SERVERS["namenode"], "-format", "-nonInteractive")
            run = subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=False)
            if run.returncode:
                raise ServiceError("HDFS can't be formatted", hint="\n".join(run.stderr.splitlines()[-15:]))

    def check_hdfs(self) -> str | None:
        """Whether the NameNode takes writes and has its DataNode."""
        query = "jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        return self.asked("namenode-web", query, lambda answer: self.hdfs_missing(answer["beans"][0]))

    @staticmethod
    def hdfs_missing(state: dict[str, Any]) -> str | None:
        """What the NameNode's state lacks."""
        if state["FSState"] != "Operational":
            return "HDFS is in safe mode"
        return None if state["NumLiveDataNodes"] else "no DataNode"

    def check_yarn(self) -> str | None:
        """Whether the ResourceManager has its NodeManager."""

        def missing(answer: dict[str, Any]) -> str | None:
            return None if answer["clusterMetrics"]["activeNodes"] else "no NodeManager"

        return self.asked("resourcemanager-web", "ws/v1/cluster/metrics", missing)

    def asked(self, port: str, path: str, missing: Any) -> str | None:
        """What `missing` finds in the JSON answer of a server's web address."""
        address = f"http://{HOST}:{self.place.ports([port], fresh=False)[port]}/{path}"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                found: str | None = missing(json.load(answer))
                return found
        except (OSError, KeyError, IndexError, ValueError) as error:
            return f"no answer at {address} ({error})"

    def facts(self) -> dict[str, Any]:
        """Addresses, the settings' folder, and what mrjob's hadoop runner must be told."""
        ports = self.place.ports(settings.PORTS, fresh=False)
        return {
            "namenode": f"hdfs://{HOST}:{ports['namenode']}",
            "webhdfs": f"http://{HOST}:{ports['namenode-web']}/webhdfs/v1",
            "resourcemanager": f"http://{HOST}:{ports['resourcemanager-web']}",
            "home": str(self.home),
            "conf": str(self.home / "etc" / "hadoop"),
            "bin": str(self.home / "bin" / "hadoop"),
            "streaming_jar": str(next(self.jars.glob("hadoop-streaming-*.jar"))),
        }

    def variables(self) -> dict[str, str]:
        """What Hadoop's clients, mrjob, deltalake and the profiles of `profiles/` read."""
        namenode = self.place.ports(["namenode"], fresh=False)["namenode"]
        return self.environment() | {"MILLRACE_HDFS": f"hdfs://{HOST}:{namenode}"}


def java_home() -> str:
    """The folder of the Java on PATH."""
    return str(Path(shutil.which("java") or "java").resolve().parents[1])
