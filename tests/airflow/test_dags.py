"""DAG files: what they hold, and what they must not import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.errors import PipelineFileError, RequestError

HEAVY = {"great_expectations", "mlflow", "pandas", "polars", "pyarrow", "sklearn", "numpy", "deltalake", "mrjob"}
LOADER = Path(__file__).parents[2] / "dags" / "millrace_dags.py"


def test_parsing_imports_nothing_heavy(write_pipeline: Callable[..., Path]) -> None:
    folder = write_pipeline().parent
    code = (
        "import airflow.sdk, runpy, sys; from airflow.sdk import DAG, Param, Asset; before = set(sys.modules);"
        f"runpy.run_path({str(LOADER)!r}); print(sorted({HEAVY} & (set(sys.modules) - before)))"
    )
    environment = os.environ | {"MILLRACE_PIPELINES": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_pipeline_has_a_training_and_a_scoring_dag(
    write_pipeline: Callable[..., Path], parse: Callable[..., Any]
) -> None:
    from millrace.stage_names import SCORING, TRAINING

    write_pipeline()
    assert {name: dag.task_ids for name, dag in parse().items()} == {
        "tiny_train": [*TRAINING, "announce"],
        "tiny_score": [*SCORING],
    }


def test_a_person_is_asked_between_evaluate_and_promote(
    write_pipeline: Callable[..., Path], parse: Callable[..., Any]
) -> None:
    write_pipeline(more="promote: {approval: human}")
    dag = parse()["tiny_train"]
    assert "approve" in dag.get_task("evaluate").downstream_task_ids
    assert dag.get_task("promote").upstream_task_ids == {"approve"}


def test_without_a_label_nothing_is_learnt(write_pipeline: Callable[..., Path], parse: Callable[..., Any]) -> None:
    path = write_pipeline()
    text = path.read_text().replace("role: label", "role: numeric").replace("evaluate: {holdout: 1d}\n", "")
    path.write_text(text)
    assert {name: dag.task_ids for name, dag in parse().items()} == {
        "tiny_train": ["check", "clean", "shard", "stats", "drift", "report"]
    }


def test_runs_don_t_overlap_and_jobs_share_a_pool(
    write_pipeline: Callable[..., Path], parse: Callable[..., Any]
) -> None:
    write_pipeline()
    dag = parse()["tiny_train"]
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    assert {task.task_id for task in dag.tasks if task.pool == "millrace_jobs"} == {
        "check",
        "clean",
        "shard",
        "stats",
        "sample",
    }
    assert {task.retries for task in dag.tasks} == {2}


def test_the_form_starts_with_what_the_pipeline_file_says(
    write_pipeline: Callable[..., Path], parse: Callable[..., Any]
) -> None:
    write_pipeline(more="sample: {method: stratified, by: x, rows: 5000}")
    form = parse()["tiny_train"].params
    assert dict(form) == {
        "date": None,
        "window": "3d",
        "sample_method": "stratified",
        "sample_rows": 5000,
        "runner": None,
        "force": False,
    }
    assert all(form.get_param(field).description for field in form)
    assert form.get_param("date").schema["title"] == "Day of data"


@pytest.mark.parametrize(
    ("settings", "runners"),
    [
        ("runner: spark\n", ["inline", "local", "spark"]),
        ("root: s3://lake\n", ["inline", "local", "hadoop", "emr", "spark"]),
        ("spark: {master: yarn}\n", ["inline", "local"]),
    ],
)
def test_the_form_offers_the_runners_that_reach_the_tables(
    write_pipeline: Callable[..., Path],
    parse: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    runners: list[str],
) -> None:
    write_pipeline()
    (tmp_path / "mine.yaml").write_text(settings)
    monkeypatch.setenv("MILLRACE_PROFILES", str(tmp_path))
    monkeypatch.setenv("MILLRACE_PROFILE", "mine")
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):  # what the profile of S3 puts there goes with the test
        monkeypatch.setenv(variable, "nowhere")
    for dag in parse().values():
        assert dag.params.get_param("runner").schema["enum"] == [None, *runners]


def test_without_intervals_no_date_is_asked(write_pipeline: Callable[..., Path], parse: Callable[..., Any]) -> None:
    path = write_pipeline(more="sample: {method: random, rows: 10}")
    path.write_text(
        path.read_text().replace("interval: daily", "interval: none").replace("holdout: 1d", "fraction: 0.2")
    )
    assert "date" not in parse()["tiny_train"].params


def test_a_broken_file_is_told_and_leaves_the_others(
    write_pipeline: Callable[..., Path], parse: Callable[..., Any]
) -> None:
    write_pipeline("good")
    write_pipeline("bad", more="windwo: 3d")
    found = parse()
    assert set(found) == {"good_train", "good_score", "bad_train"}
    assert "line 12, windwo: expected " in found["bad_train"].doc_md


def test_the_bundle_has_a_file_per_pipeline(
    write_pipeline: Callable[..., Path], parse: Callable[..., Any], tmp_path: Path
) -> None:
    from millrace.airflow.bundle import write_loaders

    write_pipeline("good")
    bad = write_pipeline("bad", more='windwo: 3d  # """ \\ "')
    folder = tmp_path / "loaders"
    assert write_loaders(bad.parent, folder) == ["bad", "good"]
    assert write_loaders(bad.parent, folder) == []
    assert set(parse(folder / "good.py")) == {"good_train", "good_score"}
    with pytest.raises(PipelineFileError, match="windwo"):
        parse(folder / "bad.py")

    bad.unlink()
    write_loaders(bad.parent, folder)
    assert [file.name for file in folder.iterdir()] == ["good.py"]


