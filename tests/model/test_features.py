from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import GateClosed
from millrace.model.features import (
    Feature,
    FeaturePlan,
    category_text,
    gather,
    label_values,
    labels,
    plan_features,
    to_frame,
)
from millrace.model.selection import mutual_information, rank_features
from millrace.model.target_means import prior_strength
from millrace.spec import Column, Features, Pipeline, Source, Train

CITY = FeaturePlan(features=[Feature(name="city", column="city", kind="low", vocabulary=["Rome", "Bonn"])])
AMOUNT = FeaturePlan(features=[Feature(name="amount", column="amount", kind="numeric")])


def pipeline(roles: dict[str, tuple[str, str]], **features: object) -> Pipeline:
    columns = {name: Column(type=kind, role=role) for name, (kind, role) in roles.items()}  # type: ignore[arg-type]
    return Pipeline(
        name="p",
        source=Source(uri="x", interval="none"),
        columns=columns,
        train=Train(features=Features(**features)),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["Rome", "Bonn", None, "Oslo"]),
        pa.array(["Rome", "Bonn", None, "Oslo"], pa.large_string()),
        pa.array(["Rome", "Bonn", None, "Oslo"]).dictionary_encode(),
        pa.array(["Rome", "Bonn", None, "Oslo"]).dictionary_encode(null_encoding="encode"),
    ],
)
def test_a_category_is_coded_by_the_vocabulary_missing_0_new_minus_1(values: pa.Array) -> None:
    assert to_frame(pa.table({"city": values}), CITY)["city"].tolist() == [1, 2, 0, -1]


def test_a_missing_column_is_a_column_of_missing_values() -> None:
    assert to_frame(pa.table({"other": [1, 2]}), CITY)["city"].tolist() == [0, 0]
    assert np.isnan(to_frame(pa.table({"other": [1, 2]}), AMOUNT)["amount"]).all()


def test_numbers_are_finite_floats_whatever_their_type() -> None:
    values = pa.array([1.5, None, np.inf, -np.inf, np.nan, 1e300])
    nan = np.nan
    np.testing.assert_array_equal(to_frame(pa.table({"amount": values}), AMOUNT)["amount"], [1.5, *[nan] * 4, 1e30])
    text = pa.array(["1.5", " 2 ", "two", None, "-1e3"])
    np.testing.assert_array_equal(to_frame(pa.table({"amount": text}), AMOUNT)["amount"], [1.5, 2, nan, nan, -1000])
    flags = pa.array([True, False, None])
    np.testing.assert_array_equal(to_frame(pa.table({"amount": flags}), AMOUNT)["amount"], [1, 0, nan])


def test_category_text_is_the_same_for_a_widened_type() -> None:
    assert category_text(pa.array([7, None], pa.int8())).equals(category_text(pa.array([7.0, None])))


def test_plan_sorts_columns_into_kinds_and_says_what_it_left_out() -> None:
    made = plan_features(
        pa.table(
            {
                "id": ["a", "b", "c", "d"],
                "empty": pa.nulls(4, pa.string()),
                "same": [1.0, 1.0, 1.0, 1.0],
                "kind": ["x", "x", "y", "z"],
                "many": [1, 1, 2, 2],
                "size": [1.0, 2.0, None, 4.0],
                "leak": [0, 1, 0, 1],
                "label": [0, 1, 0, 1],
            }
        ),
        pipeline(
            {
                "id": ("string", "categorical"),
                "empty": ("string", "categorical"),
                "same": ("float64", "numeric"),
                "kind": ("string", "categorical"),
                "many": ("int64", "categorical"),
                "size": ("float64", "numeric"),
                "absent": ("float64", "numeric"),
                "leak": ("int64", "leak"),
                "label": ("int64", "label"),
            }
        ),
    )
    assert [(f.name, f.kind, f.vocabulary) for f in made.features] == [
        ("size", "numeric", []),
        ("kind", "low", ["x"]),
        ("many", "low", ["1", "2"]),
    ]
    assert [note.split(":")[0] for note in made.notes] == ["id", "empty", "same", "absent"]
    assert FeaturePlan.model_validate(json.loads(made.model_dump_json())) == made


def test_more_values_than_max_categories_are_high() -> None:
    table = pa.table({"shop": ["a", "b", "c"] * 2, "label": [0, 1] * 3})
    roles = {"shop": ("string", "categorical"), "label": ("int64", "label")}
    assert plan_features(table, pipeline(roles, max_categories=2)).features[0].kind == "high"
    assert plan_features(table, pipeline(roles, max_categories=3)).features[0].kind == "low"


def test_time_parts_follow_the_span_of_the_sample() -> None:
    def parts(*moments: datetime) -> list[str]:
        table = pa.table({"at": pa.array(moments, pa.timestamp("us")), "x": range(len(moments))})
        made = plan_features(table, pipeline({"at": ("timestamp", "time"), "x": ("int64", "numeric")}))
        return [feature.name for feature in made.features if feature.kind == "time"]

    assert parts(datetime(2026, 1, 1, 5), datetime(2026, 1, 1, 7)) == ["at:hour"]
    assert parts(datetime(2026, 1, 1), datetime(2026, 1, 8)) == ["at:weekday"]
    assert parts(datetime(2026, 1, 1, 1), datetime(2027, 1, 8)) == ["at:hour", "at:weekday", "at:month"]


