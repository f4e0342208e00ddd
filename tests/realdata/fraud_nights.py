"""Nights in a row on fraud_daily: a file a night, trained on the window, the last days before the night judge.

    python tests/realdata/fraud_nights.py --nights 30

runs them in process in a temporary home and prints what each night took.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from whole_run import Results, init, metrics, run

NAME, WINDOW = "fraud", 21
FIRST_FILE = date(2018, 4, 1)


@dataclass(frozen=True)
class Night:
    """One night: its date, results by stage, and seconds."""

    date: str
    results: Results
    seconds: float


def write_fraud_pipeline(folder: Path, **lines: str) -> Path:
    """The pipeline file that init writes, by default with a window of 21 days of which the last 7 judge."""
    return init(NAME, [folder], **{"window": f"{WINDOW}d", "evaluate": "{holdout: 7d}", **lines})


def fraud_nights(count: int, first: date = FIRST_FILE + timedelta(days=WINDOW - 1)) -> list[Night]:
    """Run `count` nights in a row in process; the first night reads a whole window of files, each later night one."""
    nights = []
    for number in range(count):
        night = str(first + timedelta(days=number))
        started = time.monotonic()
        results = run(NAME, night)
        nights.append(Night(night, results, time.monotonic() - started))
    return nights


def main() -> None:
    """Run nights from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--model", default="logistic_regression")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MILLRACE_REAL_DATA", "../shared/data")))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["MILLRACE_HOME"], os.environ["MILLRACE_PIPELINES"] = f"{place}/home", f"{place}/pipelines"
        write_fraud_pipeline(options.data.resolve() / "fraud_daily", train=f"{{model: {options.model}}}")
        started = time.monotonic()
        for night in fraud_nights(options.nights):
            parts = " ".join(f"{name} {result.seconds:.2f}" for name, result in night.results.items())
            auc = metrics(night.results)["roc_auc"]
            champion = night.results["promote"].version
            words = f"{night.date} {night.seconds:.2f} s AUC {auc:.4f} champion {champion}: {parts}"
            print(words, file=sys.stderr)
        print(f"{options.nights} nights in {time.monotonic() - started:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
