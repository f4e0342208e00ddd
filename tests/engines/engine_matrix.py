"""The matrix of engines and stores as the README shows it."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- engines -->\n", "<!-- /engines -->\n"
STORES = {"file": "local folder", "s3": "S3 (MinIO)", "hdfs": "HDFS"}
TEST = re.compile(r"test_tables_are_the_same\[(\w+)-(\w+)\]$")
COMBINATIONS = [
    ("local", "file"),
    ("local", "s3"),
    ("local", "hdfs"),
    ("spark", "file"),
    ("spark", "s3"),
    ("spark", "hdfs"),
    ("hadoop", "s3"),
    ("hadoop", "hdfs"),
    ("emr", "s3"),
]


def matrix(found: dict[tuple[str, str], str]) -> str:
    """A Markdown table of runners and stores."""
    runners = dict.fromkeys(runner for runner, _ in COMBINATIONS if any(runner == each for each, _ in found))
    lines = [f"| runner | {' | '.join(STORES.values())} |", "|---|" + "---|" * len(STORES)]
    for runner in runners:
        cells = " | ".join(found.get((runner, store), "") for store in STORES)
        lines.append(f"| `{runner}` | {cells} |")
    return "\n".join(lines) + "\n"


def cells(text: str) -> list[str]:
    """The cells of a matrix that say something, row by row."""
    rows = [line.strip("|").split("|")[1:] for line in text.splitlines()[2:]]
    return [cell.strip() for row in rows for cell in row if cell.strip()]
