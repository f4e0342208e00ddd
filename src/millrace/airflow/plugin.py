"""What Millrace adds to Airflow: its timetable, and pages with their places in the UI.

Every Airflow process loads plugins, each task among them: the pages' own imports wait for the first request.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from millrace.airflow.links import PREFIX
from millrace.airflow.quiet import ignore_probing
from millrace.airflow.timetable import PipelineTimetable
from millrace.without_pyspark import without_pyspark

log = logging.getLogger(__name__)
PRELOADED = (
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.providers.standard.operators.hitl",
    "airflow.sdk.execution_time.task_runner",
    "ruamel.yaml",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "polars",
    "deltalake",
    "datasketches",
    "mrjob.inline",
    "mrjob.local",
    "pandas",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "sklearn.ensemble",
    "sklearn.feature_selection",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.naive_bayes",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.tree",
    "skops.io",
    "great_expectations.render.renderer.page_renderer",
    "great_expectations.render.view",
)


async def pages(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """The ASGI application of the pages, imported when first asked for."""
    from millrace.airflow.pages import app

    await app(scope, receive, send)


def preload() -> None:
    """Import what the stages need, once, in the scheduler: its tasks are forks of it and inherit the modules.

    Imports were most of the time of a small night: 3 to 10 s a task, eleven times. Only others' packages: changed code
    of Millrace is read anew by the next task. None of them has a thread that matters before it is first used.
    """
    ignore_probing()
    for name in PRELOADED:
        try:
            with without_pyspark():
                importlib.import_module(name)
        except ImportError:
            log.warning("can't preload %s", name)


class MillracePlugin(AirflowPlugin):
    """The timetable, the pages, their entry in the navigation, and a tab on each DAG."""

    name = "millrace"

    @classmethod
    def on_load(cls, *_: Any, **__: Any) -> None:
        """Preload in the scheduler of `millrace up`."""
        if os.environ.get("MILLRACE_PRELOAD") and sys.argv[1:2] == ["scheduler"]:
            preload()

    timetables = [PipelineTimetable]
    fastapi_apps = [{"app": pages, "url_prefix": PREFIX, "name": "Millrace"}]
    external_views = [
        {
            "name": "Millrace reports",
            "href": f"{PREFIX}/reports",
            "destination": "nav",
            "url_route": "millrace-reports",
            "category": "browse",
        },
        {
            "name": "Millrace report",
            "href": f"{PREFIX}/dags/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "millrace-report",
        },
    ]
