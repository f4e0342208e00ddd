"""One Airflow for all tests that need one: started when the first of them asks, stopped at the end of the session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from millrace.airflow import up
from millrace.airflow.client import AirflowClient
from tests.nights import write_night, write_nights, write_pipeline

SHARED = ("tests/airflow/test_airflow_live.py", "tests/browser/")  # files whose tests ask for `airflow`
SLOWEST = (
    "tests/airflow/test_deferral.py",
    "tests/engines/test_emr_engine.py",
    "tests/engines/test_hadoop_engine.py",
    "tests/engines/test_spark_engine.py",
    "tests/airflow/test_airflow_clusters.py",
    "tests/mapreduce/test_cluster.py",
)
FIRST = date(2018, 4, 1)
STRICT = "check:\n  - {expect: column_values_to_be_between, column: amount, min_value: 1000, severity: fail}"


@pytest.fixture(scope="session")
def airflow_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a percent sign and a space in its name, four nights, and the pipelines that read them."""
    place = tmp_path_factory.mktemp("a place 100%")
    pipelines = place / "pipelines"
    write_nights(place / "data", FIRST, 4)
    write_pipeline(pipelines, place / "data", "buys")
    write_pipeline(pipelines, place / "data", "shop")  # left switched off, for a person at a browser
    write_pipeline(pipelines, place / "data", "asked", "promote: {approval: human}")
    write_pipeline(pipelines, place / "strict-data", "strict", STRICT)
    write_night(place / "strict-data", FIRST)
    write_pipeline(pipelines, place / "killed-data", "killed")
    for number in range(2):
        write_night(place / "killed-data", date(2018, 4, 1 + number), 60_000)
    return place


@pytest.fixture(scope="session")
def airflow(airflow_place: Path) -> Iterator[up.Handle]:
    """A running Airflow, its DAGs switched off, as `millrace up` starts it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_PIPELINES", str(airflow_place / "pipelines"))
        with up.start(airflow_place / "home", progress=print) as handle:
            print(f"started in {handle.seconds:.1f} s")
            yield handle


@pytest.fixture(scope="session")
def airflow_client(airflow: up.Handle) -> AirflowClient:
    """A signed-in client, with all DAGs but those of `shop` switched on."""
    client = airflow.client()
    for name in ("buys", "asked", "strict", "killed"):
        for dag in (f"{name}_train", f"{name}_score"):
            client.wait_for_dag(dag)
            client.switch(dag, on=True)
    return client


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slowest files begin; tests that share the Airflow come together, and last where it would disturb others."""
    beside_others = hasattr(config, "workerinput")

    def rank(item: pytest.Item) -> int:
        if "airflow" in getattr(item, "fixturenames", ()):
            return 1 if beside_others else 3
        return 0 if item.nodeid.startswith(SLOWEST) else 2

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several workers, what shares the Airflow goes to one of them, each engine to any, all else by file."""
    from xdist.scheduler import LoadFileScheduling

    class OneAirflow(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith("tests/engines/test_") and "_engine.py" in nodeid:
                return nodeid
            return "airflow" if nodeid.startswith(SHARED) else str(super()._split_scope(nodeid))

    return OneAirflow(config, log) if config.getvalue("dist") == "loadfile" else None
