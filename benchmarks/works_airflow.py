"""What Airflow adds to a night of the demo's pipeline, over `millrace run`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.setup import run_setup
from benchmarks.work import MILLRACE, REPOSITORY, Bench, Contender, Goal, Outcome, Work, millrace

DAYS, ROWS, SEED, LAST_DAY = 60, 60_000, 1, date(2026, 3, 31)
NIGHTS = 3  # by Airflow, the first of which brings in the whole window and isn't counted
NAME = "nights"


def airflow(bench: Bench) -> Work:
    """The last night of the demo's clicks, with everything before it done, by `millrace run` and by Airflow."""
    own = replace(bench, place=bench.place / "airflow")
    data = own.place / f"data-{ROWS}"
    if not data.exists():
        bench.say(f"making {DAYS} days of clicks")
        draft = data.with_name("data.draft")
        shutil.rmtree(draft, ignore_errors=True)
        code = "from datetime import date; from pathlib import Path; from millrace.simulate import simulate; "
        code += f"simulate(Path({str(draft)!r}), days={DAYS}, rows={ROWS}, seed={SEED}, last_day=date{_parts()})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, env=own.environment)
        draft.rename(data)
    shutil.rmtree(own.home, ignore_errors=True)
    files = sorted(map(str, data.glob("*.csv.gz")))
    run_setup(own, millrace("init", NAME, "--force", *files))
    run_setup(own, millrace("run", NAME, "--date", str(LAST_DAY - timedelta(days=1))))
    kept = own.home.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(own.home, kept)

    def again() -> None:
        shutil.rmtree(own.home, ignore_errors=True)
        shutil.copytree(kept, own.home)

    night = ["--data", str(data), "--pattern", "*.csv.gz", "--nights", str(NIGHTS), "--until", str(LAST_DAY), "--json"]
    contenders = [
        Contender(
            MILLRACE,
            millrace("run", NAME, "--date", str(LAST_DAY), "--json"),
            _read,
            prepare=again,
            environment=own.environment,
        ),
        Contender("Airflow", [sys.executable, "benchmarks/nights.py", *night], _read, seconds=night_seconds),
    ]
    goals = (Goal(2.0, figure="seconds_a_task_over_millrace_run", unit="s"),)
    title = "a night of the demo, with Airflow"
    note = f"Airflow's seconds are those of its training run, median of {NIGHTS - 1} nights; no scoring in either"
    return Work("airflow", title, contenders, goals, figures=_overhead, notes=(note,))


def night_seconds(out: Path) -> float:
    """The seconds of a night's training run, as Airflow recorded them."""
    return float(_read(out)["seconds"]["median"])


def _overhead(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    if "Airflow" not in outcomes:
        return {}
    runs, told = outcomes[MILLRACE].runs, outcomes["Airflow"].answer
    stages = {stage["stage"]: stage["seconds"] for stage in outcomes[MILLRACE].answer}
    alone = min(run.seconds for run in runs) - stages["score"]
    tasks = len(told["stages"]) - 1
    return {"seconds_a_task_over_millrace_run": (told["seconds"]["median"] - alone) / tasks}


def _read(out: Path) -> Any:
    return json.loads(out.read_text())


def _parts() -> tuple[int, int, int]:
    return LAST_DAY.year, LAST_DAY.month, LAST_DAY.day
