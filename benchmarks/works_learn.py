"""Drawing the training sample, and bulk scoring by the champion."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.answers import read_answer
from benchmarks.data import DAY, make_data
from benchmarks.pipelines import night_pipeline, write_pipeline
from benchmarks.setup import run_setup
from benchmarks.work import MILLRACE, Bench, Contender, Goal, Outcome, Work, millrace, peer
from benchmarks.works_shard import stage_seconds
from benchmarks.works_stats import engine_seconds

NAME = "learn"
HOLDOUT = DAY + timedelta(days=1)
HOLDOUT_SHARE = 50  # so many times fewer rows than the day before
SAMPLE_ROWS = 100_000
REFERENCE_ROWS = 200_000
ONE_IN = 4  # files that scikit-learn scores in one process: its seconds grow with the batches
AGE_DEVIATION = 21.0  # of the events, those of 999 years among them
LEARN = """\
window: 2d
sample: {{method: stratified, rows: {rows}}}
train: {{model: {model}}}
evaluate: {{holdout: 1d}}
promote: {{metric: roc_auc, margin: 0}}
"""


def sample(bench: Bench) -> Work:
    """The sharded table in, a stratified sample with its weights out."""
    learned(bench, "logistic_regression")
    rows = min(SAMPLE_ROWS, bench.rows // 20)
    table = bench.home / "tables" / NAME / "sample"
    out = bench.output / "sample-Polars.parquet"
    command = millrace("run", NAME, "--from", "sample", "--until", "sample", "--json")
    contenders = [
        Contender(MILLRACE, command, lambda _: drawn(bench, parts(table)), stage_seconds, lambda: _remove(table)),
        Contender(
            "Polars",
            peer("sample_polars.py", str(out), str(rows), *sharded(bench, DAY)),
            lambda _: drawn(bench, [str(out)]),
            engine_seconds,
        ),
    ]
    goals = (Goal(1.2, ("Polars",)),)
    return Work("sample", f"stratified sample of {rows:,}", contenders, goals, _unlike)


def score_logistic(bench: Bench) -> Work:
    """All rows in, their probabilities by logistic regression out."""
    contenders = [*_scorers(bench, "logistic_regression"), _spark(bench)]
    goals = (
        Goal(1 / 10, ("scikit-learn",)),
        Goal(1 / 10, ("Spark ML",)),
        Goal(1e-9, figure="largest_difference", unit="from scikit-learn"),
    )
    title = "bulk scoring, logistic regression"
    return Work("score-logistic", title, contenders, goals, _uncounted(bench), _difference)


def score_boosting(bench: Bench) -> Work:
    """All rows in, their probabilities by gradient boosting out."""
    goals = (Goal(1 / 1.5, ("scikit-learn",)),)
    title = "bulk scoring, gradient boosting"
    contenders = _scorers(bench, "hist_gradient_boosting")
    return Work("score-boosting", title, contenders, goals, _uncounted(bench), _difference)


def learned(bench: Bench, model: str) -> None:
    """All stages before scoring, with a champion of the family; the tables stay for the next family."""
    files = [
        *make_data(bench.data, bench.rows, bench.say).files("csv"),
        *make_data(bench.data, max(1_000, bench.rows // HOLDOUT_SHARE), bench.say, HOLDOUT).files("csv"),
    ]
    text = night_pipeline(NAME, files, LEARN.format(model=model, rows=min(SAMPLE_ROWS, bench.rows // 20)))
    path, mark = bench.pipelines / f"{NAME}.yaml", bench.home / f"{NAME}.txt"
    if mark.exists() and mark.read_text() == text and path.exists():
        return
    mark.unlink(missing_ok=True)
    write_pipeline(bench.pipelines, NAME, text)
    for kept in ("mlflow.db", "mlflow-artifacts"):
        _remove(bench.home / kept)
    for table in ("evaluation", "scores"):
        _remove(bench.home / "tables" / NAME / table)
    run_setup(bench, millrace("run", NAME, "--until", "compress"))
    mark.write_text(text)


def sharded(bench: Bench, day: date | None = None) -> list[str]:
    """The files of the sharded table; of one day where given."""
    folder = bench.home / "tables" / NAME / "sharded"
    return sorted(map(str, folder.glob(f"data_interval={day or '*'}/shard=*/*.parquet")))


def parts(table: Path) -> list[str]:
    """The files of a table that was just written."""
    return sorted(map(str, table.glob("data_interval=*/*.parquet")))


def drawn(bench: Bench, files: list[str]) -> dict[str, Any]:
    """What a sample holds: rows and weights by class, whether a row is drawn twice, a weighted mean."""
    rows = pl.read_parquet(files, hive_partitioning=False)
    classes = rows.group_by("clicked").agg(pl.len(), pl.col("weight").sum().round(3)).sort("clicked")
    mean = (rows["age"] * rows["weight"]).sum() / rows.filter(pl.col("age").is_not_null())["weight"].sum()
    return {"classes": classes.rows(), "distinct": rows["event_id"].n_unique() == len(rows), "mean_age": mean}


def _unlike(answers: Mapping[str, Any]) -> list[str]:
    """Other rows by class, rows drawn twice, or weighted means of the age that differ by chance as good as never."""
    known = list(answers.items())
    found = [f"{name} drew a row twice" for name, answer in known if not answer["distinct"]]
    for name, answer in known[1:]:
        other = known[0][1]
        near = abs(answer["mean_age"] - other["mean_age"]) < 5 * AGE_DEVIATION * (2 / other["classes"][0][1]) ** 0.5
        if answer["classes"] != other["classes"] or not near:
            found.append(f"{name}: {answer}, not {other}")
    return found


def _scorers(bench: Bench, model: str) -> list[Contender]:
    """Millrace and scikit-learn, which fits a pipeline of its own on Millrace's sample first."""
    learned(bench, model)
    scores = bench.home / "tables" / NAME / "scores"
    fitted, out = bench.output / f"{model}.pickle", bench.output / "score-scikit-learn"
    bench.output.mkdir(parents=True, exist_ok=True)
    run_setup(bench, peer("score_sklearn.py", "fit", model, _one_sample(bench), str(fitted)))
    command = millrace("run", NAME, "--from", "score", "--until", "score", "--json")
    found = [Contender(MILLRACE, command, lambda _: _scored(bench), stage_seconds, lambda: _remove(scores))]
    for name, how, files in (
        ("scikit-learn", "score", sharded(bench, DAY)[::ONE_IN]),
        ("scikit-learn, a process per core", "score-files", sharded(bench)),
    ):
        command = peer("score_sklearn.py", how, str(fitted), str(out), *files)
        start = peer("score_sklearn.py", how, str(fitted), str(out), sharded(bench, HOLDOUT)[0])
        share = _count(files) / _count(sharded(bench))
        found.append(
            Contender(
                name,
                command,
                lambda out, share=share: {"rows": round(read_answer(out)["rows"] / share)},  # type: ignore[misc]
                engine_seconds,
                lambda: _remove(out),
                share=share,
                start=start if share < 1 else None,
                once=True,
            )
        )
    return found


