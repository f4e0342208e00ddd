"""A folder of pipeline files, and what a DAG file makes of it."""

from __future__ import annotations

import os
import runpy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Airflow writes into its home as soon as it is imported: not into the user's
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))

LOADER = Path(__file__).parents[2] / "dags" / "millrace_dags.py"
PIPELINE = """\
name: {name}
source: {{uri: "{data}/*.csv", format: csv, time: t, interval: daily}}
columns:
  t: {{type: timestamp, role: time}}
  k: {{type: string, role: key}}
  x: {{type: float64, role: numeric}}
  y: {{type: int8, role: label}}
shard: {{by: k, shards: 2}}
window: 3d
schedule: "0 2 * * *"
evaluate: {{holdout: 1d}}
{more}
"""


@pytest.fixture
def write_pipeline(tmp_path: Path) -> Callable[..., Path]:
    """Write a small pipeline file into the folder `pipelines` of the test."""

    def write(name: str = "tiny", more: str = "", data: Path | None = None) -> Path:
        path = tmp_path / "pipelines" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(PIPELINE.format(name=name, data=data or tmp_path / "data", more=more))
        return path

    return write


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The DAGs of a DAG file, by id."""

    def run(file: Path = LOADER) -> dict[str, Any]:
        from airflow.sdk import DAG

        monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
        found = runpy.run_path(str(file)).values()
        return {dag.dag_id: dag for dag in found if isinstance(dag, DAG)}

    return run