def test_time_parts_are_one_more_than_hour_weekday_and_month() -> None:
    plan = FeaturePlan(
        features=[Feature(name=part, column="at", kind="time", part=part) for part in ("hour", "weekday", "month")]  # type: ignore[arg-type]
    )
    monday = pa.table({"at": pa.array([datetime(2026, 2, 2, 23, 59), None], pa.timestamp("us"))})
    assert to_frame(monday, plan).to_numpy().tolist() == [[24, 1, 2], [0, 0, 0]]
    assert to_frame(pa.table({"at": ["2026-02-02T23:59:00", None]}), plan).to_numpy().tolist() == [[24, 1, 2], [0] * 3]
    assert to_frame(pa.table({"at": ["soon"]}), plan).to_numpy().tolist() == [[0, 0, 0]]


def test_the_positive_label_is_the_larger_value() -> None:
    assert label_values(pa.array(["Yes", None, "No", "Yes"]), "y") == ("No", "Yes")
    assert label_values(pa.array([10, 9]), "y") == ("9", "10")
    assert label_values(pa.array([True, False]), "y") == ("false", "true")


@pytest.mark.parametrize(
    ("values", "found"),
    [([1, 1, None], "1 (1: 2)"), ([None, None], "only null"), ([1, 2, 3], "3 (1: 1, 2: 1, 3: 1)")],
)
def test_a_label_without_two_values_closes_the_gate_with_counts(values: list[int | None], found: str) -> None:
    with pytest.raises(GateClosed) as error:
        label_values(pa.array(values, pa.int8()), "y")
    assert error.value.found == found


def test_labels_know_two_values() -> None:
    plan = FeaturePlan(features=[], label="y", negative="No", positive="Yes")
    y, known = labels(pa.table({"y": ["Yes", "No", None, "Maybe"]}), plan)
    assert (y.tolist(), known.tolist()) == ([1, 0, 0, 0], [True, True, False, False])


def test_mutual_information_agrees_with_sklearn() -> None:
    from sklearn.metrics import mutual_info_score

    draw = np.random.default_rng(3)
    cells, y = draw.integers(0, 6, 5000), draw.integers(0, 2, 5000)
    y = np.where(cells == 2, 1, y)
    assert mutual_information(cells, y) == pytest.approx(mutual_info_score(cells, y), abs=1e-12)


def test_a_category_of_many_random_values_doesnt_win_by_chance() -> None:
    import pandas as pd

    draw = np.random.default_rng(4)
    y = draw.integers(0, 2, 4000)
    useful = np.where(draw.random(4000) < 0.6, y, 1 - y).astype(np.int32)
    noise = draw.integers(0, 1000, 4000).astype(np.int32)
    ranked = rank_features(pd.DataFrame({"noise": noise, "useful": useful}), y, np.ones(4000))
    assert [name for name, _ in ranked] == ["useful", "noise"]
    assert ranked[1][1] < 0.01


def test_the_priors_strength_is_that_of_the_beta_that_drew_the_categories() -> None:
    """Positives drawn with a probability per category from Beta(m p, m (1 - p)), categories of 1 to 30 rows."""
    for strength in (2.0, 20.0):
        draw = np.random.default_rng(0)
        codes = np.repeat(np.arange(8000), draw.integers(1, 31, 8000))
        mean = draw.beta(strength * 0.1, strength * 0.9, 8000)
        y = (draw.random(len(codes)) < mean[codes]).astype(int)
        assert prior_strength(codes, y) == pytest.approx(strength, rel=0.15)


def test_categories_that_say_nothing_have_the_prior_alone() -> None:
    draw = np.random.default_rng(6)
    once = np.arange(1000)
    assert prior_strength(once, draw.integers(0, 2, 1000)) == 1e6
    assert prior_strength(once % 7, np.zeros(1000, int)) == 1e6


@given(
    texts=st.lists(st.sampled_from(["Rome", "Bonn", "Oslo", "", None]), max_size=30),
    numbers=st.lists(st.sampled_from([1, 2, 300, None]), max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_a_dictionary_gives_what_its_rows_give(texts: list[str | None], numbers: list[int | None]) -> None:
    def found(values: pa.Array, feature: Feature) -> list[float]:
        return list(gather(pa.table({"city": values}), feature, np.array([-1.5, 0.0, 10.0, 20.0])))

    [city] = CITY.features
    plain = pa.array(texts, pa.string())
    expected = [{"Rome": 10.0, "Bonn": 20.0, None: 0.0}.get(text, -1.5) for text in texts]
    assert found(plain, city) == found(plain.dictionary_encode(), city) == expected
    null_inside = pa.DictionaryArray.from_arrays(pa.array([1] * len(texts), pa.int8()), pa.array(["Rome", None]))
    assert found(null_inside, city) == [0.0] * len(texts)
    shops = Feature(name="city", column="city", kind="low", vocabulary=["300", "2"])
    ints = pa.array(numbers, pa.int16())
    expected = [{300: 10.0, 2: 20.0, None: 0.0}.get(number, -1.5) for number in numbers]
    assert found(ints, shops) == found(ints.cast(pa.float64()), shops) == found(ints.cast(pa.string()), shops)
    assert found(ints, shops) == expected
