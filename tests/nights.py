"""Small nightly files with a signal, and the pipeline file that reads them, for tests of whole runs."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

PIPELINE = """\
name: {name}
source: {{uri: "{data}/*.csv", format: csv, time: t, file_date: "%Y-%m-%d", interval: daily}}
columns:
  t: {{type: timestamp, role: time}}
  customer: {{type: string, role: key}}
  colour: {{type: string, role: categorical}}
  amount: {{type: float64, role: numeric}}
  bought: {{type: int8, role: label}}
shard: {{by: customer, shards: 2}}
window: 3d
evaluate: {{holdout: 1d}}
{more}
"""


def write_night(folder: Path, night: date, rows: int = 400) -> Path:
    """One file of rows whose label depends on the amount; the same for the same night."""
    draw = random.Random(night.toordinal())
    lines = ["t,customer,colour,amount,bought"]
    for second in range(rows):
        amount = draw.gauss(50, 20)
        bought = int(amount + draw.gauss(0, 15) > 70)
        colour = draw.choice(["red", "green", "blue"])
        lines.append(
            f"{night}T{second // 60 % 24:02}:{second % 60:02}:00,c{draw.randrange(90)},{colour},{amount:.3f},{bought}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"buys-{night}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_nights(folder: Path, first: date, count: int) -> list[Path]:
    """Files of `count` nights in a row."""
    return [write_night(folder, first + timedelta(days=number)) for number in range(count)]


def write_pipeline(folder: Path, data: Path, name: str = "buys", more: str = "") -> Path:
    """The pipeline file that reads such nights."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(PIPELINE.format(name=name, data=data, more=more))
    return path
