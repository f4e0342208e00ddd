"""Millrace's pages in the Airflow UI: the reports in `<home>/reports/<pipeline>/<date>.html`, for signed-in users."""

from __future__ import annotations

import html
from pathlib import Path

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi import Depends, FastAPI
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, Response

from millrace.airflow.links import PREFIX
from millrace.profiles import home

NAME = PathParameter(pattern=r"^[a-z][a-z0-9_]{0,62}$")
CHECKS = "-checks"  # ends the name of the Data Docs page beside a report, which holds it too
DATE = PathParameter(pattern=r"^[0-9]{4}(-[0-9]{2}){0,2}(T[0-9]{2})?$|^all$")
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


@app.get("/reports")
def list_all() -> HTMLResponse:
    """All reports, by pipeline."""
    folder = home() / "reports"
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    body = "".join(f"<h2>{html.escape(name)}</h2>{links(name)}" for name in names)
    return page("Millrace reports", body or "<p>No report yet: one is written at the end of each training run.</p>")


@app.get("/reports/{name}")
def list_one(name: str = NAME) -> HTMLResponse:
    """The reports of one pipeline, newest first."""
    return page(f"Reports of {name}", links(name) or "<p>No report yet.</p>")


@app.get("/reports/{name}/{date}")
def report(name: str = NAME, date: str = DATE) -> Response:
    """One report; before there is one, a page that says so and lists the others."""
    file = home() / "reports" / name / f"{date}.html"
    if not file.is_file():
        words = f"<p>No report of {html.escape(date)} yet: it is written at the end of the run.</p>"
        return page(f"Reports of {name}", words + links(name), status=404)
    return FileResponse(file, media_type="text/html", headers=SANDBOX)


@app.get("/dags/{dag_id}")
def latest(dag_id: str) -> Response:
    """The newest report of a DAG's pipeline: shown as a tab of the DAG."""
    name = next((dag_id.removesuffix(suffix) for suffix in SUFFIXES if dag_id.endswith(suffix)), "")
    found = dates(name) if name.isidentifier() else []
    if not found:
        return page("Millrace report", f"<p>No report of {html.escape(dag_id)} yet.</p>")
    return FileResponse(home() / "reports" / name / f"{found[0]}.html", media_type="text/html", headers=SANDBOX)


def dates(name: str) -> list[str]:
    """Dates of a pipeline's reports, newest first."""
    folder: Path = home() / "reports" / name
    return sorted((file.stem for file in folder.glob("*.html") if not file.stem.endswith(CHECKS)), reverse=True)


def links(name: str) -> str:
    """A list of links to a pipeline's reports."""
    items = [
        f'<li><a href="{PREFIX}/reports/{html.escape(name)}/{html.escape(date)}">{html.escape(date)}</a></li>'
        for date in dates(name)
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A small page."""
    escaped = html.escape(title)
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escaped}</title><style>{STYLE}</style>"
        f"<h1>{escaped}</h1>{body}</html>",
        status_code=status,
    )
