"""Millrace's timetable and pages for an Airflow of your own, whose `[core] plugins_folder` is this folder."""

from millrace.airflow.plugin import MillracePlugin

__all__ = ["MillracePlugin"]
