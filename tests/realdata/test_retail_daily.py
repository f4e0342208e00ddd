"""Online Retail: is a line a cancellation? Dirty transactions, whole customers sampled, beside plain scikit-learn.

The invoice number tells the answer (C…), so the label is derived from it and it is a leak; the quantity tells it too
(a cancellation's is negative), so it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder
from whole_run import Results, assert_rows_conserved, change, init, metrics, of, read, run, seconds

from millrace.stages.show import lookup_keys

pytestmark = pytest.mark.realdata

NAME, FIRST, HOLDOUT, DATE = "retail", "2011-05-04", "2011-08-01", "2011-08-31"
SAMPLE = "{method: cluster, by: CustomerID, fraction: 0.5}"


@pytest.fixture(scope="module")
def raw(real_data: Callable[[str], Path]) -> pd.DataFrame:
    """The rows of the window as pandas reads them, with their day."""
    days = [day for day in sorted(real_data("retail_daily").glob("*.csv.gz")) if FIRST <= day.name[:10] <= DATE]
    types = {"InvoiceNo": str, "StockCode": str}
    frames = [pd.read_csv(day, dtype=types, parse_dates=["InvoiceDate"]).assign(day=day.name[:10]) for day in days]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(cancelled=frame["InvoiceNo"].str.startswith("C").astype(int))


@pytest.fixture(scope="module")
def results(place: Path, real_data: Callable[[str], Path]) -> Results:
    path = init(NAME, [real_data("retail_daily")], window="120d")
    change(path, "  InvoiceNo: {type: string, role: categorical}", "  InvoiceNo: {type: string, role: leak}")
    derived = '  cancelled: {type: int8, role: label, derive: {column: InvoiceNo, matches: "^C"}}\n'
    change(path, "  Description:", f"{derived}  Description:")
    change(path, "  Quantity: {on_type_error: 'null'}", "  Quantity: drop  # a cancellation's is negative")
    change(path, "method: hash, shards: 4", "method: hash, shards: 2")
    learning = f"sample: {SAMPLE}\nevaluate: {{holdout: 26d}}\ntrain: {{model: logistic_regression}}\n"
    path.write_text(path.read_text() + learning)
    found = run(NAME, DATE)
    print(f"\nretail_daily: {seconds(found)}\n{metrics(found)}")
    return found


def test_rows_are_conserved_and_exact_duplicates_counted(results: Results, raw: pd.DataFrame) -> None:
    assert_rows_conserved(NAME, DATE, raw["day"].value_counts().to_dict())
    kept = raw.drop(columns=["Quantity", "cancelled"])
    shard = results["shard"].ledger
    assert shard is not None
    assert shard.duplicates == kept.duplicated().sum() > 0
    left = kept.drop_duplicates().groupby("day").size().to_dict()
    assert of(NAME, DATE).table("sharded").intervals() == left


def test_customers_that_are_null_stay_null(results: Results, raw: pd.DataFrame) -> None:
    kept = raw.drop(columns=["Quantity"]).drop_duplicates()
    sharded = read(NAME, "sharded", DATE)
    assert sharded["CustomerID"].isna().sum() == kept["CustomerID"].isna().sum() > 0.2 * len(kept)
    assert sharded["cancelled"].sum() == kept["cancelled"].sum()
    customer = kept["CustomerID"].value_counts().index[0]
    [found] = lookup_keys(of(NAME, DATE), [str(int(customer))], rows=False)
    assert found["rows"] == (kept["CustomerID"] == customer).sum()


def test_customers_are_whole_in_the_sample_or_out(results: Results, raw: pd.DataFrame) -> None:
    sample, sharded = read(NAME, "sample", DATE), read(NAME, "sharded", DATE)
    holdout = of(NAME, DATE).table("sample").details()["holdout"]
    teaching = sharded[sharded["data_interval"].isin(holdout["training"])]
    chosen = set(sample["CustomerID"].dropna())
    whole = teaching[teaching["CustomerID"].isin(chosen)]
    assert sorted(whole["row_id"]) == sorted(sample.loc[sample["CustomerID"].notna(), "row_id"])
    customers = teaching["CustomerID"].nunique()
    assert len(chosen) / customers == pytest.approx(0.5, abs=0.05)
    alone = teaching["CustomerID"].isna().sum()  # rows without a customer are drawn one by one
    assert sample["CustomerID"].isna().sum() / alone == pytest.approx(0.5, abs=0.03)
    assert np.allclose(sample["weight"], 2.0)
    assert np.allclose(sample["inclusion_probability"], 0.5)


def test_auc_is_that_of_plain_scikit_learn(results: Results, raw: pd.DataFrame) -> None:
    frame = raw.drop(columns=["Quantity"]).drop_duplicates()
    frame = frame.assign(hour=frame["InvoiceDate"].dt.hour, weekday=frame["InvoiceDate"].dt.day_of_week)
    frame = frame.assign(UnitPrice=frame["UnitPrice"].where(frame["UnitPrice"] >= 0))
    frame = frame.fillna({"UnitPrice": frame["UnitPrice"].median(), "Description": "?"})
    test = frame[frame["day"] >= HOLDOUT]
    chosen = read(NAME, "sample", DATE)
    keys = ["InvoiceNo", "StockCode", "InvoiceDate", "CustomerID", "UnitPrice", "Country"]
    train = frame.merge(chosen[[*keys, "data_interval"]].drop_duplicates(), on=keys)
    assert len(train) == pytest.approx(len(chosen), rel=0.01)
    words = TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0))
    codes = OneHotEncoder(handle_unknown="ignore", min_frequency=2)
    shape = make_column_transformer(
        (StandardScaler(), ["UnitPrice"]),
        (make_pipeline(words, StandardScaler()), ["StockCode", "Description"]),
        (codes, ["Country", "hour", "weekday"]),
    )
    model = make_pipeline(shape, LogisticRegression(max_iter=500))
    score = model.fit(train, train["cancelled"]).predict_proba(test)[:, 1]
    auc = roc_auc_score(test["cancelled"], score)
    precision = average_precision_score(test["cancelled"], score)
    found = metrics(results)
    print(f"\nAUC {found['roc_auc']:.4f}, plain {auc:.4f}; AP {found['average_precision']:.4f}, plain {precision:.4f}")
    judged = results["evaluate"].details
    assert (judged["rows"], judged["positives"]) == (len(test), test["cancelled"].sum())
    assert found["roc_auc"] > auc - 0.01
    assert found["average_precision"] > precision - 0.01
