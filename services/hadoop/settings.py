"""The site files of a Hadoop on one machine: loopback addresses, small containers, quick heartbeats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from services.place import HOST

PORTS = (
    "namenode", "namenode-web", "datanode", "datanode-web", "datanode-ipc", "resourcemanager", "resourcemanager-admin",
    "resourcemanager-scheduler", "resourcemanager-tracker", "resourcemanager-web", "nodemanager", "nodemanager-web",
    "nodemanager-localizer", "shuffle",
)  # fmt: skip
JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.net.preferIPv4Stack=true"
OPEN = "--add-opens=java.base/java.lang=ALL-UNNAMED"  # Hadoop reflects on class loaders; Java 17 forbids it unasked
LOG4J = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{yy/MM/dd HH:mm:ss} %p %c{2}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.org.apache.hadoop.metrics2=ERROR
"""


def core(ports: Mapping[str, int], data: Path, endpoint: str, region: str) -> dict[str, str]:
    """core-site: HDFS is the default file system; s3 and s3a are the object store at `endpoint`."""
    s3 = {
        "impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    }
    s3a = {
        "endpoint": endpoint,
        "endpoint.region": region,
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        # reads the file named by AWS_SHARED_CREDENTIALS_FILE: no key is copied into jobs' settings
        "aws.credentials.provider": "software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider",
        "buffer.dir": f"{data}/s3a",
    }
    return {
        "fs.defaultFS": f"hdfs://{HOST}:{ports['namenode']}",
        "hadoop.tmp.dir": f"{data}/tmp",
        "ipc.client.connect.max.retries": "5",
        **{f"fs.s3.{key}": value for key, value in s3.items()},
        **{f"fs.s3a.{key}": value for key, value in (s3 | s3a).items()},
    }


def hdfs(ports: Mapping[str, int], data: Path) -> dict[str, str]:
    """hdfs-site: one DataNode, one copy of each block, out of safe mode at once."""
    return {
        "dfs.replication": "1",
        "dfs.namenode.name.dir": f"file://{data}/name",
        "dfs.datanode.data.dir": f"file://{data}/blocks",
        "dfs.namenode.http-address": f"{HOST}:{ports['namenode-web']}",
        "dfs.datanode.address": f"{HOST}:{ports['datanode']}",
        "dfs.datanode.http.address": f"{HOST}:{ports['datanode-web']}",
        "dfs.datanode.ipc.address": f"{HOST}:{ports['datanode-ipc']}",
        "dfs.datanode.hostname": HOST,
        "dfs.heartbeat.interval": "1",
        "dfs.namenode.heartbeat.recheck-interval": "15000",
        "dfs.namenode.safemode.extension": "0",
        "dfs.namenode.edits.noeditlogchannelflush": "true",
        "dfs.namenode.fs-limits.min-block-size": "1024",
        "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
    }


def yarn(ports: Mapping[str, int], data: Path, classpath: str) -> dict[str, str]:
    """yarn-site: 8 GiB for containers; the physical memory of a container is watched, the virtual isn't."""
    manager = "yarn.resourcemanager"
    node = "yarn.nodemanager"
    return {
        f"{manager}.hostname": HOST,
        f"{manager}.address": f"{HOST}:{ports['resourcemanager']}",
        f"{manager}.admin.address": f"{HOST}:{ports['resourcemanager-admin']}",
        f"{manager}.scheduler.address": f"{HOST}:{ports['resourcemanager-scheduler']}",
        f"{manager}.resource-tracker.address": f"{HOST}:{ports['resourcemanager-tracker']}",
        f"{manager}.webapp.address": f"{HOST}:{ports['resourcemanager-web']}",
        f"{manager}.nodemanagers.heartbeat-interval-ms": "100",
        f"{node}.hostname": HOST,
        f"{node}.address": f"{HOST}:{ports['nodemanager']}",
        f"{node}.localizer.address": f"{HOST}:{ports['nodemanager-localizer']}",
        f"{node}.webapp.address": f"{HOST}:{ports['nodemanager-web']}",
        f"{node}.local-dirs": f"{data}/local",
        f"{node}.log-dirs": str(data.parent / "logs" / "userlogs"),
        f"{node}.aux-services": "mapreduce_shuffle",
        f"{node}.env-whitelist": "JAVA_HOME,HADOOP_HOME,HADOOP_CONF_DIR,AWS_SHARED_CREDENTIALS_FILE,PATH,LANG,TZ",
        f"{node}.resource.memory-mb": "8192",
        f"{node}.resource.cpu-vcores": "8",
        f"{node}.vmem-check-enabled": "false",
        f"{node}.disk-health-checker.max-disk-utilization-per-disk-percentage": "99.9",
        "yarn.scheduler.minimum-allocation-mb": "256",
        "yarn.scheduler.maximum-allocation-mb": "8192",
        "yarn.application.classpath": classpath,
    }


def mapred(ports: Mapping[str, int], classpath: str) -> dict[str, str]:
    """mapred-site: map and reduce tasks of 1 GiB, of which Java takes a quarter; the safe output committer."""
    return {
        "mapreduce.framework.name": "yarn",
        "mapreduce.application.classpath": classpath,
        "mapreduce.shuffle.port": str(ports["shuffle"]),
        "mapreduce.map.memory.mb": "1024",
        "mapreduce.reduce.memory.mb": "1024",
        "mapreduce.map.java.opts": f"-Xmx256m {JVM} {OPEN}",
        "mapreduce.reduce.java.opts": f"-Xmx256m {JVM} {OPEN}",
        "mapreduce.task.io.sort.mb": "64",
        "yarn.app.mapreduce.am.resource.mb": "512",
        "yarn.app.mapreduce.am.command-opts": f"-Xmx384m {JVM} {OPEN}",
        "yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms": "100",
        "mapreduce.job.ubertask.enable": "false",
        "mapreduce.fileoutputcommitter.algorithm.version": "1",
        "mapreduce.client.progressmonitor.pollinterval": "200",
        "mapreduce.client.completion.pollinterval": "200",
    }


def queue() -> dict[str, str]:
    """capacity-scheduler: one queue that jobs share fairly; half of it for the jobs' own masters."""
    prefix = "yarn.scheduler.capacity"
    return {
        f"{prefix}.root.queues": "default",
        f"{prefix}.root.default.capacity": "100",
        f"{prefix}.root.default.ordering-policy": "fair",
        f"{prefix}.maximum-am-resource-percent": "0.5",
        f"{prefix}.node-locality-delay": "-1",
    }


def xml(settings: Mapping[str, str]) -> str:
    """A site file."""
    lines = (
        f"<property><name>{name}</name><value>{escape(value)}</value></property>" for name, value in settings.items()
    )
    return "\n".join(["<configuration>", *lines, "</configuration>", ""])
