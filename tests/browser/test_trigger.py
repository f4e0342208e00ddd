"""A person signs in, triggers a run with a changed form, backfills a range of nights, and looks at log and report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.airflow import up

pytestmark = [pytest.mark.browser, pytest.mark.airflow]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
TIMEOUT = 60_000  # ms


@pytest.fixture(scope="module")
def page(airflow: up.Handle, chromium: str) -> Iterator[Any]:
    """A page of a real browser, signed in."""
    from playwright.sync_api import sync_playwright

    airflow.client().wait_for_dag("shop_train")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(TIMEOUT)
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


@pytest.fixture(scope="module")
def triggered(airflow: up.Handle, page: Any, pictures: Path) -> str:
    """A run of a DAG that was switched off, triggered with a changed form: Airflow offers to switch it on."""
    page.goto(f"{airflow.address}/dags/shop_train")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog").filter(has_text="Trigger Dag")
    form.locator("[name=element_date]").fill("2018-04-02")
    form.locator("[name=element_window]").fill("2d")
    form.get_by_role("spinbutton").first.fill("300")
    page.screenshot(path=pictures / "form.png")
    form.get_by_test_id("trigger-dag-submit").click()
    form.wait_for(state="hidden")
    client = airflow.client()
    run = str(client.runs("shop_train")[-1]["dag_run_id"])
    client.wait("shop_train", run, timeout=300)
    return run


def test_a_triggered_run_does_what_the_form_says(airflow: up.Handle, page: Any, pictures: Path, triggered: str) -> None:
    client = airflow.client()
    announced = client.result("shop_train", triggered, "announce")
    assert (announced["date"], announced["options"]["window"]) == ("2018-04-02", "2d")
    assert client.result("shop_train", triggered, "sample")["details"]["rows"] == 300
    page.goto(f"{airflow.address}/dags/shop_train/runs/{triggered}")
    page.get_by_text("Success").first.wait_for()
    page.screenshot(path=pictures / "run.png")


def test_the_log_shows_progress(airflow: up.Handle, page: Any, pictures: Path, triggered: str) -> None:
    page.goto(f"{airflow.address}/dags/shop_train/runs/{triggered}/tasks/check")
    page.get_by_text("check done in").first.wait_for()
    page.screenshot(path=pictures / "log.png")


def test_a_task_s_button_opens_the_report_of_its_night(
    airflow: up.Handle, page: Any, pictures: Path, triggered: str
) -> None:
    page.goto(f"{airflow.address}/dags/shop_train/runs/{triggered}/tasks/train/details")
    button = page.get_by_role("link", name="Millrace report").last
    button.wait_for()
    page.screenshot(path=pictures / "button.png")
    page.goto(f"{airflow.address}{button.get_attribute('href')}")
    page.get_by_text("2018-04-02").first.wait_for()
    page.screenshot(path=pictures / "report.png")


def test_the_report_is_a_tab_of_the_dag(airflow: up.Handle, page: Any, pictures: Path, triggered: str) -> None:
    page.goto(f"{airflow.address}/dags/shop_train")
    page.get_by_role("link", name="Millrace report").click()
    page.frame_locator("iframe").get_by_text("2018-04-02").first.wait_for()
    page.screenshot(path=pictures / "tab.png")


def test_a_range_of_nights_is_backfilled(airflow: up.Handle, page: Any, pictures: Path, triggered: str) -> None:
    page.goto(f"{airflow.address}/dags/shop_train")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("Backfill", exact=True).first.click()
    form = page.get_by_role("dialog").filter(has_text="Run Backfill")
    for name, day in (("From", "2018/04/03"), ("To", "2018/04/04")):
        form.get_by_role("group").filter(has=page.get_by_text(name, exact=True)).get_by_test_id(
            "datetime-input"
        ).click()
        page.get_by_placeholder("YYYY/MM/DD").last.fill(day)
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    page.screenshot(path=pictures / "range.png")
    form.get_by_role("button", name="Run Backfill").click()
    form.wait_for(state="hidden")

    client = airflow.client()
    page.get_by_text("Backfill in progress").first.wait_for()
    page.screenshot(path=pictures / "backfill.png")
    runs = [run["dag_run_id"] for run in client.runs("shop_train", run_type="backfill")]
    client.wait_all("shop_train", runs, timeout=300)
    dates = [client.result("shop_train", run, "announce")["date"] for run in runs]
    assert dates == ["2018-04-03", "2018-04-04"]
    page.goto(f"{airflow.address}/dags/shop_train/runs")
    page.get_by_text("Success").nth(2).wait_for()
    page.screenshot(path=pictures / "backfilled.png")
