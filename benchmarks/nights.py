"""Nights in a row by the real Airflow: data files go in, seconds, rows, models and scores of every night come out.

    python benchmarks/nights.py --data FOLDER --nights 30 --set window=30d
    python benchmarks/nights.py --data FOLDER --until 2017-11-09 --set "evaluate={holdout: 1d}" --json

The pipeline file is what `millrace init` writes, with the top-level lines given by ``--set`` put in place of its own.
The nights are one backfill, as a person would start it, run by Airflow's own scheduler as `millrace up` starts it; the
scoring DAG follows by its asset. The first night of many brings in all of its window. Everything lives in a temporary
folder, gone afterwards unless ``--keep`` names one.

Seconds are Airflow's own records: of a night, from the start of its run to its end; of a task, from the start of its
process to its end; `stage`, what the stage itself measured inside the task; `before`, the wait since the task before.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import click
import polars as pl
from rich.console import Console
from rich.table import Table as Grid

from millrace.airflow.client import AirflowClient
from millrace.airflow.up import start
from millrace.init import write_pipeline_file
from millrace.pipeline_file import load
from millrace.profiles import pipelines_folder
from millrace.stage_names import TRAINING
from millrace.stages import open_run
from millrace.stages.ingest import newest_interval
from millrace.storage.ledger import Ledger

NAME = "nights"
TABLES = ("check", "clean", "quarantine", "sharded", "stats", "drift", "sample", "evaluation", "scores")
METRICS = ("roc_auc", "average_precision")
POLL = 2.0  # seconds; what is asked of the API server takes from the cores that are measured

Night = dict[str, Any]


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder.")
@click.option("--pattern", default="*", help="Which of its files.")
@click.option(
    "--nights",
    default=1,
    show_default=True,
    help="How many nights in a row, ending with --until; 0: write the pipeline file.",
)
@click.option("--until", help="The last night, such as 2018-05-30 (default: the newest in the files).")
@click.option("--set", "lines", multiple=True, metavar="KEY=VALUE", help="A top-level line of the pipeline file.")
@click.option("--label", help="The column to predict (default: as `millrace init` guesses).")
@click.option("--keep", type=click.Path(path_type=Path), help="Work in this folder and leave it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(
    data: Path, pattern: str, nights: int, until: str | None, lines: Sequence[str], label: str | None,
    keep: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run the nights and print what they took and did."""
    files = sorted(data.absolute().glob(pattern))
    console = Console(stderr=True)
    began = time.monotonic()

    def say(words: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {words}", highlight=False)

    with workplace(keep) as place:
        write_pipeline(place, files, lines, label)
        if not nights:
            return
        last = date.fromisoformat(until or newest_interval(open_run(NAME, None)))
        with start(place / "home", unpaused=True, progress=say) as airflow:
            found = run_nights(airflow.client(), last - timedelta(days=nights - 1), last, say)
        document = summary(last.isoformat(), *found)
    if as_json:
        click.echo(json.dumps(document, default=str))
    else:
        show(document)


@contextlib.contextmanager
def workplace(keep: Path | None) -> Iterator[Path]:
    """An empty folder that the process works in, with all of Millrace's state."""
    with contextlib.ExitStack() as stack:
        place = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-nights-")))
        place = place.absolute()
        place.mkdir(parents=True, exist_ok=True)
        stack.enter_context(contextlib.chdir(place))
        os.environ["MILLRACE_HOME"] = str(place / "home")
        os.environ["MILLRACE_PIPELINES"] = str(place / "pipelines")
        yield place


def write_pipeline(place: Path, files: Sequence[Path], lines: Sequence[str], label: str | None) -> None:
    """Links to the files, and the pipeline file that `millrace init` writes for them, with some lines changed."""
    folder = place / "data"
    folder.mkdir(exist_ok=True)
    for file in files:
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    ending = "".join(files[0].suffixes[-2:]) if files[0].suffix == ".gz" else files[0].suffix
    path = write_pipeline_file(NAME, [f"{folder}/*{ending}"], pipelines_folder(), label=label, force=True)
    text = path.read_text()
    for line in lines:
        key, _, value = line.partition("=")
        wanted = f"{key}: {value}\n"
        text, count = re.subn(rf"(?m)^{re.escape(key)}:.*\n(?:[ #].*\n)*", lambda _, to=wanted: to, text)  # type: ignore[misc]
        text = text if count else text + wanted
    path.write_text(text)
    load(path)


def run_nights(client: AirflowClient, first: date, last: date, say: Any) -> tuple[list[Night], list[Night]]:
    """Let Airflow run the nights and the scoring that follows; returns the training and the scoring runs."""
    training, scoring = f"{NAME}_train", f"{NAME}_score"
    client.wait_for_dag(training)
    client.wait_for_dag(scoring)
    nights = []
    for run in client.backfill(training, first, last):
        done = client.wait(training, run, poll=POLL)
        nights.append(measured(client, training, done, [*TRAINING, "announce"]))
        say(f"{nights[-1]['results']['announce']['date']} took {nights[-1]['seconds']:.1f} s")
    runs = client.wait_for_idle(scoring, poll=POLL)
    return nights, [measured(client, scoring, run, ["score"]) for run in runs]


def measured(client: AirflowClient, dag: str, run: dict[str, Any], order: Sequence[str]) -> Night:
    """What a run's tasks returned, and the seconds of the run and of its tasks, in order."""
    run_id = run["dag_run_id"]
    tasks = client.tasks(dag, run_id)
    results = {name: client.result(dag, run_id, name) or {} for name in order if name in tasks}
    seconds, before = {}, moment(run["start_date"])
    for name in results:
        begin, end = moment(tasks[name]["start_date"]), moment(tasks[name]["end_date"])
        seconds[name] = {
            "task": (end - begin).total_seconds(),
            "stage": results[name].get("seconds"),
            "before": (begin - before).total_seconds(),
            "tries": tasks[name]["try_number"],
        }
        before = end
    took = (moment(run["end_date"]) - moment(run["start_date"])).total_seconds()
    return {"state": run["state"], "seconds": took, "tasks": seconds, "results": results}


def moment(text: str) -> datetime:
    """A time of Airflow's API."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def summary(last: str, nights: list[Night], scoring: list[Night]) -> dict[str, Any]:
    """All figures, as JSON."""
    run = open_run(NAME, last)
    return {
        "nights": [night_facts(night) for night in nights],
        "seconds": spread([night["seconds"] for night in nights[1:]] or [nights[0]["seconds"]]),
        "first_night_seconds": nights[0]["seconds"],
        "stages": stage_seconds(nights[1:] or nights) | stage_seconds(scoring[1:] or scoring),
        "rows": rows_moved([*nights, *scoring]),
        "champion_changes": sum(night["results"]["announce"]["promoted"] for night in nights),
        "scoring_runs": len(scoring),
        "scores": scored_once(run),
        "versions": {name: run.table(name).version() for name in TABLES if run.table(name).exists()},
        "retries": sum(task["tries"] - 1 for night in [*nights, *scoring] for task in night["tasks"].values()),
    }


def night_facts(night: Night) -> dict[str, Any]:
    """One night: seconds, the candidate's metrics on the holdout and the champion's beside them, who is champion."""
    evaluated = night["results"]["evaluate"]["details"]
    announced = night["results"]["announce"]
    theirs = evaluated["champion_metrics"] or {}
    return {
        "date": announced["date"],
        "state": night["state"],
        "seconds": night["seconds"],
        "between_tasks": sum(task["before"] for task in night["tasks"].values()),
        "intervals": night["results"]["check"]["details"]["intervals"],
        **{metric: evaluated["metrics"][metric] for metric in METRICS},
        **{f"champion_{metric}": theirs.get(metric) for metric in METRICS},
        "holdout_rows": evaluated["rows"],
        "promoted": announced["promoted"],
        "champion": announced["model_version"],
        "sample": night["results"]["sample"]["details"].get("words"),
        "decision": evaluated["words"],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and largest."""
    return {"median": round(median(values), 3), "max": round(max(values), 3)}


def stage_seconds(runs: Sequence[Night]) -> dict[str, dict[str, dict[str, float]]]:
    """Median and largest seconds by task: its process, the stage in it, and the wait before it."""
    names = dict.fromkeys(name for run in runs for name in run["tasks"])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in names:
        tasks = [run["tasks"][name] for run in runs if name in run["tasks"]]
        found[name] = {
            kind: spread([task[kind] for task in tasks if task[kind] is not None] or [0.0])
            for kind in ("task", "stage", "before")
        }
    return found


def rows_moved(runs: Sequence[Night]) -> dict[str, dict[str, Any]]:
    """Sum of the ledgers by stage, and whether each of them balances."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for stage, result in run["results"].items():
            if result.get("ledger") is None:
                continue
            ledger = Ledger.model_validate(result["ledger"])
            entry = found.setdefault(stage, {"total": Ledger(), "ledgers": 0, "balanced": 0})
            entry["total"] += ledger
            entry["ledgers"] += 1
            entry["balanced"] += ledger.balanced
    return {stage: entry | {"total": entry["total"].model_dump()} for stage, entry in found.items()}


def scored_once(run: Any) -> dict[str, Any]:
    """Rows of the scores beside the rows of the table that was scored, at the newest versions of both.

    `twice`: scores beyond one per row. `different`: row ids of one table that the other doesn't hold as often.
    """
    counts = []
    for name in (run.pipeline.score.table, "scores"):
        frame = pl.DataFrame(run.table(name).read(columns=["row_id", "data_interval"]))
        counts.append(frame.group_by("data_interval", "row_id").len())
    both = counts[0].join(counts[1], on=["data_interval", "row_id"], how="full", suffix="_scored")
    extra = both["len_scored"].fill_null(0).cast(pl.Int64) - both["len"].fill_null(0).cast(pl.Int64)
    return {
        "rows": int(counts[1]["len"].sum()),
        "intervals": counts[1]["data_interval"].n_unique(),
        "twice": int(extra.clip(0).sum()),
        "different": int((extra != 0).sum()),
        "models": run.table("scores").read(columns=["model_version"])["model_version"].unique().to_pylist(),
    }


def show(document: dict[str, Any]) -> None:
    """Print the figures for people."""
    console = Console()
    grid = Grid(title="Nights", title_justify="left")
    for heading in (
        "night",
        "seconds",
        "between tasks",
        "roc_auc",
        "champion",
        "avg precision",
        "champion",
        "decision",
    ):
        grid.add_column(heading)
    for night in document["nights"]:
        figures = [night[key] for metric in METRICS for key in (metric, f"champion_{metric}")]
        cells = ["" if figure is None else f"{figure:.4f}" for figure in figures]
        verdict = f"{'promoted' if night['promoted'] else 'kept'}, champion {night['champion']}"
        grid.add_row(night["date"], f"{night['seconds']:.1f}", f"{night['between_tasks']:.1f}", *cells, verdict)
    console.print(grid)

    grid = Grid(title="Seconds, median and largest, without the first night", title_justify="left")
    for heading in ("task", "process", "stage", "wait before"):
        grid.add_column(heading)
    for name, kinds in document["stages"].items():
        grid.add_row(name, *(f"{kinds[k]['median']:.2f} / {kinds[k]['max']:.2f}" for k in ("task", "stage", "before")))
    console.print(grid)

    grid = Grid(title="Rows of all nights", title_justify="left")
    for heading in ("stage", "in", "out", "quarantined", "duplicates", "not sampled", "balanced"):
        grid.add_column(heading)
    for stage, entry in document["rows"].items():
        total = entry["total"]
        counts = [total["rows_in"], total["rows_out"], sum(total["quarantined"].values()), total["duplicates"]]
        counts.append(total["not_sampled"])
        grid.add_row(stage, *(f"{count:,}" for count in counts), f"{entry['balanced']} of {entry['ledgers']}")
    console.print(grid)

    scores = document["scores"]
    console.print(f"first night {document['first_night_seconds']:.1f} s, a night after it {document['seconds']}")
    console.print(f"champion changes {document['champion_changes']}, retries {document['retries']}")
    console.print(f"scoring runs {document['scoring_runs']}, scores {scores}")
    console.print(f"versions {document['versions']}")


if __name__ == "__main__":
    main()
