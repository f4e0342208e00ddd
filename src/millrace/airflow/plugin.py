"""What Millrace adds to Airflow: its timetable, and pages with their places in the UI.

Every Airflow process loads plugins, each task among them: the pages' own imports wait for the first request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from millrace.airflow.links import PREFIX
from millrace.airflow.timetable import PipelineTimetable


async def pages(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """The ASGI application of the pages, imported when first asked for."""
    from millrace.airflow.pages import app

    await app(scope, receive, send)


class MillracePlugin(AirflowPlugin):
    """The timetable, the pages, their entry in the navigation, and a tab on each DAG."""

    name = "millrace"
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
