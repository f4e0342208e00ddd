"""The report of real runs of the stages: before anything ran, half-way, and of the whole road."""

from __future__ import annotations

import html
from datetime import date
from pathlib import Path

import pytest

from millrace.report.kept import kept_reports, newest_report
from millrace.stages import open_run, run_stages
from millrace.stages.reporting import write_report
from tests.nights import write_nights, write_pipeline


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with four nights of files and a pipeline that reads them."""
    write_nights(tmp_path / "data", date(2018, 4, 1), 4)
    more = "check:\n  - {expect: column_values_to_not_be_null, column: colour, severity: warn}\nsample: {rows: 200}"
    write_pipeline(tmp_path / "pipelines", tmp_path / "data", more=more)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    return tmp_path / "home"


def test_a_report_of_every_part_of_the_road(home: Path) -> None:
    run = open_run("buys", "2018-04-04", options={"runner": "inline"})
    path = home / "reports" / "buys" / "2018-04-04.html"
    assert write_report(run) == str(path)
    assert "No row of this window has been read yet." in path.read_text()

    run_stages(run, "check", "sample")
    text = Path(write_report(run)).read_text()
    assert "1,200 rows of 3 intervals were read; 1,200 (100%) are in use." in text
    assert "200 of 800 rows of 2 intervals teach; 2018-04-04 alone judge." in text
    assert "2018-04-04 has no evaluation yet" in text
    assert "1 of 1 expectations were met by the 400 rows of 2018-04-04." in text

    run_stages(run, "train", "compress")
    assert "2018-04-04 has no scores: scoring follows the training run" in Path(write_report(run)).read_text()

    [scored, result] = run_stages(run, "score", "report")
    assert (scored.stage, result.details["path"]) == ("score", str(path))
    text = path.read_text()
    assert "400 rows of 2018-04-04 have a score, by model version 1. The mean score is " in text
    assert "The window has 1,200 scored rows." in text
    assert "Model version 1 was better and becomes champion." in text
    assert "logistic regression, trained for 2018-04-04 on 200 rows." in text
    assert "left out" not in text
    docs = (path.parent / "2018-04-04-checks.html").read_text()
    assert "onclick" not in docs
    assert html.escape(docs[-40:]) in text
    assert sorted(file.name for file in path.parent.iterdir()) == ["2018-04-04-checks.html", "2018-04-04.html"]


def test_a_what_if_has_a_report_of_its_own(home: Path) -> None:
    night = open_run("buys", "2018-04-04", options={"runner": "inline", "sample_method": "auto", "window": "3d"})
    run_stages(night, "check", "report")
    asked = {"runner": "inline", "window": "2d", "sample_method": "stratified", "sample_rows": 100}
    [*_, what_if] = run_stages(open_run("buys", "2018-04-04", options=asked), "check", "report")
    folder = home / "reports" / "buys"
    name = "2018-04-04_window-2d_sample-stratified_rows-100"
    assert kept_reports(str(folder.parent), "buys") == ["2018-04-04", name]
    assert what_if.details["path"] == str(folder / f"{name}.html")
    text = (folder / f"{name}.html").read_text()
    assert "A what-if: window 2d, sample stratified, rows 100." in text
    assert "trained for 2018-04-04 on 100 rows." in text

    again = write_report(open_run("buys", "2018-04-04"))  # the tables' newest sample and verdict are the what-if's
    assert again == str(folder / "2018-04-04.html")
    assert newest_report(str(folder.parent), "buys") == "2018-04-04"
    text = Path(again).read_text()
    assert "200 of 800 rows of 2 intervals teach; 2018-04-04 alone judge." in text
    assert "trained for 2018-04-04 on 200 rows." in text


def test_a_part_that_cannot_be_read_is_named(home: Path) -> None:
    told: list[str] = []
    run = open_run("buys", "2018-04-04", options={"runner": "inline"}, say=told.append)
    run_stages(run, "check", "clean")
    for file in (home / "tables" / "buys" / "quarantine" / "_delta_log").iterdir():
        file.write_text("{")
    text = Path(write_report(run)).read_text()
    assert "the quarantine is left out" in text
    assert any(words.startswith("WARNING report: the quarantine is left out") for words in told)
