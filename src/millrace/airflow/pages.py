"""Millrace's pages in the Airflow UI: the reports of the profile, on this disk or the store, for signed-in users."""

from __future__ import annotations

import html

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI, Request
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, Response

from millrace.airflow.links import PREFIX
from millrace.errors import MillraceError
from millrace.profiles import load_profile
from millrace.report.kept import kept_reports, newest_report, read_report, reported_pipelines

NAME = PathParameter(pattern=r"^[a-z][a-z0-9_]{0,62}$")
RUN = PathParameter(pattern=r"^([0-9]{4}(-[0-9]{2}){0,2}(T[0-9]{2})?|all)(_(window|sample|rows)-[a-z0-9]+)*$")
SUFFIXES = ("_train", "_score")
# a report is a page with scripts: it gets an origin of its own, away from Airflow's session
SANDBOX = {"Content-Security-Policy": "sandbox allow-scripts allow-downloads"}
STYLE = (
    "body{font:15px system-ui;margin:2rem;color:#222;background:#fff}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}a{color:#8cf}}li{margin:.3rem 0}"
)

# every route asks: FastAPI apps of plugins are open to anyone unless they do
app = FastAPI(
    title="Millrace",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_access_view(AccessView.WEBSITE))],
)


@app.exception_handler(MillraceError)
@app.exception_handler(OSError)
def unreachable(_: Request, error: Exception) -> HTMLResponse:
    """What is wrong with the profile or its store, in words."""
    return page("Millrace reports", f"<p>The reports can't be read: {html.escape(str(error))}</p>", status=503)


@app.get("/reports")
def list_all() -> HTMLResponse:
    """All reports, by pipeline."""
    names = reported_pipelines(load_profile().reports)
    body = "".join(f"<h2>{html.escape(name)}</h2>{links(name)}" for name in names)
    return page("Millrace reports", body or "<p>No report yet: one is written at the end of each training run.</p>")


@app.get("/reports/{name}")
def list_one(name: str = NAME) -> HTMLResponse:
    """The reports of one pipeline, newest first."""
    return page(f"Reports of {name}", links(name) or "<p>No report yet.</p>")


@app.get("/reports/{name}/{run}")
def report(name: str = NAME, run: str = RUN) -> Response:
    """One report; before there is one, a page that says so and lists the others."""
    text = read_report(load_profile().reports, name, run)
    if text is None:
        words = f"<p>No report of {html.escape(run)} yet: it is written at the end of the run.</p>"
        return page(f"Reports of {name}", words + links(name), status=404)
    return HTMLResponse(text, headers=SANDBOX)


@app.get("/dags/{dag_id}")
def latest(dag_id: str) -> Response:
    """The newest report of a DAG's pipeline: shown as a tab of the DAG."""
    name = next((dag_id.removesuffix(suffix) for suffix in SUFFIXES if dag_id.endswith(suffix)), "")
    reports = load_profile().reports
    newest = newest_report(reports, name) if name.isidentifier() else None
    text = read_report(reports, name, newest) if newest else None
    if text is None:
        return page("Millrace report", f"<p>No report of {html.escape(dag_id)} yet.</p>")
    return HTMLResponse(text, headers=SANDBOX)


def links(name: str) -> str:
    """A list of links to a pipeline's reports."""
    runs = map(html.escape, kept_reports(load_profile().reports, name))
    items = [f'<li><a href="{PREFIX}/reports/{html.escape(name)}/{run}">{run}</a></li>' for run in runs]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A small page."""
    escaped = html.escape(title)
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escaped}</title><style>{STYLE}</style>"
        f"<h1>{escaped}</h1>{body}</html>",
        status_code=status,
    )
