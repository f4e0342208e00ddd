"""The page: figures of the facts stand in it, texts from data can't become markup, nothing is asked of a network."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from millrace.report.facts import ReportFacts, ScoringFacts
from millrace.report.page import cards_of, render
from millrace.report.vega import bundle


class Elements(HTMLParser):
    """The elements of a page with their attributes, its visible texts, and the texts of its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append(data)
        elif self.inside != "style" and data.strip():
            self.texts.append(data.strip())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bundle is kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def script(kept: Path) -> str:
    """The bundle."""
    return bundle(kept)


@pytest.mark.parametrize(
    "words",
    [
        "1,011,200 rows of 2 intervals were read; 1,010,178 (99.9%) are in use.",
        "1,012 (0.1%) went to quarantine and 10 were duplicates of a row that stayed.",
        "The commonest reason is range in fare: 1,012 rows.",
        "0 of 1 expectations were met by the 1,200 rows of 2026-01-02.",
        "1 of 3 columns drifted; the largest is country: PSI 0.31.",
        "Compared are 1,200 rows of the newest 1 interval with 1,000 rows of the 1 interval before them.",
        "Method stratified by paid: 100 of 2,000 rows of 1 interval teach; 2026-01-02 alone judge.",
        "Differs by 38.00% as drawn, by 0% with its weights.",
        "Model version 8 was better and becomes champion.",
        "ROC AUC 0.91 against the champion's 0.88.",
        "0.9100 [0.9000, 0.9200]",
        "+0.0300 [+0.0100, +0.0500]",
        "Version 8 (champion): logistic regression, trained for 2026-01-02 on 100 rows.",
        "1,188 rows of 2026-01-02 have a score, by model version 8. The mean score is 3.04%; the mean of paid, as far "
        "as it is known, is 3.00%.",
        "The window has 1,008,990 scored rows; 1 interval with rows and without scores: 2026-01-02. "
        "The scores are in tables/rides/scores.",
        "1,010,188",
    ],
)
def test_page_says_what_the_facts_are(facts: ReportFacts, words: str) -> None:
    assert words in Elements(render(facts, "")).texts


def test_texts_from_data_are_no_markup(facts: ReportFacts) -> None:
    page = render(facts, "")
    elements = Elements(page)
    assert "<script>alert(1)" not in page
    assert [tag for tag, _ in elements.found].count("script") == 3
    assert "<script>alert(1)</script>" in elements.texts
    assert "<script>alert(1)</script>" in json.dumps(json.loads(elements.scripts[0]), ensure_ascii=False)


def test_page_refers_to_nothing_outside(facts: ReportFacts, script: str) -> None:
    assert "</script" not in script
    outside = [
        (tag, value)
        for tag, attributes in Elements(render(facts, script)).found
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster") and not str(value).startswith(("#", "data:"))
    ]
    assert outside == []


def test_every_chart_has_its_figures_as_a_table(facts: ReportFacts) -> None:
    found = [tag for tag, _ in Elements(render(facts, "")).found]
    assert found.count("figure") == 16
    assert found.count("table") >= found.count("figure")


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ({"nights": []}, "No row of this window has been read yet."),
        ({"verdict": None}, "There is no check of 2026-01-02: its files haven't been read."),
        ({"drift": None}, "There is no drift verdict for this interval yet."),
        ({"sample": None}, "There is no training sample: the stage sample hasn't run."),
        ({"sample": None, "label": None}, "There is no training sample: no column has the role label."),
        ({"evaluation": None}, "There is nothing to judge: 2026-01-02 has no evaluation yet."),
        ({"evaluation": None, "label": None}, "There is nothing to judge: no column has the role label."),
        (
            {"scoring": None},
            "2026-01-02 has no scores: scoring follows the training run, and then makes this report again.",
        ),
        ({"scoring": None, "label": None}, "There is nothing to score: no column has the role label."),
        (
            {"scoring": ScoringFacts(7, 0.0, [8], [], "tables/rides/scores", "s3://other/rides")},
            "7 rows of s3://other/rides have a score, by model version 8. The rows of this window aren't scored. "
            "The scores are in tables/rides/scores.",
        ),
        ({"models": []}, "There is no model yet."),
        ({"tables": []}, "There is no table yet."),
        ({"notes": ["the sample is left out: gone"]}, "the sample is left out: gone"),
    ],
)
def test_a_missing_part_is_a_sentence(facts: ReportFacts, lacking: dict[str, Any], words: str) -> None:
    assert words in Elements(render(replace(facts, **lacking), "")).texts


@pytest.mark.parametrize(("nights", "mood"), [(slice(None), ""), (slice(1), "odd")])
def test_a_night_without_rows_is_marked(facts: ReportFacts, nights: slice, mood: str) -> None:
    [card] = [each for each in cards_of(replace(facts, nights=facts.nights[nights])) if each.name == "rows in use"]
    assert card.mood == mood


def test_a_page_of_nothing_is_a_page() -> None:
    texts = Elements(render(ReportFacts("rides", "2026-01-01", ["2026-01-01"]), "")).texts
    assert "rides, 2026-01-01" in texts


def test_the_bundle_is_kept(kept: Path, script: str) -> None:
    [file] = kept.iterdir()
    assert file.read_text() == script
    assert bundle(kept) == script


@pytest.mark.browser
def test_a_browser_draws_every_chart(facts: ReportFacts, chromium: str, script: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "report.html"
    path.write_text(render(facts, script))
    told: list[str] = []
    asked: list[str] = []
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_context(offline=True, color_scheme="dark").new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_function("document.documentElement.dataset.drawn === 'true'")
        drawn = page.locator("figure .chart svg").count()
        charts = page.locator("figure .chart").count()
        shown = page.locator("#slice-0 svg").text_content()
        page.locator("summary").first.click()
        figures = page.locator("details[open] table").first.inner_text()
        page.get_by_text("Great Expectations' Data Docs").click()
        docs = page.frame_locator("iframe").locator("body").inner_text()
        browser.close()
    assert docs == "Data Docs"
    assert (drawn, told) == (charts, [])
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert "<script>alert(1)" in (shown or "")
    assert "drawn for training" in figures
