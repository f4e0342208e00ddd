"""What Airflow adds to a night of the demo's pipeline, over `millrace run`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from benchmarks.setup import run_setup
from benchmarks.work import MILLRACE, REPOSITORY, Bench, Contender, Goal, Outcome, Work, millrace

DAYS, ROWS, SEED, LAST_DAY = 60, 20_000, 1, date(2026, 3, 31)
NAME = "nights"


def airflow(bench: Bench) -> Work:
    """The last night of the demo's clicks, with everything before it done, by `millrace run` and by Airflow."""
    place = bench.place / "airflow"
    data = place / f"data-{ROWS}"
    if not data.exists():
        bench.say(f"making {DAYS} days of clicks")
        draft = data.with_name("data.draft")
        shutil.rmtree(draft, ignore_errors=True)
        code = "from datetime import date; from pathlib import Path; from millrace.simulate import simulate; "
        code += f"simulate(Path({str(draft)!r}), days={DAYS}, rows={ROWS}, seed={SEED}, last_day=date{_parts()})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, env=bench.environment)
        draft.rename(data)
    home, kept = place / "home", place / "kept"
    for folder in (home, kept, place / "data"):
        shutil.rmtree(folder, ignore_errors=True)
    own = {"MILLRACE_HOME": str(home), "MILLRACE_PIPELINES": str(place / "pipelines")}
    nights = [
        sys.executable,
        "benchmarks/nights.py",
        "--data",
        str(data),
        "--pattern",
        "*.csv.gz",
        "--keep",
        str(place),
    ]
    run_setup(bench, [*nights, "--nights", "0"])
    run_setup(bench, millrace("run", NAME, "--date", str(LAST_DAY - timedelta(days=1))), own)
    shutil.copytree(home, kept)

    def again() -> None:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(kept, home)

    contenders = [
        Contender(
            MILLRACE,
            millrace("run", NAME, "--date", str(LAST_DAY), "--json"),
            _read,
            prepare=again,
            environment=bench.environment | own,
        ),
        Contender(
            "Airflow", [*nights, "--until", str(LAST_DAY), "--json"], _read, prepare=again, seconds=night_seconds
        ),
    ]
    goals = (Goal(2.0, figure="seconds_a_task_over_millrace_run", unit="s"),)
    title = "a night of the demo, with Airflow"
    note = "Airflow's seconds are those of its training run; no scoring in either"
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
