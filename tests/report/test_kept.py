"""Reports on every store: a real MinIO and a real HDFS beside the local folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.mapreduce.store_fs import remove
from millrace.report.kept import keep_report, kept_reports, newest_report, read_report, reported_pipelines


@pytest.fixture(params=["file", "s3", "hdfs"])
def reports(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for reports that isn't there yet."""
    own = uuid.uuid4().hex
    if request.param == "file":
        yield str(tmp_path / "reports")
        return
    facts = request.getfixturevalue({"s3": "minio", "hdfs": "hadoop"}[request.param])
    for name, value in facts.variables.items():
        monkeypatch.setenv(name, value)
    place = f"s3://{facts.bucket}/{own}" if request.param == "s3" else f"{facts.namenode}/{own}"
    yield f"{place}/_reports"
    remove(place)


def test_reports_are_kept_listed_and_read_on_every_store(reports: str) -> None:
    assert (reported_pipelines(reports), kept_reports(reports, "shop")) == ([], [])
    assert newest_report(reports, "shop") is None
    assert read_report(reports, "shop", "2026-01-02") is None

    runs = ["2026-01-01", "2026-01-02_rows-9", "2026-01-02", "2026-01-03_rows-9", "2026-01-02-checks"]
    for run in runs:
        assert keep_report(reports, "shop", run, run) == f"{reports}/shop/{run}.html"
    keep_report(reports, "shop", "2026-01-02", "<p>Größe</p>")

    assert reported_pipelines(reports) == ["shop"]
    assert kept_reports(reports, "shop") == ["2026-01-03_rows-9", "2026-01-02", "2026-01-02_rows-9", "2026-01-01"]
    assert newest_report(reports, "shop") == "2026-01-02"
    assert read_report(reports, "shop", "2026-01-02") == "<p>Größe</p>"
