"""Files without a header and without a time: the holdout is named by its files, beside plain scikit-learn.

Adult census: ` ?` for missing, the official split, and a test file that writes its labels with a full stop. Criteo:
tab-separated, 13 numbers and 26 hashed categories, half of whose values the test file has never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler, TargetEncoder
from whole_run import assert_rows_conserved, change, init, metrics, read, run, seconds

from millrace.model.threads import limit_threads

pytestmark = pytest.mark.realdata

RealData = Callable[[str], Path]


def test_adult_census_by_its_official_split(place: Path, real_data: RealData) -> None:
    folder = real_data("adult_census")
    files = [folder / "adult-train.csv", folder / "adult-test.csv"]
    boosted = "{model: hist_gradient_boosting}"
    path = init("adult", files, "column_15", train=boosted, evaluate='{files: "*-test.csv"}')
    change(path, "clean:\n", 'clean:\n  column_15: {map: {"<=50K.": "<=50K", ">50K.": ">50K"}}\n')
    results = run("adult", None)
    train, test = (
        pd.read_csv(file, header=None, skipinitialspace=True, na_values="?", keep_default_na=False) for file in files
    )
    both = pd.concat([train, test])
    assert_rows_conserved("adult", None, {"all": len(train) + len(test)})

    clean = read("adult", "clean")
    assert clean.isna().sum().tolist()[:14] == both.isna().sum().tolist()[:14]
    judged = results["evaluate"].details
    ledger = results["shard"].ledger
    assert ledger is not None
    tidy = both.assign(label=both[14].str.rstrip(".")).drop(columns=14)
    assert ledger.duplicates == tidy.duplicated().sum()

    words = [at for at in range(14) if train[at].dtype.kind not in "if"]
    numbers = [at for at in range(14) if at not in words]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    shape = make_column_transformer((codes, words), ("passthrough", numbers))
    model = make_pipeline(shape, HistGradientBoostingClassifier(random_state=0))
    with limit_threads(2):  # its threads spin where others hold the cores
        model.fit(train[list(range(14))], train[14] == ">50K")
    score = model.predict_proba(test[list(range(14))])[:, 1]
    auc, precision = (metric(test[14] == ">50K.", score) for metric in (roc_auc_score, average_precision_score))
    found = metrics(results)
    print(f"\nadult_census: {seconds(results)}; {judged['rows']} rows")
    print(f"AUC {found['roc_auc']:.4f}, plain {auc:.4f}; AP {found['average_precision']:.4f}, plain {precision:.4f}")
    assert found["roc_auc"] == pytest.approx(auc, abs=0.01)
    assert found["average_precision"] == pytest.approx(precision, abs=0.01)
    assert found["roc_auc"] == pytest.approx(0.927, abs=0.01)


def test_clicks_criteo_by_its_files(place: Path, real_data: RealData) -> None:
    folder = real_data("clicks_criteo")
    files = [folder / f"{part}.csv" for part in ("train", "dev", "test")]
    path = init("criteo", files, evaluate='{files: "[dt]e[vs]*.csv"}')
    assert "header: false" in path.read_text()
    assert "column_40: {type: string, role: categorical}" in path.read_text()
    results = run("criteo", None)
    train, dev, test = (pd.read_csv(file, sep="\t", header=None).rename(columns=str) for file in files)
    assert_rows_conserved("criteo", None, {"all": len(train) + len(dev) + len(test)})
    test = pd.concat([dev, test])
    judged = results["evaluate"].details
    assert (judged["rows"], judged["positives"]) == (len(test), test["0"].sum())

    numbers, words = [str(at) for at in range(1, 14)], [str(at) for at in range(14, 40)]
    target = TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0))
    shape = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (make_pipeline(target, StandardScaler()), words),
    )
    model = make_pipeline(shape, LogisticRegression(max_iter=500)).fit(train[numbers + words], train["0"])
    score = model.predict_proba(test[numbers + words])[:, 1]
    auc, precision = (metric(test["0"], score) for metric in (roc_auc_score, average_precision_score))
    found = metrics(results)
    print(f"\nclicks_criteo: {seconds(results)}; {judged['rows']} rows")
    print(f"AUC {found['roc_auc']:.4f}, plain {auc:.4f}; AP {found['average_precision']:.4f}, plain {precision:.4f}")
    assert found["roc_auc"] > auc - 0.01
    assert found["average_precision"] > precision - 0.01
