"""A small pipeline of its own for each test: twelve days of orders, a label that a number predicts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from millrace.stages import Run, StageResult, open_run, run_stages

FIRST = date(2026, 1, 1)
PIPELINE = """\
name: orders
source: {uri: "data/*.csv", format: csv, time: at, interval: daily, file_date: "%Y-%m-%d"}
columns:
  at: {type: timestamp, role: time}
  customer: {type: int64, role: key}
  shop: {type: string, role: categorical}
  price: {type: float64, role: numeric}
  returned: {type: int8, role: label}
check:
  - {expect: table_row_count_to_be_between, min_value: 10, severity: fail}
clean:
  price: {range: [0, 1000], on_violation: quarantine}
shard: {by: customer, shards: 2}
window: 12d
sample: {method: all}
evaluate: {holdout: 3d, slices: [shop]}
schedule: "0 2 * * *"
"""


def day_rows(day: date, count: int = 60) -> str:
    """A day's file: 60 orders, the dear ones are mostly returned; the same for every call."""
    lines = ["at,customer,shop,price,returned"]
    for number in range(count):
        price = (number * 37 + day.day * 11) % 100
        returned = int(price > 60) if number % 7 else 1 - int(price > 60)
        lines.append(f"{day} 10:{number % 60:02d}:00,{number % 9},{'ab'[number % 2]},{price}.5,{returned}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the pipeline, with 12 days of data; the current folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MILLRACE_PIPELINES", str(tmp_path / "pipelines"))
    (tmp_path / "data").mkdir()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "orders.yaml").write_text(PIPELINE)
    for back in range(12):
        write_day(tmp_path, FIRST + timedelta(days=back))
    return tmp_path


def write_day(folder: Path, day: date, count: int = 60) -> Path:
    """Write one day's file."""
    path = folder / "data" / f"{day}.csv"
    path.write_text(day_rows(day, count))
    return path


@pytest.fixture
def run(orders: Path) -> Callable[..., tuple[Run, dict[str, StageResult]]]:
    """Run stages of the pipeline inline: the run and the results by stage."""

    def go(
        day: str = "2026-01-12", first: str = "check", last: str = "score", **options: object
    ) -> tuple[Run, dict[str, StageResult]]:
        opened = open_run("orders", day, options={"runner": "inline", **options})
        return opened, {result.stage: result for result in run_stages(opened, first, last)}

    return go