def test_a_loader_quotes_any_text(tmp_path: Path) -> None:
    from millrace.airflow.bundle import write_loaders

    (tmp_path / "odd.yaml").write_bytes(b'name: "\x00\xff\\N{"""\n# \'\'\' \\x \xe2\x80\xa8 {name}\r\n')
    write_loaders(tmp_path, tmp_path / "loaders")
    assert ast.get_docstring(ast.parse((tmp_path / "loaders" / "odd.py").read_text()))


def context(run_type: str, end: str, logical: str | None, asked: str | None = None) -> dict[str, Any]:
    """As much of a task's context as the date depends on."""
    moments = [None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (end, logical)]
    run = SimpleNamespace(
        run_type=run_type, data_interval_end=moments[0], logical_date=moments[1], run_after=moments[0]
    )
    return {"dag_run": run, "params": {"date": asked}}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("daily", context("scheduled", "2018-04-02T02:00", "2018-04-01T02:00"), "2018-04-01"),
        ("daily", context("backfill", "2018-04-02T00:00", "2018-04-01T00:00"), "2018-04-01"),
        ("daily", context("scheduled", "2018-04-09T02:00", "2018-04-02T02:00"), "2018-04-08"),  # weekly
        ("daily", context("manual", "2018-04-01T02:00", "2018-04-02T01:00"), "2018-04-01"),
        ("daily", context("manual", "2018-04-02T02:00", None, asked="2017-12-31"), "2017-12-31"),
        ("hourly", context("scheduled", "2018-04-02T00:05", "2018-04-01T23:05"), "2018-04-01T23"),
        ("monthly", context("scheduled", "2018-03-01T02:00", "2018-02-01T02:00"), "2018-02"),
        ("none", context("scheduled", "2018-03-01T02:00", "2018-02-01T02:00"), "all"),
    ],
)  # fmt: skip
def test_the_date_of_a_run(kind: Any, given: dict[str, Any], expected: str) -> None:
    from millrace.airflow.dates import context_date

    assert context_date(given, kind) == expected


def test_a_wrong_date_in_the_form_is_refused() -> None:
    from millrace.airflow.dates import context_date

    with pytest.raises(RequestError, match="expected a daily interval such as 2026-01-31; found '31.1.2026'"):
        context_date(context("manual", "2018-04-02T02:00", None, asked="31.1.2026"), "daily")


def test_a_dag_switched_on_waits_for_the_next_night_but_backfills_reach_back() -> None:
    from airflow.timetables.base import TimeRestriction
    from pendulum import instance

    from millrace.airflow.timetable import PipelineTimetable

    now = instance(datetime.now(UTC))
    kept = PipelineTimetable("0 2 * * *", now - timedelta(days=1)).serialize()
    timetable = PipelineTimetable.deserialize(kept)
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
    )
    assert first is not None
    assert now <= first.run_after <= now + timedelta(days=1)
    past = instance(datetime(2018, 4, 1, tzinfo=UTC))
    backfilled = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(past, None, catchup=True)
    )
    assert backfilled is not None
    assert backfilled.logical_date == datetime(2018, 4, 1, 2, tzinfo=UTC)
