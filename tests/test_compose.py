"""docker-compose.yml and Dockerfile, read as text: no Docker is needed, and none runs.

They start what `millrace up` starts, with the same settings, and leave no password and no port open.
"""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

from millrace.airflow import config, up
from millrace.cli import main
from millrace.profiles import VARIABLE as PROFILE_VARIABLE

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
REQUIRED = re.compile(r"\$\{(\w+):\?is missing; run make env\}")
OPTIONAL = re.compile(r"\$\{(\w+):-([^}]*)\}")
SECRET = re.compile(r"PASSWORD$|SECRET|_KEY$")
IMAGE = re.compile(r"^[a-z0-9./-]+:(?!latest$)[\w.-]+$")


def texts(value: Any) -> list[str]:
    """All texts of a document."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [str(value)]


def one_shots() -> set[str]:
    """Services that others await the end of."""
    needs = [need for service in SERVICES.values() for need in service.get("depends_on", {}).items()]
    return {name for name, need in needs if need["condition"] == "service_completed_successfully"}


def environment(name: str) -> dict[str, str]:
    return SERVICES[name].get("environment", {})


def settings_of_hadoop(name: str) -> dict[str, str]:
    root = ElementTree.parse(ROOT / "docker" / "hadoop" / name).getroot()
    return {entry.findtext("name", ""): entry.findtext("value", "") for entry in root.iter("property")}


def test_the_image_compiles_the_kernels_itself():
    assert {"gcc", "libc6-dev"} <= set(DOCKERFILE.partition("uv pip install")[0].split())
    assert "**/*.so" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def test_all_that_make_services_starts_and_more_is_there():
    hadoop = {"namenode", "datanode", "resourcemanager", "nodemanager"}
    assert set(SERVICES) == {"postgres", "minio", "bucket", "mlflow", "init", *hadoop, *AIRFLOW}


def test_every_service_tells_its_health_or_is_awaited_to_its_end():
    assert one_shots() == {"init", "bucket"}
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) != (name in one_shots()), name
        assert service.get("restart", "no") == ("no" if name in one_shots() else "unless-stopped"), name


def test_what_a_service_awaits_can_come_true():
    for name, service in SERVICES.items():
        for need, wanted in service.get("depends_on", {}).items():
            ends = need in one_shots()
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert wanted["condition"] == expected, f"{name} awaits {need}"


def test_ports_are_published_on_loopback_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"minio", "mlflow", "api-server"}  # each asks for a password; Hadoop doesn't
    for name, ports in published.items():
        for port in ports:
            assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port), f"{name} publishes {port}"
    assert not any("network_mode" in service for service in SERVICES.values())


def test_every_secret_must_come_from_the_environment():
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert REQUIRED.fullmatch(str(value)), f"{name}: {key} is {value}"
    for text in texts(COMPOSE):
        for url in re.findall(r"\w+://[^\s/]*:([^@\s/]*)@", text):
            assert REQUIRED.fullmatch(url), f"a password in {text}"


def test_make_env_writes_every_secret_and_nothing_else(tmp_path):
    (tmp_path / ".env.example").write_bytes((ROOT / ".env.example").read_bytes())
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "env"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    file = tmp_path / ".env"
    first = file.read_text("utf-8")
    found = dict(line.split("=", 1) for line in first.splitlines() if not line.startswith("#"))
    assert set(found) - {"MILLRACE_UID"} == {name for text in texts(COMPOSE) for name in REQUIRED.findall(text)}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = [value for name, value in found.items() if name != "MILLRACE_UID"]
    assert len(set(secrets)) == len(secrets)
    assert all(re.fullmatch(r"[\w-]{43}=", value) for value in secrets)  # safe in a URL; what Fernet wants
    assert {"pipelines", "data"} <= {path.name for path in tmp_path.iterdir()}
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert file.read_text("utf-8") == first


def test_secrets_stay_out_of_git_and_of_the_image():
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    assert "!.env" not in lines


def test_named_volumes_and_configs_are_declared_and_used():
    mounts = [str(mount).split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    assert {mount for mount in mounts if not mount.startswith(".")} == set(COMPOSE["volumes"])
    configs = {each["source"] for service in SERVICES.values() for each in service.get("configs", [])}
    assert configs == set(COMPOSE["configs"])


def test_images_are_pinned():
    images = {service["image"] for service in SERVICES.values()}
    images |= set(re.findall(r"^FROM (?:--\S+ )?(\S+)", DOCKERFILE, flags=re.M))
    assert {image for image in images if not IMAGE.fullmatch(image)} == set()
    assert SERVICES["minio"]["image"] == SERVICES["bucket"]["image"]


def test_airflow_has_the_settings_of_millrace_up():
    expected = {
        f"AIRFLOW__{section}__{key}".upper(): value
        for section, values in config.settings(
            Path("/var/lib/millrace/airflow"), "http://0.0.0.0:8080", parallelism=4, unpaused=False
        ).items()
        for key, value in values.items()
    }
    expected |= {  # one machine each, a database for many writers, a plugin that needn't be written
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api-server:8080/execution/",
        "AIRFLOW__API__BASE_URL": "http://localhost:${AIRFLOW_PORT:-8080}",
        "AIRFLOW__CORE__PLUGINS_FOLDER": "/srv/millrace/plugins",
    }
    del expected["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    secrets = {f"AIRFLOW__{section}__{key}".upper() for section, key in config.SECRETS}
    for name in (*AIRFLOW, "init"):
        found = {key: value for key, value in environment(name).items() if key.startswith("AIRFLOW__")}
        assert found.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN").startswith("postgresql+psycopg2://"), name
        assert {key for key in found if key in secrets} == secrets, name
        assert {key: value for key, value in found.items() if key not in secrets} == expected, name


def test_airflow_has_the_components_of_millrace_up():
    assert {name: SERVICES[name]["command"][1:] for name in AIRFLOW} == {
        name: words for name, (_, *words) in up.COMPONENTS.items()
    }
    assert {SERVICES[name]["command"][0] for name in AIRFLOW} == {"airflow"}
    assert environment("scheduler")["MILLRACE_PRELOAD"] == "1"
    assert f"airflow pools set millrace_jobs {up.POOL_SLOTS} " in SERVICES["init"]["command"][2]


def test_init_writes_the_password_that_was_asked_for(tmp_path, monkeypatch):
    script = SERVICES["init"]["command"][2]
    program = script.split("<<'END'\n")[1].split("\nEND")[0]
    file = tmp_path / "passwords.json"
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(file))
    monkeypatch.setenv("AIRFLOW_PASSWORD", 'a"b\\c')
    exec(compile(program, "docker-compose.yml", "exec"), {})
    assert json.loads(file.read_text("utf-8")) == {"admin": 'a"b\\c'}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("profile", ["minio", "hadoop", "hadoop-minio"])
def test_airflow_has_the_variables_of_the_profiles(profile):
    text = (ROOT / "profiles" / f"{profile}.yaml").read_text("utf-8")
    needed = {name for name, default in PROFILE_VARIABLE.findall(text) if f"${{{name}}}" in text}
    given = set(environment("scheduler")) | set(re.findall(r"^(?:ENV |    )(\w+)=", DOCKERFILE, flags=re.M))
    assert needed - given == set()
    assert {"MLFLOW_TRACKING_URI", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MILLRACE_PROFILE"} <= given


def test_addresses_name_services():
    plain = [REQUIRED.sub("secret", text) for text in texts(COMPOSE)]
    hosts = {host for text in plain for host in re.findall(r"(?:http|hdfs|psycopg2)://(?:\w+:\w+@)?([a-z-]+)", text)}
    assert hosts - {"localhost"} == {"postgres", "minio", "mlflow", "namenode", "api-server"}
    assert hosts - {"localhost"} <= set(SERVICES)
    assert settings_of_hadoop("core-site.xml")["fs.defaultFS"] == environment("scheduler")["MILLRACE_HDFS"]
    assert settings_of_hadoop("yarn-site.xml")["yarn.resourcemanager.hostname"] in SERVICES


def test_a_container_of_yarn_reaches_the_store():
    allowed = settings_of_hadoop("yarn-site.xml")["yarn.nodemanager.env-whitelist"].split(",")
    assert set(environment("nodemanager")) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(allowed)


def test_a_node_finds_raw_files_where_the_scheduler_listed_them():
    assert "./data:/srv/millrace/data:ro" in SERVICES["nodemanager"]["volumes"]
    assert "./data:/srv/millrace/data:ro" in SERVICES["scheduler"]["volumes"]
    assert "WORKDIR /srv/millrace" in DOCKERFILE


def test_the_image_is_made_from_what_it_is_given():
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {
        name.split("/")[0]
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.M)
        for name in line.split()
    }
    assert copied == given
    assert all((ROOT / name).exists() for name in given)


def test_drivers_of_postgres_and_mlflows_sign_in_are_locked():
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), flags=re.M)
    assert {"psycopg2-binary", "asyncpg", "flask-wtf"} <= set(locked)


def test_commands_of_millrace_that_the_file_tells_exist():
    told = re.findall(r"^# .* millrace ([a-z]+)", (ROOT / "docker-compose.yml").read_text("utf-8"), flags=re.M)
    assert told
    assert set(told) <= set(main.commands)
