"""`millrace demo`: simulated clicks flow in, Airflow runs the last nights, and a summary of what happened comes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from millrace.airflow.client import AirflowClient
from millrace.airflow.up import start
from millrace.errors import RequestError
from millrace.init import write_pipeline_file
from millrace.profiles import home, pipelines_folder
from millrace.report.kept import report_uri
from millrace.simulate import simulate
from millrace.stage_names import SCORING, TRAINING
from millrace.stages import open_run
from millrace.stages.context import StageResult
from millrace.stages.learn import champion_summary
from millrace.stages.show import console, results_grid
from millrace.storage.ledger import Ledger

NAME = "clicks"
DAYS = 60
LAST_DAY = date(2026, 3, 31)
METRICS = ("roc_auc", "average_precision", "log_loss", "brier")


def run_demo(folder: Path, *, nights: int, rows: int, seed: int) -> dict[str, Any]:
    """Make the data and the pipeline file, start Airflow, run the last `nights`, score, stop Airflow, and tell.

    The file of two days before the last arrives a night late and is delivered between the nights.
    """
    if not 1 <= nights <= DAYS - 14:
        raise RequestError("nights", expected=f"1 to {DAYS - 14}", found=str(nights))
    told = console(stderr=True)
    began = time.monotonic()

    def say(words: str) -> None:
        told.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {words}", highlight=False, soft_wrap=True)

    data = folder / "data" / NAME
    say(f"making about {rows:,} rows of click logs over {DAYS} days in {data.relative_to(folder)}")
    late_day = LAST_DAY - timedelta(days=min(2, nights))
    made = simulate(data, days=DAYS, rows=rows, seed=seed, last_day=LAST_DAY, late_day=late_day)
    say(f"looking at them: millrace init {NAME} {data.relative_to(folder)}/*.csv.gz")
    file = write_pipeline_file(
        NAME, [f"{data.relative_to(folder)}/*.csv.gz"], pipelines_folder(), label=None, force=True
    )
    say(f"wrote {file}")
    say("starting Airflow (millrace up)")
    with start(home(), unpaused=True, progress=say) as airflow:
        client = airflow.client()
        client.wait_for_dag(f"{NAME}_train")
        for back in reversed(range(nights)):
            night = LAST_DAY - timedelta(days=back)
            if night > late_day and made.late.exists():
                delivered = made.late.rename(data / made.late.name)
                say(f"the late file arrives: {delivered.relative_to(folder)}")
            run_night(client, night, say)
        training = stage_results(client, f"{NAME}_train", TRAINING[:-1])  # scoring reports too
        scoring = stage_results(client, f"{NAME}_score", SCORING)
        for dag in (f"{NAME}_train", f"{NAME}_score"):
            client.switch(dag, on=False)  # the data ends here: a schedule would find no files
        say("stopping Airflow")
    say("Airflow is stopped")
    summary = summarise(training + scoring, time.monotonic() - began)
    show_summary(console(), summary, training + scoring)
    return summary


def run_night(client: AirflowClient, night: date, say: Any) -> None:
    """Let Airflow retrain on one night, and wait for the scoring that follows."""
    for run in client.backfill(f"{NAME}_train", night, night):
        say(f"[bold]night of {night}[/bold]: Airflow runs {NAME}_train")
        client.wait(f"{NAME}_train", run, progress=teller(client, f"{NAME}_train", say))
    client.wait_for_idle(f"{NAME}_score", progress=teller(client, f"{NAME}_score", say))


def teller(client: AirflowClient, dag: str, say: Any) -> Callable[[str, str, str], None]:
    """Tells one line per change that people want to see; of a task that is done, what it did."""

    def tell(run: str, task: str, state: str) -> None:
        if state == "success":
            details = (client.result(dag, run, task) or {}).get("details", {})
            say(f"    {task:<10} done     {details.get('words', '')}")
        elif state in ("running", "failed", "up_for_retry", "skipped"):
            say(f"    {task:<10} {state}")

    return tell


def stage_results(client: AirflowClient, dag: str, stages: tuple[str, ...]) -> list[StageResult]:
    """What each stage did in all runs of a DAG: ledgers and seconds added up, the rest as of the last run."""
    found: dict[str, StageResult] = {}
    for run in client.runs(dag):
        for stage in stages:
            returned = client.result(dag, run["dag_run_id"], stage)
            if not returned:
                continue
            known = {key: value for key, value in returned.items() if key in StageResult.model_fields}
            result, before = StageResult.model_validate(known), found.get(stage)
            if before is not None:
                ledgers = [each.ledger for each in (before, result) if each.ledger is not None]
                total = Ledger.total(ledgers) if ledgers else None
                seconds = round(before.seconds + result.seconds, 3)
                result = result.model_copy(update={"ledger": total, "seconds": seconds})
            found[stage] = result
    return list(found.values())


def summarise(results: list[StageResult], seconds: float) -> dict[str, Any]:
    """Where everything is, and the champion beside the former one."""
    run = open_run(NAME, LAST_DAY.isoformat())
    evaluated = next((each for each in results if each.stage == "evaluate"), None)
    scores = run.table("scores")
    return {
        "pipeline": NAME,
        "seconds": round(seconds, 1),
        "champion": champion_summary(run),
        "evaluation": evaluated.details if evaluated else None,
        "scores": {"where": scores.uri, "rows": sum(scores.intervals().values())} if scores.exists() else None,
        "report": report_uri(run.profile.reports, NAME, run.date),
        "stages": [each.model_dump(mode="json") for each in results],
    }


def show_summary(out: Console, summary: dict[str, Any], results: list[StageResult]) -> None:
    """Print the tables that end the demo."""
    out.print(results_grid(results, title="What each stage did in all nights"))
    evaluation = summary["evaluation"]
    if evaluation:
        grid = Grid(
            title="Last night's candidate beside the champion it met, on the same holdout", title_justify="left"
        )
        grid.add_column("model")
        for metric in METRICS:
            grid.add_column(metric, justify="right")
        for title, version, metrics in (
            ("candidate", evaluation["candidate"], evaluation["metrics"]),
            ("champion", evaluation["champion"], evaluation["champion_metrics"]),
        ):
            if metrics:
                grid.add_row(f"{title}, version {version}", *(f"{metrics[metric]:.4f}" for metric in METRICS))
        out.print(grid)
        out.print(evaluation["words"], soft_wrap=True)
    champion = summary["champion"]
    if champion:
        out.print(f"champion  version {champion['version']}, trained in the night of {champion['interval']}")
    if summary["scores"]:
        out.print(f"scores    {summary['scores']['rows']:,} rows in {summary['scores']['where']}")
    out.print(f"report    {summary['report']}")
    out.print("UI        .venv/bin/millrace up   (then open the address that it prints)")
    out.print(f"done in {summary['seconds']:.0f} s")
