"""The reports that are kept of a pipeline: files of ``<home>/reports/<pipeline>``, named after their runs."""

from __future__ import annotations

from pathlib import Path

CHECKS = "-checks"  # ends the name of the Data Docs page beside a report, which holds it too


def reports_folder(home: Path, pipeline: str) -> Path:
    """Where the reports of a pipeline are."""
    return home / "reports" / pipeline


def kept_reports(home: Path, pipeline: str) -> list[Path]:
    """The reports of a pipeline: the newest interval first, of each the night's own before its what-ifs."""
    files = (file for file in reports_folder(home, pipeline).glob("*.html") if not file.stem.endswith(CHECKS))
    named = [(*file.stem.partition("_")[::2], file) for file in files]
    named.sort(key=lambda each: each[1])
    return [file for _, _, file in sorted(named, key=lambda each: each[0], reverse=True)]


def newest_report(home: Path, pipeline: str) -> Path | None:
    """The night's own report of the newest interval that has one, else the newest what-if; None where there is none."""
    found = kept_reports(home, pipeline)
    return next((file for file in found if "_" not in file.stem), found[0] if found else None)
