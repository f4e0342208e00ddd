"""A person signs in, presses Trigger on the training DAG, changes the form, and watches the run succeed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from millrace.airflow import up
from tests.nights import write_nights, write_pipeline

pytestmark = [pytest.mark.browser, pytest.mark.airflow]

CHROMIUM = os.environ.get("MILLRACE_CHROMIUM", shutil.which("chromium") or "")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[up.Handle]:
    """A running Airflow with one pipeline, switched off as `millrace up` leaves it."""
    place = tmp_path_factory.mktemp("browser")
    write_nights(place / "data", date(2018, 4, 1), 4)
    write_pipeline(place / "pipelines", place / "data")
    report = place / "home" / "reports" / "buys" / "2018-04-03.html"
    report.parent.mkdir(parents=True)
    report.write_text("<!doctype html><h1>Report of the night</h1>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_PIPELINES", str(place / "pipelines"))
        with up.start(place / "home", progress=print) as handle:
            handle.client().wait_for_dag("buys_train")
            yield handle


@pytest.fixture
def page(airflow: up.Handle) -> Iterator[Any]:
    """A page of a real browser, signed in."""
    if not CHROMIUM:
        pytest.skip("no chromium: install it, or name it in MILLRACE_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(airflow.address)
        page.locator("input[name=username]").fill(airflow.username)
        page.locator("input[name=password]").fill(airflow.password)
        page.locator("button[type=submit]").click()
        page.wait_for_url(lambda address: "/auth/" not in address)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: `MILLRACE_PICTURES`, to look at them."""
    folder = Path(os.environ.get("MILLRACE_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_trigger_with_a_changed_form(airflow: up.Handle, page: Any, pictures: Path) -> None:
    page.goto(f"{airflow.address}/dags/buys_train")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.locator("[name=element_date]").fill("2018-04-03")
    form.locator("[name=element_window]").fill("2d")
    form.get_by_role("spinbutton").first.fill("300")
    page.screenshot(path=pictures / "form.png")
    form.get_by_test_id("trigger-dag-submit").click()
    form.wait_for(state="hidden")

    client = airflow.client()
    run = client.runs("buys_train")[-1]
    assert run["conf"]["date"] == "2018-04-03"
    assert (run["conf"]["window"], run["conf"]["sample_rows"], run["conf"]["force"]) == ("2d", 300, False)
    client.wait("buys_train", run["dag_run_id"], timeout=300)
    page.goto(f"{airflow.address}/dags/buys_train/runs/{run['dag_run_id']}")
    page.get_by_text("Success").first.wait_for(timeout=20_000)
    page.screenshot(path=pictures / "run.png")
    assert client.result("buys_train", run["dag_run_id"], "announce")["window"] == "2d"


def test_the_report_is_a_tab_of_the_dag(airflow: up.Handle, page: Any, pictures: Path) -> None:
    page.goto(f"{airflow.address}/dags/buys_train")
    page.get_by_role("link", name="Millrace report").click()
    page.frame_locator("iframe").get_by_text("Report of the night").wait_for(timeout=20_000)
    page.screenshot(path=pictures / "report.png")


def test_the_log_shows_progress(airflow: up.Handle, page: Any, pictures: Path) -> None:
    run = airflow.client().runs("buys_train")[-1]["dag_run_id"]
    page.goto(f"{airflow.address}/dags/buys_train/runs/{run}/tasks/check")
    page.get_by_text("check done in").first.wait_for(timeout=20_000)
    page.screenshot(path=pictures / "log.png")
