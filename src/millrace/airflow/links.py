"""Links from the Airflow UI to Millrace's own pages, which `plugins/millrace_plugin.py` serves."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

PREFIX = "/millrace"


class ReportLink(BaseOperatorLink):
    """A button on each stage's page: the report of the run's interval, or the list of reports before there is one."""

    name = "Millrace report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address of the page that finds the report of this DAG run."""
        return f"{PREFIX}/reports/{operator.pipeline}"
