"""Keeps floods of messages out of the logs."""

from __future__ import annotations

import logging
import warnings


def ignore_probing() -> None:
    """Silence Airflow's warnings about deprecated attributes, and what is no warning, for the rest of this process.

    skops asks every imported module for the name of each ufunc; each such question to a module of Airflow that has
    deprecated attributes is answered by a warning, thousands in all. Great Expectations tells some 200 details of its
    own when it is imported, boto3 with every client where it found keys and address.
    """
    from airflow.utils.deprecation_tools import DeprecatedImportWarning

    warnings.filterwarnings("ignore", category=DeprecatedImportWarning)
    for name in ("great_expectations", "botocore"):
        logging.getLogger(name).setLevel(logging.WARNING)
