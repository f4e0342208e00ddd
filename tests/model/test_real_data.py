"""Each model on real data, beside a plain scikit-learn fit of the same split: within 0.01 of its AUC, or better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

from millrace.model.evaluate import evaluate
from millrace.model.features import labels
from millrace.model.score import score_batch
from millrace.model.threads import free_cores, limit_threads
from millrace.model.train import fit
from millrace.spec import Column, ModelName, Pipeline, Source, Train

pytestmark = pytest.mark.realdata

RealData = Callable[[str], Path]
ADULT = ["age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"]
ADULT += ["race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"]
SMALL = {"random_forest": {"n_estimators": 60}}


def make_pipeline_of(frame: pd.DataFrame, label: str, **sections: Any) -> Pipeline:
    """Columns by their pandas types; the label as it is."""
    columns = {}
    for name, dtype in frame.dtypes.items():
        kind, role = ("float64", "numeric") if dtype.kind in "if" else ("string", "categorical")
        if dtype.kind == "M":
            kind, role = "timestamp", "time"
        columns[str(name)] = Column(type=kind, role="label" if name == label else role)  # type: ignore[arg-type]
    return Pipeline(name="real", source=Source(uri="x", interval="none"), columns=columns, **sections)


def our_auc(past: pd.DataFrame, test: pd.DataFrame, label: str, **sections: Any) -> float:
    pipeline = make_pipeline_of(past, label, **sections)
    candidate = fit(pa.Table.from_pandas(past, preserve_index=False), pipeline, 1)
    held = pa.Table.from_pandas(test, preserve_index=False)
    y, _ = labels(held, candidate.plan)
    found = evaluate(y, score_batch(held, candidate.model(pipeline, "all"))).metrics["roc_auc"].value
    assert found is not None
    return found


def plain_auc(classifier: Any, train: pd.DataFrame, test: pd.DataFrame, label: str, encoder: Any) -> float:
    """What somebody would write by hand: impute, scale, encode, fit."""
    features = [name for name in train if name != label]
    numbers = [name for name in features if train[name].dtype.kind in "if"]
    words = [name for name in features if name not in numbers]
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    model = make_pipeline(make_column_transformer((numeric, numbers), (encoder, words)), classifier)
    y, held = ((frame[label] == max(train[label].dropna())).astype(int) for frame in (train, test))
    with limit_threads(free_cores()):
        model.fit(train[features], y)
        return float(roc_auc_score(held, model.predict_proba(test[features])[:, 1]))


@pytest.fixture(scope="module")
def adult(real_data: RealData) -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = real_data("adult_census")
    train, test = (
        pd.read_csv(folder / f"adult-{part}.csv", names=ADULT, skipinitialspace=True, na_values="?")
        for part in ("train", "test")
    )
    return train, test.assign(income=test["income"].str.rstrip("."))


PLAIN: dict[ModelName, tuple[Any, str]] = {
    "logistic_regression": (LogisticRegression(max_iter=500), "one-hot"),
    "sgd": (SGDClassifier(loss="log_loss", random_state=0), "one-hot"),
    "naive_bayes": (GaussianNB(), "one-hot"),
    "decision_tree": (DecisionTreeClassifier(min_samples_leaf=50, random_state=0), "ordinal"),
    "random_forest": (RandomForestClassifier(60, min_samples_leaf=5, random_state=0, n_jobs=2), "ordinal"),
    "hist_gradient_boosting": (HistGradientBoostingClassifier(random_state=0), "ordinal"),
}


@pytest.mark.parametrize("model", get_args(ModelName))
def test_adult_census_official_split(model: ModelName, adult: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    classifier, kind = PLAIN[model]
    encoder = (
        OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        if kind == "one-hot"
        else OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    )
    plain = plain_auc(classifier, *adult, "income", encoder)
    assert our_auc(*adult, "income", train=Train(model=model, params=SMALL.get(model, {}))) > plain - 0.01


def test_hist_gradient_boosting_reaches_the_published_figure(adult: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    assert our_auc(*adult, "income", train=Train(model="hist_gradient_boosting")) == pytest.approx(0.927, abs=0.005)


def test_telco_churn(real_data: RealData) -> None:
    [path] = real_data("telco_churn").glob("*.csv")
    frame = pd.read_csv(path, na_values=" ").drop(columns="customerID")
    held = np.random.default_rng(0).random(len(frame)) < 0.25
    train, test = frame[~held], frame[held]
    plain = plain_auc(LogisticRegression(max_iter=500), train, test, "Churn", OneHotEncoder(handle_unknown="ignore"))
    assert our_auc(train, test, "Churn") == pytest.approx(plain, abs=0.01)


def test_clicks_criteo_with_categories_unseen_in_the_test(real_data: RealData) -> None:
    names = ["label", *(f"i{n}" for n in range(13)), *(f"c{n}" for n in range(26))]
    folder = real_data("clicks_criteo")
    train = pd.read_csv(folder / "train.csv", sep="\t", names=names)
    test = pd.concat(pd.read_csv(folder / f"{part}.csv", sep="\t", names=names) for part in ("dev", "test"))
    encoder = TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0))
    plain = plain_auc(LogisticRegression(max_iter=500), train, test, "label", encoder)
    assert our_auc(train, test, "label") > plain - 0.01
    boosted = plain_auc(HistGradientBoostingClassifier(random_state=0), train, test, "label", encoder)
    assert our_auc(train, test, "label", train=Train(model="hist_gradient_boosting")) > boosted - 0.01


def test_fraud_daily_trained_on_a_week_tested_on_the_next_days(real_data: RealData) -> None:
    days = sorted(real_data("fraud_daily").glob("2018-05-*.csv.gz"))[:10]
    frame = pd.concat(pd.read_csv(day, parse_dates=["TX_DATETIME"]) for day in days)
    frame = frame.drop(columns=["TRANSACTION_ID", "TX_TIME_SECONDS", "TX_TIME_DAYS", "TX_FRAUD_SCENARIO"])
    frame = frame.astype({"CUSTOMER_ID": str, "TERMINAL_ID": str})
    cut = frame["TX_DATETIME"] < pd.Timestamp(days[7].name[:10])
    train, test = frame[cut], frame[~cut]
    by_hand = [part.assign(hour=part["TX_DATETIME"].dt.hour).drop(columns="TX_DATETIME") for part in (train, test)]
    encoder = TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0))
    plain = plain_auc(LogisticRegression(max_iter=500), *by_hand, "TX_FRAUD", encoder)
    assert our_auc(train, test, "TX_FRAUD") > plain - 0.01
