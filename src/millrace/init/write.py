"""The text of a pipeline file from a look at the files and guesses about their columns."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from millrace.data.mistakes import nearest
from millrace.errors import RequestError
from millrace.init.guess import (
    IMPOSSIBLE,
    Guess,
    assign_roles,
    find_leaks,
    guess_columns,
    guess_label,
    ignore_clocks,
    missing_markers,
)
from millrace.init.look import Look, look_at
from millrace.pipeline_file import load
from millrace.spec import Source

MAX_CHECKS = 30
MOSTLY_TWO = 0.95  # where two values are so much of a label, the others are dirt
NAME = r"[a-z][a-z0-9_]{0,62}"
NIGHTLY = '"0 2 * * *"  # every night at two, UTC'
NOT_NULL = "expect: column_values_to_not_be_null"
BETWEEN = "expect: column_values_to_be_between"


def write_pipeline_file(name: str, uris: Sequence[str], folder: Path, *, label: str | None, force: bool) -> Path:
    """Look at the files and write ``folder/name.yaml``; its comments explain every guess.

    Raises RequestError where the file exists (unless `force`) or `label` is no column, InputError where the files
    can't be read.
    """
    if not re.fullmatch(NAME, name):
        raise RequestError(
            "not a name for a pipeline", expected="letters, digits and _, such as clicks", found=repr(name)
        )
    path = folder / f"{name}.yaml"
    if path.exists() and not force:
        raise RequestError(f"{path} exists", hint="give --force to write it anew")
    look = look_at(uris)
    text = pipeline_text(name, uris, look, label)
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".yaml.draft")
    draft.write_text(text, encoding="utf-8")
    load(draft)  # what init writes must be right
    draft.replace(path)
    return path


def pipeline_text(name: str, uris: Sequence[str], look: Look, label: str | None) -> str:
    """The text of the pipeline file."""
    markers = missing_markers(look.rows)
    guesses = guess_columns(look.rows, markers, look.header is not None)
    names = [guess.name for guess in guesses]
    if label is not None and label not in names:
        raise RequestError("no such column", expected=", ".join(names), found=repr(label), hint=nearest(label, names))
    label = label or guess_label(guesses, look.header is not None)
    guesses = assign_roles(guesses, label)
    if label:
        guesses = find_leaks(look.rows, guesses, markers, label)
    time = time_column(guesses)
    guesses = [
        replace(guess, role="ignore").why("another time") if guess.role == "time" and guess.name != time else guess
        for guess in guesses
    ]
    guesses = ignore_clocks(look.rows, guesses, time)
    interval = look.interval or (_interval_by_values(look, guesses, time) if time else None)
    key = next((guess.name for guess in guesses if guess.role == "key"), None)
    lines = [
        f"# Written by millrace init from {len(look.files):,} files and {len(look.rows):,} sample rows.",
        "# Each guess says why; change what is wrong.",
        f"name: {name}",
        "source:",
        f"  uri: {_uri(uris)}",
        f"  format: {look.format}",
    ]
    if time:
        lines.append(f"  time: {time}")
    lines.append(f"  interval: {interval or 'none'}{_interval_words(look, time, interval)}")
    if look.file_date and interval != "none":
        lines.append(f"  file_date: {json.dumps(look.file_date)}  # a date stands in every file's name")
        outside = _outside_their_file(look, guesses, time)
        if 0 < outside < IMPOSSIBLE:
            lines.append(f"  late_rows: quarantine  # {outside:.2%} of the times lie outside their file's interval")
    if look.header is None and look.format in ("csv", "tsv"):
        lines.append("  header: false  # the first record looks like the others")
    if look.delimiter:
        lines.append(f"  delimiter: {json.dumps(look.delimiter)}")
    if look.encoding != "utf-8":
        lines.append(f"  encoding: {look.encoding}  # not valid UTF-8")
    if set(markers) - set(Source.model_fields["null_values"].default):
        lines.append(f"  null_values: {json.dumps(markers)}  # markers seen that stand for a missing value")
    lines += ["columns:", *(_column_line(guess, look) for guess in guesses)]
    lines += _check_lines(guesses)
    lines += _clean_lines(guesses)
    lines += _shard_lines(guesses, key)
    lines += _learning_lines(guesses, label, interval, look)
    return "\n".join(lines) + "\n"


def time_column(guesses: Sequence[Guess]) -> str | None:
    """The column that says when a row happened: the fullest time that is no leak."""
    times = [guess for guess in guesses if guess.role == "time" and guess.nulls < 0.05]
    best = max(times, key=lambda guess: (guess.type == "timestamp", -guess.nulls), default=None)
    return best.name if best else None


def _interval_by_values(look: Look, guesses: Sequence[Guess], time: str) -> str | None:
    guess = next(each for each in guesses if each.name == time)
    days = look.rows[guess.source].str.strip_chars().str.slice(0, 10).n_unique()
    return None if days < 2 and not look.file_date else "daily"


def _outside_their_file(look: Look, guesses: Sequence[Guess], time: str | None) -> float:
    """The share of the rows whose time lies outside the interval of their file."""
    guess = next((each for each in guesses if each.name == time), None)
    if guess is None or look.row_intervals is None or look.interval not in ("daily", "monthly") or guess.formats:
        return 0.0
    length = 10 if look.interval == "daily" else 7
    times = look.rows[guess.source].str.strip_chars().str.slice(0, length)
    return float((times != pl.Series(look.row_intervals)).mean() or 0.0)  # type: ignore[arg-type]


def _interval_words(look: Look, time: str | None, interval: str | None) -> str:
    if look.interval:
        return "  # by the date in the files' names"
    if time and interval:
        return f"  # by {time}: the files' names hold no date"
    return "  # no time was found: all rows are one interval"


def _uri(uris: Sequence[str]) -> str:
    """One URI or a list; a list of local files of one folder becomes a glob where it matches just those."""
    if len(uris) == 1:
        only = Path(uris[0])
        return json.dumps(uris[0] if not only.is_dir() else f"{uris[0].rstrip('/')}/*")
    parents = {os.path.dirname(uri) for uri in uris}  # noqa: PTH120 - URIs are no paths
    if len(parents) == 1:
        parent = Path(parents.pop() or ".")
        suffix = "".join(Path(uris[0]).suffixes[-2:]) if uris[0].endswith((".gz", ".bz2")) else Path(uris[0]).suffix
        if {str(each) for each in parent.glob(f"*{suffix}")} == {str(Path(uri)) for uri in uris}:
            return json.dumps(f"{parent}/*{suffix}")
    return json.dumps(list(uris))


def _column_line(guess: Guess, look: Look) -> str:
    parts = [f"type: {guess.type}", f"role: {guess.role}"]
    if guess.source != guess.name and (look.header is not None or look.format in ("jsonl", "parquet")):
        parts.append(f"source: {json.dumps(guess.source)}")
    if guess.formats:
        parts.append(f"formats: {json.dumps(list(guess.formats))}")
    words = f"  # {'; '.join(guess.words)}" if guess.words else ""
    return f"  {guess.name}: {{{', '.join(parts)}}}{words}"


def _check_lines(guesses: Sequence[Guess]) -> list[str]:
    """Expectations worth having: rows exist, values are there, numbers and sets stay as seen."""
    lines = ["  - {expect: table_row_count_to_be_between, min_value: 1, severity: fail}  # an empty night is a mistake"]
    for guess in guesses:
        if guess.role in ("ignore", "leak"):
            continue
        if guess.role in ("label", "time", "key") and guess.nulls < 0.01:
            lines.append(
                f"  - {{{NOT_NULL}, column: {guess.name}, mostly: 0.95, severity: warn}}  # hardly ever missing"
            )
        elif guess.nulls and (mostly := round(1 - 2 * guess.nulls - 0.02, 2)) > 0:
            why = f"# {guess.nulls:.1%} are missing now; twice that is worth a look"
            lines.append(f"  - {{{NOT_NULL}, column: {guess.name}, mostly: {mostly}, severity: warn}}  {why}")
        if guess.role == "numeric" and guess.never_negative:
            lines.append(f"  - {{{BETWEEN}, column: {guess.name}, min_value: 0, mostly: 0.99, severity: warn}}")
        if guess.role in ("categorical", "label") and guess.values and len(guess.values) <= 20:
            two = guess.role == "label" and guess.usual_share > MOSTLY_TWO
            values = json.dumps(list(guess.usual if two else guess.values), ensure_ascii=False)
            lines.append(
                f"  - {{expect: column_values_to_be_in_set, column: {guess.name}, value_set: {values}, mostly: 0.95, "
                "severity: warn}  # all values seen"
            )
    return ["check:  # severity: fail stops the night, warn shows, quarantine moves the rows", *lines[:MAX_CHECKS]]


def _clean_lines(guesses: Sequence[Guess]) -> list[str]:
    lines = []
    for guess in guesses:
        if guess.role == "leak":
            lines.append(f"  {guess.name}: drop  # it leaks the label")
        elif guess.role == "label" and len(guess.values) > 2 and guess.usual_share > MOSTLY_TWO:
            usual = json.dumps(list(guess.usual), ensure_ascii=False)
            lines.append(f"  {guess.name}: {{values: {usual}, on_violation: quarantine}}  # the rest looks like dirt")
        elif guess.role == "label" and guess.type == "int8":
            lines.append(f"  {guess.name}: {{range: [0, 1], on_violation: quarantine}}")
        elif guess.role == "numeric" and guess.never_negative:
            lines.append(f"  {guess.name}: {{range: [0, null], on_violation: 'null', on_type_error: 'null'}}")
        elif guess.role == "numeric":
            lines.append(f"  {guess.name}: {{on_type_error: 'null'}}")
    return ["clean:", *lines] if lines else []


def _shard_lines(guesses: Sequence[Guess], key: str | None) -> list[str]:
    by = key
    if by is None:
        candidates = [g for g in guesses if g.role == "categorical" and g.distinct > 16 and g.nulls < 0.5]
        best = max(candidates, key=lambda guess: guess.distinct, default=None)
        by = best.name if best else None
    if by is None:
        return []
    words = "rows of one key stay together, so that a lookup reads one file"
    return [f"shard: {{by: {by}, method: hash, shards: 4}}  # {words}"]


def _learning_lines(guesses: Sequence[Guess], label: str | None, interval: str | None, look: Look) -> list[str]:
    lines = []
    if interval:
        window = "360d" if interval == "monthly" else "60d"
        lines += [
            f"window: {window}  # training looks back so far; the newer half is compared with the older",
            "drift: {false_alarms_per_year: 4}  # so rarely may chance alone be called drift",
        ]
    schedule = {"monthly": '"0 2 2 * *"  # the second of each month', "hourly": '"10 * * * *"', None: "null"}
    ending = f"schedule: {schedule.get(interval, NIGHTLY)}"
    if label is None:
        return [*lines, "# No column to predict was found: give one the role label to train a model.", ending]
    guess = next(guess for guess in guesses if guess.name == label)
    counts = look.rows[guess.source].str.strip_chars().drop_nulls().value_counts(sort=True)["count"].to_list()
    rate = counts[1] / max(1, sum(counts)) if len(counts) > 1 else 0.0
    lines += [
        "sample: {method: auto, loss: 0.002, confidence: 0.95}  # enough rows to know log loss within 0.002",
        f"train: {{model: logistic_regression}}  # the rarer class of {label} is {rate:.2%} of the rows",
    ]
    if interval:
        length = "60d" if interval == "monthly" else "7d" if len(look.files) >= 21 else "1d"
        lines.append(f"evaluate: {{holdout: {length}}}  # the last days judge; the days before them teach")
    else:
        lines.append("evaluate: {fraction: 0.2}  # there is no time, so a fifth of the rows judges")
    metric = "average_precision" if rate < 0.005 else "roc_auc"
    why = "tells rare positives apart best" if rate < 0.005 else "doesn't depend on a threshold"
    margin = 0.005 if rate < 0.005 else 0.002
    lines.append(f"promote: {{metric: {metric}, margin: {margin}, approval: automatic}}  # {why}")
    return [*lines, "score: {table: sharded}", ending]
