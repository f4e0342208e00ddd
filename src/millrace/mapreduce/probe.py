"""Probes of a runner: is what starts its jobs here, and do its servers answer? Each returns words, or raises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from millrace.errors import ProfileError, ServiceError
from millrace.profiles import Profile
from millrace.storage.probe import ATTEMPTS, SECONDS_TO_ANSWER, SECONDS_TO_CONNECT, connect

VERSION_SECONDS = 30
Check = Callable[[Profile], str]


def checks(runner: str) -> dict[str, Check]:
    """What to look at for a runner, by name."""
    if runner == "hadoop":
        return {"hadoop command": _hadoop, "hadoop streaming": _streaming, "YARN": _yarn, "nodes": _nodes}
    if runner == "spark":
        return {"spark command": _spark_submit, "spark master": _spark_master, "nodes": _nodes}
    if runner == "emr":
        return {"EMR": _emr, "nodes": _nodes}
    return {}


def packed(profile: Profile) -> str:
    """How old and large the worker environment is."""
    from millrace.mapreduce.cluster import pack_folder
    from millrace.mapreduce.pack import find

    folder = pack_folder(profile)
    archives = find(folder)
    if archives is None:
        return f"none in {folder} for this version yet: the first job makes it, or now: millrace pack"
    age = (datetime.now(UTC) - max(archive.mtime for archive in archives)).days
    return f"{sum(archive.size for archive in archives) / 1e6:,.0f} MB in {folder}, {age} days old"


def _hadoop(profile: Profile) -> str:
    command = shutil.which(profile.hadoop.bin)
    if command is None:
        hint = "see hadoop.bin in the profile, or HADOOP_HOME"
        raise ProfileError("the hadoop command", expected=profile.hadoop.bin, found="no such program", hint=hint)
    told = _output([command, "version"])
    version = told.split("\n")[0]
    if not version.startswith("Hadoop 3"):
        raise ProfileError("the hadoop command", expected="Hadoop 3", found=version[:200])
    return f"{version} at {command}"


def _streaming(profile: Profile) -> str:
    told = profile.hadoop.streaming_jar
    if told is not None:
        if not Path(told).is_file():
            raise ProfileError("hadoop.streaming_jar", expected=told, found="no such file")
        return told
    command = shutil.which(profile.hadoop.bin)
    roots = [os.environ.get("HADOOP_HOME"), command and str(Path(command).resolve().parent.parent)]
    for root in filter(None, roots):
        jar = next(iter(sorted(Path(root).rglob("hadoop-streaming*.jar"))), None)
        if jar is not None:
            return str(jar)
    hint = "set hadoop.streaming_jar in the profile"
    raise ProfileError("hadoop-streaming-*.jar", expected="below HADOOP_HOME", found="none", hint=hint)


def _yarn(profile: Profile) -> str:
    address = site("yarn-site.xml", "yarn.resourcemanager.webapp.address")
    host = site("yarn-site.xml", "yarn.resourcemanager.hostname")
    address = address or (f"{host}:8088" if host else None)
    if address is None:
        hint = "set HADOOP_CONF_DIR to the folder of yarn-site.xml"
        raise ProfileError("the address of YARN", expected="yarn.resourcemanager.hostname", found="none", hint=hint)
    import json

    try:
        with urllib.request.urlopen(f"http://{address}/ws/v1/cluster/metrics", timeout=SECONDS_TO_ANSWER) as answer:
            nodes = json.load(answer)["clusterMetrics"]["activeNodes"]
    except (OSError, ValueError, KeyError) as error:
        hint = "see HADOOP_CONF_DIR, and whether YARN runs"
        raise ServiceError("YARN doesn't answer", found=f"{address}: {error}", hint=hint) from error
    if nodes == 0:
        raise ServiceError("YARN has no node to run tasks on", found=address)
    return f"answers at {address}; active nodes: {nodes}"


def site(file: str, name: str) -> str | None:
    """A setting of Hadoop's site files, found by HADOOP_CONF_DIR or HADOOP_HOME."""
    folders = [os.environ.get("HADOOP_CONF_DIR"), os.path.expandvars("$HADOOP_HOME/etc/hadoop")]
    for folder in filter(None, folders):
        path = Path(folder) / file
        if path.is_file():
            for each in ElementTree.parse(path).getroot().iter("property"):
                if each.findtext("name") == name:
                    return each.findtext("value")
            return None
    return None


