"""Profiles: those that are shipped load once their variables are set; every mistake is told in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millrace.errors import ProfileError
from millrace.profiles import VARIABLE, load_profile

SHIPPED = Path(__file__).parent.parent / "profiles"
ENDPOINT = "http://127.0.0.1:9000"
VARIABLES = {
    "AWS_ENDPOINT_URL": ENDPOINT,
    "AWS_REGION": "eu-west-1",
    "MILLRACE_BUCKET": "lake",
    "MILLRACE_HDFS": "hdfs://namenode:8020",
    "HADOOP_HOME": "/opt/hadoop",
}
NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
REQUIRED = {
    "minio": {"AWS_ENDPOINT_URL"},
    "hadoop": {"MILLRACE_HDFS", "HADOOP_HOME"},
    "hadoop-minio": {"MILLRACE_HDFS", "HADOOP_HOME", "AWS_ENDPOINT_URL"},
    "spark": set(),
    "emr": {"MILLRACE_BUCKET", "AWS_REGION"},
}


@pytest.fixture(autouse=True)
def variables(monkeypatch, tmp_path):
    """The variables of the shipped profiles and no others; what loading adds to the environment goes again."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for path in SHIPPED.glob("*.yaml"):
        for name, _ in VARIABLE.findall(path.read_text("utf-8")):
            os.environ.pop(name, None)
    os.environ.update(VARIABLES, MILLRACE_HOME=str(tmp_path / "home"), MILLRACE_PROFILES=str(SHIPPED))
    os.environ.pop("MILLRACE_PROFILE", None)
    return tmp_path


@pytest.fixture
def written(variables):
    """Write a profile `mine` and let it be found."""

    def write(text: str) -> None:
        (variables / "mine.yaml").write_text(text, encoding="utf-8")
        os.environ["MILLRACE_PROFILES"] = str(variables)

    return write


def test_every_shipped_profile_is_tested():
    assert sorted(REQUIRED) == NAMES


@pytest.mark.parametrize(
    ("name", "runner", "root", "work"),
    [
        ("minio", "local", "s3://lake", None),
        ("hadoop", "hadoop", "hdfs://namenode:8020/millrace", None),
        ("hadoop-minio", "hadoop", "s3://lake", "hdfs://namenode:8020/millrace/_work"),
        ("emr", "emr", "s3://lake/millrace", None),
    ],
)
def test_a_shipped_profile_loads(name, runner, root, work):
    profile = load_profile(name)
    assert (profile.name, profile.runner, profile.root, profile.work) == (name, runner, root, work)


def test_spark_keeps_its_tables_on_this_machine_unless_told(variables):
    profile = load_profile("spark")
    assert (profile.spark.master, profile.root) == ("local[*]", str(variables / "home" / "tables"))
    os.environ |= {"SPARK_MASTER": "spark://head:7077", "MILLRACE_ROOT": "hdfs://namenode:8020/lake"}
    profile = load_profile("spark")
    assert (profile.spark.master, profile.root) == ("spark://head:7077", "hdfs://namenode:8020/lake")


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_is_mlflows_server_or_a_file(name, variables):
    assert load_profile(name).registry == f"sqlite:///{variables / 'home' / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:5000"
    assert load_profile(name).registry == "http://127.0.0.1:5000"


@pytest.mark.parametrize("name", NAMES)
def test_every_missing_variable_is_named_at_once(name):
    for variable in VARIABLES:
        os.environ.pop(variable)
    if not REQUIRED[name]:
        load_profile(name)
        return
    with pytest.raises(ProfileError) as caught:
        load_profile(name)
    assert caught.value.found == ", ".join(sorted(REQUIRED[name]))


def test_the_store_of_the_profile_is_what_clients_of_s3_find():
    load_profile("minio")
    found = {key: os.environ[key] for key in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ALLOW_HTTP")}
    assert found == {"AWS_ENDPOINT_URL": ENDPOINT, "AWS_REGION": "eu-west-1", "AWS_ALLOW_HTTP": "true"}


def test_amazons_own_store_has_no_address():
    del os.environ["AWS_ENDPOINT_URL"]
    profile = load_profile("emr")
    assert profile.s3.endpoint is None
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ProfileError, match="did you mean 'hadoop-minio'"):
        load_profile("hadoop-mini")


def test_unknown_keys_and_values_are_told_together(written):
    written("rot: s3://lake\nrunner: flink\nhadoop: {binn: hadoop}\n")
    with pytest.raises(ProfileError) as caught:
        load_profile("mine")
    text = str(caught.value)
    assert "has 3 mistakes" in text
    assert "rot: Extra inputs are not permitted, found 's3://lake'; did you mean 'root'?" in text
    assert "runner: Input should be" in text
    assert "hadoop.binn: Extra inputs are not permitted" in text


@pytest.mark.parametrize("runner", ["runner: hadoop", "runner: emr", "runner: spark\nspark: {master: yarn}"])
@pytest.mark.parametrize("root", ["root: /srv/tables\n", "root: file:///srv/tables\n", ""])
def test_a_cluster_needs_tables_that_its_nodes_reach(written, runner, root):
    written(root + runner)
    with pytest.raises(ProfileError, match="keeps its tables on this machine"):
        load_profile("mine")


def test_an_empty_setting_is_as_good_as_not_written(written, variables):
    written("root: ${NOWHERE:-}\ns3: {endpoint: '${NOWHERE:-}'}\n")
    profile = load_profile("mine")
    assert (profile.root, profile.s3.endpoint) == (str(variables / "home" / "tables"), None)


def test_settings_of_hadoop_are_texts(written):
    written("root: s3://lake\nrunner: hadoop\nhadoop: {jobconf: {mapreduce.map.speculative: true, mapreduce.x: 3}}\n")
    assert load_profile("mine").hadoop.jobconf == {"mapreduce.map.speculative": "true", "mapreduce.x": "3"}
