"""Whether a contender's statistics are right: its answer and the exact truth go in, differences come out."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers.events import FRACTIONS, KINDS, NUMBERS, ORDERED, TOPS
from benchmarks.truth import STEPS

RANK_ERROR, MOMENT_ERROR, COUNT_ERROR = 0.01, 1e-9, 0.02
Answer = Mapping[str, Any]


def read_answer(out: Path) -> Answer:
    """The answer of a peer: one JSON document."""
    return json.loads(out.read_text().splitlines()[-1])  # type: ignore[no-any-return]


def read_pairs(out: Path) -> Answer:
    """The answer of a plain job of mrjob's: a line per column, its name and its statistics."""
    columns = dict(map(json.loads, line.split("\t")) for line in out.read_text().splitlines())
    return {"rows": next(iter(columns.values()))["rows"], "columns": columns}


def read_records(out: Path) -> Answer:
    """The answer of ``mrjobs/feature_stats.py``: a JSON record per column."""
    columns: dict[str, Any] = {}
    rows = 0
    for line in out.read_text().splitlines():
        record = json.loads(line)
        rows = record["rows"]
        columns[record["column"]] = {
            "std" if name == "stddev" else name: record[name]
            for name in ("nulls", "distinct", "min", "max", "mean", "stddev")
            if name in record
        }
        columns[record["column"]]["top"] = [[item["value"], item["count"]] for item in record["top"]]
        if "quantiles" in record:
            columns[record["column"]]["quantiles"] = list(record["quantiles"].values())
    return {"rows": rows, "columns": columns}


@dataclass(frozen=True)
class Tolerance:
    """How wrong a contender may be: its approximation of distinct values, relative; and how many of the most frequent
    values it must name among the ten."""

    distinct: float = 0.02
    top: int = 10


def differences(
    answer: Answer,
    truth: Mapping[str, Mapping[str, Any]],
    tolerance: Tolerance = Tolerance(),  # noqa: B008
) -> list[str]:
    """What is wrong with an answer, in words; nothing where it agrees within the tolerances."""
    found = []
    for name, known in truth.items():
        column = answer["columns"].get(name, {})
        wrong = [] if answer["rows"] == known["rows"] else ["rows"]
        wrong += [what for what in ("nulls", "min", "max") if _value(column.get(what), name) != known[what]]
        if not _near(column.get("distinct"), known["distinct"], tolerance.distinct):
            wrong.append("distinct")
        if name in NUMBERS:
            wrong += [what for what in ("mean", "std") if not _near(column.get(what), known[what], MOMENT_ERROR)]
        if name in ORDERED:
            quantiles = [_value(value, name) for value in column.get("quantiles", [])]
            wrong += [] if _ranked(quantiles, known["grid"]) else ["quantiles"]
        if name in TOPS and not _frequent(column.get("top", []), known["top"], tolerance.top):
            wrong.append("top")
        found += [f"{name}: {what} {column.get(what, answer['rows'])}, not {known.get(what)}"[:300] for what in wrong]
    return found


def _value(value: Any, name: str) -> Any:
    """A value as the truth writes it: times as microseconds since 1970."""
    if KINDS[name] == "timestamp" and isinstance(value, str):
        moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    return value


def _near(value: Any, known: float, error: float) -> bool:
    """Relative to the known value; a mean near 0 relative to 1."""
    return value is not None and math.isclose(float(value), known, rel_tol=error, abs_tol=error)


def _ranked(quantiles: Sequence[float], grid: Sequence[float]) -> bool:
    """Whether each value's ranks reach from at most its fraction to at least its fraction, within the error."""
    slack = RANK_ERROR + 1 / STEPS
    return len(quantiles) == len(FRACTIONS) and all(
        (bisect.bisect_left(grid, value) - 1) / STEPS - slack
        <= fraction
        <= bisect.bisect_right(grid, value) / STEPS + slack
        for fraction, value in zip(FRACTIONS, quantiles, strict=True)
    )


def _frequent(top: Sequence[Sequence[Any]], known: Sequence[Sequence[Any]], named: int) -> bool:
    """Whether the most frequent values are there, others only where they are as frequent as the tenth, counts right."""
    counts = dict(map(tuple, known))
    named = min(named, len(known))
    least = known[named - 1][1] * (1 - COUNT_ERROR)
    right = [
        (value, count)
        for value, count in top
        if counts.get(value, 0) >= least and (count is None or _near(count, counts[value], COUNT_ERROR))
    ]
    return len(right) >= named and (named < 10 or len(right) == len(top))


def distinct_error(answer: Answer, truth: Mapping[str, Mapping[str, Any]]) -> float:
    """The largest relative error of a number of distinct values."""
    errors = [abs(answer["columns"][name]["distinct"] / known["distinct"] - 1) for name, known in truth.items()]
    return max(errors)