def _nodes(profile: Profile) -> str:
    """What can't be seen from here is said."""
    python = {"hadoop": profile.hadoop.python, "emr": profile.emr.python}.get(profile.runner)
    if profile.runner == "spark":
        python = profile.spark.python or ("this one" if profile.spark.master.startswith("local") else "python3")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"tasks start {python}, which must be Python {here}; whether each node has it can't be seen from here"


def _spark_submit(profile: Profile) -> str:
    from importlib.util import find_spec

    java = shutil.which("java", path=os.path.expandvars("$JAVA_HOME/bin:$PATH"))
    if java is None:
        raise ProfileError("Java, which Spark needs", expected="java on PATH or JAVA_HOME", found="none")
    if profile.spark.submit is not None:
        command = shutil.which(profile.spark.submit)
        if command is None:
            raise ProfileError("spark.submit of the profile", expected=profile.spark.submit, found="no such program")
        return command
    if find_spec("pyspark") is None:
        hint = "pip install pyspark, or set spark.submit"
        raise ProfileError("spark-submit", expected="PySpark's own, or spark.submit", found="neither", hint=hint)
    from importlib.metadata import version

    return f"PySpark {version('pyspark')}, {java}"


def _spark_master(profile: Profile) -> str:
    master = profile.spark.master
    if not master.startswith("spark://"):
        return master
    place = urlsplit(master)
    connect(str(place.hostname), place.port or 7077, "Spark's master", "see spark.master in the profile")
    return f"{master} listens"


def _emr(profile: Profile) -> str:
    import boto3
    from botocore import exceptions as boto
    from botocore.config import Config

    config = Config(
        connect_timeout=SECONDS_TO_CONNECT,
        read_timeout=SECONDS_TO_ANSWER,
        retries={"total_max_attempts": ATTEMPTS},
    )
    try:
        client: Any = boto3.Session().client("emr", region_name=profile.s3.region, config=config)
        pages = client.list_clusters(ClusterStates=["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"])
        releases = _releases(client, profile.emr.release)
    except boto.ClientError as error:
        told = error.response["Error"]
        found = f"{told.get('Code')}: {told.get('Message')}"[:300]
        raise ServiceError("EMR refuses us", found=found, hint="see the keys and their rights") from error
    except boto.BotoCoreError as error:
        hint = "see s3.region in the profile and the keys"
        raise ServiceError("EMR doesn't answer", found=str(error)[:300], hint=hint) from error
    return f"answers in {profile.s3.region}; {len(pages['Clusters'])} clusters are up; release {releases}"


def _releases(client: Any, release: str) -> str:
    """Whether a release label is known; a stand-in for EMR may not tell."""
    from botocore import exceptions as boto

    if not release.startswith("emr-7."):
        raise ProfileError("emr.release of the profile", expected="emr-7.…", found=release)
    try:
        client.describe_release_label(ReleaseLabel=release)
    except boto.ClientError as error:
        told = error.response["Error"]
        if told.get("Code") == "ValidationException":
            raise ProfileError("emr.release of the profile", found=str(told.get("Message"))[:200]) from error
        return f"{release} (not confirmed: {told.get('Code')})"
    return release


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"{command[0]} doesn't run", found=str(error)[:200]) from error
    if done.returncode != 0:
        raise ServiceError(f"{command[0]} doesn't run", found=" ".join(done.stderr.split())[-300:])
    return done.stdout
