"""A sample of the trials of `make faults`, and what a commit does where an answer of the store is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from millrace.errors import ServiceError
from millrace.storage.files import list_files
from millrace.storage.tables import Table
from tests.faults.__main__ import COLUMNS, plan, table
from tests.faults.losses import Losses, Trial
from tests.faults.on_road import Stages
from tests.faults.on_tables import NEW, OLD, OTHER, Answers, put
from tests.faults.plan import Action, Kind, Strike, kind_of
from tests.faults.pool import Done
from tests.faults.watch import seen_half
from tests.services_fixture import MinioFacts


@pytest.fixture(scope="module")
def answers(minio: MinioFacts) -> Iterator[Answers]:
    """MinIO behind the faulty proxy."""
    keys = {"AWS_ACCESS_KEY_ID": minio.access_key, "AWS_SECRET_ACCESS_KEY": minio.secret_key}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, value in (minio.variables | keys).items():
            patch.setenv(name, value)
        yield Answers(minio.variables | keys, stack, minio.bucket)


@pytest.fixture(scope="module")
def stages() -> Iterator[Stages]:
    """The road, each stage prepared."""
    with ExitStack() as stack:
        yield Stages(stack)


def struck(answers: Answers, name: str, action: Action, kind: Kind, count: int = 1) -> tuple[str, int]:
    """Two commits, the second under a strike: the table, and the version that the commit tells."""
    os.environ.update(answers.variables)
    answers.plan.arm()
    uri = f"{answers.base}/{name}"
    put(uri, "first", [(OLD, 1)])
    answers.plan.arm(Strike(action, kind, 1, count))
    try:
        version = put(uri, "second", [(OLD, 2), (NEW, 3)])
        assert answers.plan.struck
    finally:
        answers.plan.arm()
    return uri, version


@pytest.mark.parametrize("action", ["reset_after", "cut_answer", "done_but_503", "twice", "again_later", "held"])
def test_a_commit_whose_answer_is_lost_knows_its_own_version(answers: Answers, action: Action) -> None:
    uri, version = struck(answers, f"lost-{action}", action, "commit")
    assert version == Table(uri).version() == 1
    assert Table(uri).intervals() == {OLD: 1000, NEW: 1000}
    assert put(uri, "second", [(OLD, 8), (NEW, 9)]) == 1


@pytest.mark.parametrize("action", ["reset_before", "cut_request", "answer_409", "answer_412", "answer_503"])
def test_a_commit_that_never_arrived_is_sent_again(answers: Answers, action: Action) -> None:
    uri, version = struck(answers, f"unsent-{action}", action, "commit", 2)
    assert version == Table(uri).version() == 1


@pytest.mark.parametrize("action", ["reset_after", "twice", "again_later", "done_but_503"])
def test_a_part_whose_answer_is_lost_is_put_again(answers: Answers, action: Action) -> None:
    uri, version = struck(answers, f"part-{action}", action, "part", 2)
    assert (version, Table(uri).verify()) == (1, 2)


def test_a_list_that_is_cut_is_asked_for_again(answers: Answers) -> None:
    assert struck(answers, "list", "cut_answer", "list", 2)[1] == 1


def test_a_store_that_never_answers_fails_a_commit_in_words(answers: Answers) -> None:
    with pytest.raises(ServiceError, match=r"the store didn't answer.*Connection reset"):
        struck(answers, "silent", "reset_before", "commit", 1000)
    assert Table(f"{answers.base}/silent").intervals() == {OLD: 1000}


def test_rows_that_are_always_cut_fail_a_read_in_words(answers: Answers) -> None:
    os.environ.update(answers.variables)
    uri = f"{answers.base}/cut"
    put(uri, "first", [(OLD, 1)])
    answers.plan.arm(Strike("cut_answer", "rows", 1, 1000))
    try:
        with pytest.raises(ServiceError, match="the store didn't answer"):
            Table(uri).read()
    finally:
        answers.plan.arm()


@pytest.mark.parametrize("kind", ["head", "list"])
def test_raw_files_in_an_outage_are_no_wrong_request(answers: Answers, kind: Kind) -> None:
    """A wrong request is final for Airflow; an outage is worth a retry."""
    os.environ.update(answers.variables)
    uri = f"{answers.base}/raw"
    answers.plan.arm()
    put(uri, "first", [(OLD, 1)])
    answers.plan.arm(Strike("answer_503", kind, 1, 1000))
    try:
        with pytest.raises(ServiceError, match="the store didn't answer"):
            list_files(uri)
    finally:
        answers.plan.arm()


@pytest.mark.parametrize("trial", plan(24, 0, ["answers", "reads"]), ids=str)
def test_answers_of_s3(answers: Answers, trial: Trial) -> None:
    losses = answers.trial(trial)
    assert not losses.any, losses.notes


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        ("driver at any time", "clean/inline"),
        ("task at any time", "shard"),
        ("two drivers", "sample"),
        ("two drivers", "train"),
        ("late attempt", "score"),
        ("disk full", "shard/8000"),
    ],
)
def test_stages(stages: Stages, kind: str, point: str) -> None:
    losses = stages.trial(Trial(kind, point, 0, 0))
    assert not losses.any, losses.notes


def test_losses_are_seen(answers: Answers) -> None:
    """What the trials look with isn't blind: half a night and doubled rows are told."""
    os.environ.update(answers.variables)
    uri = f"{answers.base}/seen"
    put(uri, "first", [(OLD, 1), (OTHER, 2)])
    assert seen_half(Table(uri)) is None
    rows = Table(uri).read()
    losses = Losses()
    losses.rows("rows", rows.slice(10), rows)
    losses.rows("rows", rows, rows.slice(5))
    assert (losses.lost_rows, losses.doubled_rows, losses.any) == (10, 5, True)
    [row] = table([Done(Trial("answers", "commit twice", 0, 0), losses, 1.0)])
    assert [row[name] for name in COLUMNS] == [10, 5, 0, 0, 0]


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("PUT", "/b/t/_delta_log/00000000000000000001.json", "commit"),
        ("PUT", "/b/t/data_interval%3D2026-01-05/p-1.parquet", "part"),
        ("POST", "/b/t/p-1.parquet?uploads", "part"),
        ("GET", "/b?list-type=2&prefix=t%2F_delta_log%2F", "list"),
        ("GET", "/b/t/_delta_log/00000000000000000001.json", "log"),
        ("GET", "/b/t/p-1.parquet", "rows"),
        ("HEAD", "/b/t/p-1.parquet", "head"),
        ("DELETE", "/b/t/p-1.parquet", "other"),
    ],
)
def test_requests_are_told_apart(method: str, target: str, kind: Kind) -> None:
    assert kind_of(method, target) == kind
