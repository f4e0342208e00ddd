"""TalkingData clicks: trained to 8 November, judged on the 9th, beside plain scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from whole_run import Results, assert_rows_conserved, change, init, metrics, of, run, seconds

from millrace.model.threads import limit_threads

pytestmark = pytest.mark.realdata

DATE = "2017-11-09"


@pytest.fixture(scope="module")
def file(real_data: Callable[[str], Path]) -> Path:
    return real_data("clicks_talkingdata") / "train_sample.csv"


@pytest.fixture(scope="module")
def raw(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, parse_dates=["click_time"]).rename(columns={"..ip": "ip"})


@pytest.fixture(scope="module")
def results(place: Path, file: Path) -> Results:
    path = init("clicks", [file], train="{model: hist_gradient_boosting, class_weight: balanced}")
    for code in ("app", "device", "os", "channel"):  # the reference took codes as the numbers they are
        change(path, f"  {code}: {{type: int64, role: categorical", f"  {code}: {{type: int64, role: numeric")
    change(path, "  ip: {type: int64, role: categorical, source", "  ip: {type: int64, role: numeric, source")
    found = run("clicks", DATE)
    print(f"\nclicks_talkingdata: {seconds(found)}\n{metrics(found)}")
    return found


def plain(raw: pd.DataFrame) -> tuple[float, float]:
    """Numbers as they are and the hour, untuned balanced gradient boosting: the reference of 0.976."""
    frame = raw.drop(columns=["click_time", "attributed_time"]).assign(hour=raw["click_time"].dt.hour)
    past = raw["click_time"] < pd.Timestamp(DATE)
    train, test = frame[past], frame[~past]
    model = HistGradientBoostingClassifier(class_weight="balanced", random_state=0)
    with limit_threads(2):  # its threads spin where others hold the cores
        model.fit(train.drop(columns="is_attributed"), train["is_attributed"])
    score = model.predict_proba(test.drop(columns="is_attributed"))[:, 1]
    return roc_auc_score(test["is_attributed"], score), average_precision_score(test["is_attributed"], score)


def test_the_split_is_by_day(results: Results, raw: pd.DataFrame) -> None:
    holdout = of("clicks", DATE).table("sample").details()["holdout"]
    assert holdout["training"] == ["2017-11-06", "2017-11-07", "2017-11-08"]
    assert holdout["holdout"] == [DATE]
    judged = results["evaluate"].details
    last = raw[raw["click_time"] >= DATE]
    assert (judged["rows"], judged["positives"]) == (len(last), last["is_attributed"].sum())


def test_rows_are_conserved(results: Results, raw: pd.DataFrame) -> None:
    days = raw["click_time"].dt.strftime("%Y-%m-%d").value_counts()
    assert_rows_conserved("clicks", DATE, days.to_dict())
    shard = results["shard"].ledger
    assert shard is not None
    assert shard.duplicates == raw.drop(columns="attributed_time").duplicated().sum()


def test_auc_is_that_of_plain_scikit_learn(results: Results, raw: pd.DataFrame) -> None:
    auc, precision = plain(raw)
    found = metrics(results)
    print(f"\nAUC {found['roc_auc']:.4f}, plain {auc:.4f}; AP {found['average_precision']:.4f}, plain {precision:.4f}")
    assert found["roc_auc"] > auc - 0.01
