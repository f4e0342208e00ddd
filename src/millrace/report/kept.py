"""The reports that are kept of a pipeline: files of ``<reports>/<pipeline>``, named after their runs.

`reports` is a folder or the URI of one on the store: `Profile.reports`.
"""

from __future__ import annotations

import pyarrow.fs as pafs

from millrace.storage.files import exists, filesystem, open_input, write_file

CHECKS = "-checks"  # ends the name of the Data Docs page beside a report, which holds it too
SUFFIX = ".html"


def report_uri(reports: str, pipeline: str, run: str) -> str:
    """Where the report of a run is."""
    return f"{reports}/{pipeline}/{run}{SUFFIX}"


def keep_report(reports: str, pipeline: str, run: str, text: str) -> str:
    """Write a report, whole or not at all; returns where it is."""
    uri = report_uri(reports, pipeline, run)
    write_file(uri, text.encode())
    return uri


def read_report(reports: str, pipeline: str, run: str) -> str | None:
    """The text of a report; None where there is none."""
    uri = report_uri(reports, pipeline, run)
    if not exists(uri):
        return None
    with open_input(uri) as file:
        return file.read().decode()


def kept_reports(reports: str, pipeline: str) -> list[str]:
    """The runs of a pipeline that have a report: the newest interval first, of each the night's own before what-ifs."""
    files = [info.base_name for info in _listed(f"{reports}/{pipeline}") if info.type == pafs.FileType.File]
    runs = [name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX) and not name.startswith(".")]
    own = sorted(run for run in runs if not run.endswith(CHECKS))
    return sorted(own, key=lambda run: run.partition("_")[0], reverse=True)


def newest_report(reports: str, pipeline: str) -> str | None:
    """The night's own run of the newest interval with a report, else the newest what-if; None where there is none."""
    found = kept_reports(reports, pipeline)
    return next((run for run in found if "_" not in run), found[0] if found else None)


def reported_pipelines(reports: str) -> list[str]:
    """The pipelines that have reports."""
    return sorted(info.base_name for info in _listed(reports) if info.type == pafs.FileType.Directory)


def _listed(uri: str) -> list[pafs.FileInfo]:
    system, path, _ = filesystem(uri)
    found: list[pafs.FileInfo] = system.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return found
