"""Card fraud, a file a night: several nights in a row, each adding its interval alone, beside plain scikit-learn.

Thirty nights with a window of 21 days: ``python tests/realdata/fraud_nights.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from fraud_nights import NAME, Night, fraud_nights, write_fraud_pipeline
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from whole_run import assert_rows_conserved, metrics, of, run, seconds, versions

pytestmark = pytest.mark.realdata

NIGHTS, WINDOW, FIRST = 4, 12, date(2018, 5, 12)
LAST = str(FIRST + timedelta(days=NIGHTS - 1))


@pytest.fixture(scope="module")
def folder(real_data: Callable[[str], Path]) -> Path:
    return real_data("fraud_daily")


@pytest.fixture(scope="module")
def nights(place: Path, folder: Path) -> list[Night]:
    """Nights in a row; labels are known two days late, and the three days before that judge."""
    train = "{model: logistic_regression, label_delay: 2d}"
    write_fraud_pipeline(folder, window=f"{WINDOW}d", evaluate="{holdout: 3d}", train=train)
    done = fraud_nights(NIGHTS, FIRST)
    for night in done:
        print(f"\n{night.date}: {night.seconds:.1f} s: {seconds(night.results)}")
    return done


def day(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv.gz", parse_dates=["TX_DATETIME"])


def parts(table: str, version: int) -> dict[str, set[str]]:
    """The files of a table's version by interval."""
    found: dict[str, set[str]] = {}
    for part in of(NAME, LAST).table(table).parts(version):
        found.setdefault(str(part.interval), set()).add(part.path)
    return found


def test_rows_are_conserved_each_night(nights: list[Night], folder: Path) -> None:
    days = [str(FIRST + timedelta(days=number)) for number in range(1 - WINDOW, NIGHTS)]
    raw = {name: len(day(folder, name)) for name in days}
    assert_rows_conserved(NAME, LAST, raw)
    assert of(NAME, LAST).table("sharded").intervals() == raw  # no exact duplicates in this data
    for night in nights[1:]:
        for stage in ("check", "clean", "shard", "stats"):
            ledger = night.results[stage].ledger
            assert ledger is not None
            assert (ledger.rows_in, ledger.rows_out) == (raw[night.date], raw[night.date]), (night.date, stage)


def test_each_night_adds_its_interval_alone(nights: list[Night]) -> None:
    for stage, table in (("check", "check"), ("clean", "clean"), ("shard", "sharded"), ("stats", "stats")):
        for before, after in zip(nights, nights[1:], strict=False):
            first, second = before.results[stage].version, after.results[stage].version
            assert first is not None
            assert second == first + 1
            old, new = parts(table, first), parts(table, second)
            assert {name for name in new if name not in old} == {after.date}
            assert {name: new[name] for name in old} == old, "files of other nights are untouched"


def test_a_night_run_again_commits_nothing(nights: list[Night]) -> None:
    before = versions(NAME, LAST)
    again = run(NAME, LAST)
    assert versions(NAME, LAST) == before
    assert again["train"].version == nights[-1].results["train"].version
    assert again["promote"].version == nights[-1].results["promote"].version
    assert metrics(again) == metrics(nights[-1].results)


def test_auc_is_that_of_plain_scikit_learn(nights: list[Night], folder: Path) -> None:
    end = date.fromisoformat(LAST) - timedelta(days=2)  # labels after that aren't known yet
    names = [str(end - timedelta(days=back)) for back in reversed(range(WINDOW - 2))]
    holdout = of(NAME, LAST).table("sample").details()["holdout"]
    assert (holdout["training"], holdout["holdout"]) == (names[:-3], names[-3:])
    train, test = (pd.concat(day(folder, name) for name in part) for part in (names[:-3], names[-3:]))
    train, test = (
        part.assign(hour=part["TX_DATETIME"].dt.hour, weekday=part["TX_DATETIME"].dt.day_of_week)
        for part in (train, test)
    )
    terminals = make_pipeline(TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0)), StandardScaler())
    shape = make_column_transformer(
        (StandardScaler(), ["TX_AMOUNT"]),
        (terminals, ["TERMINAL_ID"]),
        (OneHotEncoder(handle_unknown="ignore"), ["hour", "weekday"]),
    )
    model = make_pipeline(shape, LogisticRegression(max_iter=500)).fit(train, train["TX_FRAUD"])
    score = model.predict_proba(test)[:, 1]
    auc = roc_auc_score(test["TX_FRAUD"], score)
    precision = average_precision_score(test["TX_FRAUD"], score)
    found = metrics(nights[-1].results)
    print(f"\nAUC {found['roc_auc']:.4f}, plain {auc:.4f}; AP {found['average_precision']:.4f}, plain {precision:.4f}")
    judged = nights[-1].results["evaluate"].details
    assert (judged["rows"], judged["positives"]) == (len(test), test["TX_FRAUD"].sum())
    assert found["roc_auc"] > auc - 0.01
    assert found["average_precision"] > precision - 0.01
