"""The embedded Airflow's `airflow.cfg`: settings go in as a mapping, secrets are made once and kept."""

from __future__ import annotations

import base64
import configparser
import io
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

BUNDLE = "millrace.airflow.bundle.PipelineBundle"
PLUGIN = (
    '"""Made by `millrace up`: see millrace.airflow.plugin."""\n\nfrom millrace.airflow.plugin import MillracePlugin\n'
)
LOCAL_SETTINGS = (
    '"""Made by `millrace up`: see millrace.airflow.database."""\n\n'
    "from millrace.airflow.database import create_metadata_engine\n"
)
USER = "admin"

Settings = dict[str, dict[str, str]]


def settings(folder: Path, address: str, *, parallelism: int, unpaused: bool) -> Settings:
    """All settings that differ from Airflow's own defaults.

    The three addresses (`api.port`, `api.base_url`, `core.execution_api_server_url`) must agree, or tasks fail before
    they begin. Everything listens on loopback alone. A task whose process died is noticed after 20 to 25 s (by
    Airflow's defaults: 300 s).
    """
    host, port = address.removeprefix("http://").split(":")
    return {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": str(parallelism),
            "load_examples": "False",
            "dags_folder": str(folder / "dags"),
            "plugins_folder": str(folder / "plugins"),
            "dags_are_paused_at_creation": str(not unpaused),
            "execution_api_server_url": f"{address}/execution/",
            "simple_auth_manager_users": f"{USER}:admin",
            "simple_auth_manager_passwords_file": str(folder / "passwords.json"),
            "killed_task_cleanup_time": "10",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{folder / 'airflow.db'}"},
        "logging": {"base_log_folder": str(folder / "logs")},
        "api": {
            "host": host,
            "port": port,
            "base_url": address,
            "instance_name": "Millrace",
            "workers": "1",
            "enable_swagger_ui": "False",
        },
        "workers": {"missing_dag_retry_delay": "10", "execution_api_timeout": "30"},
        "scheduler": {
            "scheduler_idle_sleep_time": "0.2",
            "task_instance_heartbeat_timeout": "20",
            "task_instance_heartbeat_timeout_detection_interval": "5",
            "enable_health_check": "False",
        },
        "dag_processor": {
            "dag_bundle_config_list": json.dumps([{"name": "millrace", "classpath": BUNDLE, "kwargs": {}}]),
            "bundle_refresh_check_interval": "2",
            "min_file_process_interval": "15",
            "parsing_processes": "1",
            "dag_bundle_storage_path": str(folder / "bundles"),
        },
    }


def write(folder: Path, wanted: Settings) -> str:
    """Write `airflow.cfg` and what stands beside it, for this user's eyes only; returns the admin's password."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "dags").mkdir(exist_ok=True)
    plugins = folder / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "millrace_plugin.py").write_text(PLUGIN, encoding="utf-8")

    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "airflow_local_settings.py").write_text(LOCAL_SETTINGS, encoding="utf-8")

    file = folder / "airflow.cfg"
    parser = configparser.RawConfigParser()
    parser.read(file, encoding="utf-8")
    old = {key: parser.get(*key, fallback=None) for key in SECRETS}
    fresh = configparser.RawConfigParser()
    for section, values in wanted.items():
        # Airflow's parser interpolates: a percent sign in a path must be doubled
        fresh.read_dict({section: {key: value.replace("%", "%%") for key, value in values.items()}})
    for (section, key), make in SECRETS.items():
        if not fresh.has_section(section):
            fresh.add_section(section)
        fresh.set(section, key, old[section, key] or make())
    text = io.StringIO()
    fresh.write(text)
    write_private(file, text.getvalue())
    return password(folder / "passwords.json")


def password(file: Path) -> str:
    """The admin's password: made at the first start, kept afterwards."""
    if file.exists():
        known = json.loads(file.read_text(encoding="utf-8") or "{}")
        if USER in known:
            return str(known[USER])
    made = secrets.token_urlsafe(12)
    write_private(file, json.dumps({USER: made}))
    return made


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user may read."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)


SECRETS: dict[tuple[str, str], Callable[[], str]] = {
    ("core", "fernet_key"): lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    ("api", "secret_key"): lambda: secrets.token_urlsafe(32),
    ("api_auth", "jwt_secret"): lambda: secrets.token_urlsafe(48),
}
