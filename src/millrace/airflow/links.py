"""Links from the Airflow UI to Millrace's own pages, which `plugins/millrace_plugin.py` serves."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink

PREFIX = "/millrace"


class ReportLink(BaseOperatorLink):
    """A button on each task of a stage: the report of the run that it belonged to, once the task has ended."""

    name = "Millrace report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Address of the run's report; of the list of reports where the task ended before it knew its name."""
        report = getattr(operator, "report", None)
        return f"{PREFIX}/reports/{operator.pipeline}{f'/{report}' if report else ''}"