def _spark(bench: Bench) -> Contender:
    fitted, out = bench.output / "spark-model", bench.output / "score-Spark"
    run_setup(bench, peer("score_pyspark.py", "fit", _one_sample(bench), str(fitted)))
    command = peer("score_pyspark.py", "score", str(fitted), str(out), *sharded(bench))
    return Contender("Spark ML", command, lambda _: _rows(out), engine_seconds, lambda: _remove(out), once=True)


def _one_sample(bench: Bench) -> str:
    """Millrace's sample in one file, for the peers to learn from."""
    path = bench.output / "sample.parquet"
    bench.output.mkdir(parents=True, exist_ok=True)
    tables = parts(bench.home / "tables" / NAME / "sample")
    pl.concat([pl.read_parquet(each, hive_partitioning=False) for each in tables]).write_parquet(path)
    return str(path)


def _scored(bench: Bench) -> dict[str, Any]:
    """The rows scored by Millrace, and how far from scikit-learn."""
    command = [sys.executable, "-m", "benchmarks.reference", NAME, str(REFERENCE_ROWS)]
    return json.loads(run_setup(bench, command))  # type: ignore[no-any-return]


def _rows(folder: Path) -> dict[str, Any]:
    return {"rows": pl.scan_parquet(folder / "*.parquet").select(pl.len()).collect().item()}


def _count(files: list[str]) -> int:
    return int(pl.scan_parquet(files, hive_partitioning=False).select(pl.len()).collect().item())


def _uncounted(bench: Bench) -> Any:
    def wrong(answers: Mapping[str, Any]) -> list[str]:
        rows = _count(sharded(bench))
        return [f"{name}: {answer}, not {rows} rows" for name, answer in answers.items() if answer["rows"] != rows]

    return wrong


def _difference(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    return {"largest_difference": outcomes[MILLRACE].answer["largest_difference"]}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
