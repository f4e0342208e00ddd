"""`millrace demo`: simulated clicks flow in, Airflow runs the last nights, and a summary of what happened comes out."""

from __future__ import annotations

import time
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
from millrace.simulate import simulate
from millrace.stage_names import SCORING, TRAINING
from millrace.stages import open_run
from millrace.stages.context import StageResult
from millrace.stages.learn import champion_summary
from millrace.stages.show import results_grid

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
    console = Console(stderr=True)
    began = time.monotonic()

    def say(words: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {words}", highlight=False)

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
        training = stage_results(client, f"{NAME}_train", TRAINING)
        scoring = stage_results(client, f"{NAME}_score", SCORING)
    say("Airflow is stopped")
    summary = summarise(training + scoring, time.monotonic() - began)
    show_summary(Console(), summary, training + scoring)
    return summary


def run_night(client: AirflowClient, night: date, say: Any) -> None:
    """Let Airflow retrain on one night, and wait for the scoring that follows."""
    for run in client.backfill(f"{NAME}_train", night, night):
        say(f"[bold]night of {night}[/bold]: Airflow runs {NAME}_train")
        client.wait(f"{NAME}_train", run, progress=lambda _, task, state: tell(say, task, state))
    client.wait_for_idle(f"{NAME}_score", progress=lambda _, task, state: tell(say, task, state))


def tell(say: Any, task: str, state: str) -> None:
    """One line per change that people want to see."""
    if state in ("running", "success", "failed", "up_for_retry", "skipped"):
        say(f"    {task:<10} {state}")


def stage_results(client: AirflowClient, dag: str, stages: tuple[str, ...]) -> list[StageResult]:
    """What the stages of the newest run of a DAG returned."""
    run = client.runs(dag)[-1]["dag_run_id"]
    found = []
    for stage in stages:
        result = client.result(dag, run, stage)
        if result:
            found.append(
                StageResult.model_validate({key: result.get(key) for key in StageResult.model_fields if key in result})
            )
    return found


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
        "report": str(run.profile.home / "reports" / NAME / f"{run.date}.html"),
        "stages": [each.model_dump(mode="json") for each in results],
    }


def show_summary(console: Console, summary: dict[str, Any], results: list[StageResult]) -> None:
    """Print the tables that end the demo."""
    console.print(results_grid(results, title=f"Last night ({LAST_DAY})"))
    evaluation = summary["evaluation"]
    if evaluation:
        grid = Grid(
            title="Candidate of the last night beside the champion before it, on the same holdout", title_justify="left"
        )
        grid.add_column("model")
        for metric in METRICS:
            grid.add_column(metric, justify="right")
        for title, version, metrics in (
            ("candidate", evaluation["candidate"], evaluation["metrics"]),
            ("champion before", evaluation["champion"], evaluation["champion_metrics"]),
        ):
            if metrics:
                grid.add_row(f"{title} (version {version})", *(f"{metrics[metric]:.4f}" for metric in METRICS))
        console.print(grid)
    champion = summary["champion"]
    if champion:
        console.print(f"champion  version {champion['version']}, trained on the night of {champion['interval']}")
    if summary["scores"]:
        console.print(f"scores    {summary['scores']['rows']:,} rows in {summary['scores']['where']}")
    console.print(f"report    {summary['report']}")
    console.print("UI        .venv/bin/millrace up   (then open the address that it prints)")
    console.print(f"done in {summary['seconds']:.0f} s")
