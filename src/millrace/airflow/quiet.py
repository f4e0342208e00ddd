"""Keeps one flood of warnings out of the logs."""

from __future__ import annotations

import warnings


def ignore_probing() -> None:
    """Silence Airflow's warnings about deprecated attributes for the rest of this process.

    skops asks every imported module for the name of each ufunc; each such question to a module of Airflow that has
    deprecated attributes is answered by a warning, thousands in all.
    """
    from airflow.utils.deprecation_tools import DeprecatedImportWarning

    warnings.filterwarnings("ignore", category=DeprecatedImportWarning)
