"""A verdict as Great Expectations' objects and page: complete, without network, safe from what cells hold."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from millrace.data.check import CheckState
from millrace.data.check_verdict import Verdict
from millrace.report import data_docs
from millrace.spec import Expectation

SCHEMA = pa.schema({"city": pa.string(), "other": pa.string(), "fare": pa.float64()})
MARKUP = "<img src=https://x.example/a.png onerror=alert(1)>"


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    rules = [
        Expectation(expect="column_values_to_be_in_set", column="city", value_set=["Rome", "<b>"], severity="warn"),
        Expectation(expect="column_distinct_values_to_equal_set", column="city", value_set=["Rome", "Oslo"]),
        Expectation(expect="column_pair_values_to_be_equal", column_A="city", column_B="other"),
        Expectation(expect="column_mean_to_be_between", column="fare", min_value=0),
    ]
    state = CheckState(rules, SCHEMA)
    state.update(
        pa.record_batch({"city": ["Rome", MARKUP], "other": ["Rome", None], "fare": [1.0, 2.0]}, schema=SCHEMA)
    )
    return state.verdict()


def test_results_are_great_expectations_objects(verdict: Verdict) -> None:
    found = data_docs.results(verdict, name="taxi", interval="2018-04")
    from great_expectations.core import ExpectationSuiteValidationResult

    assert isinstance(found, ExpectationSuiteValidationResult)
    assert (found.success, found.statistics["successful_expectations"], found.suite_name) == (False, 1, "taxi")
    told = found.to_json_dict()["results"][0]
    assert told["expectation_config"]["type"] == "expect_column_values_to_be_in_set"
    assert told["expectation_config"]["severity"] == "warning"
    assert told["result"]["partial_unexpected_list"] == [MARKUP]


def test_page_needs_no_network_and_holds_no_markup_of_cells(
    verdict: Verdict, capfd: pytest.CaptureFixture[str]
) -> None:
    page = data_docs.page(verdict, name="taxi", interval="2018-04")
    loads = re.findall(r"<(?:script|link|img|iframe)\b|url\(|@import", page)
    assert loads == []
    assert "&lt;img src=https://x.example/a.png" in page
    assert "not in the set: &lt;img" in page
    assert "missing: Oslo" in page
    assert "Exception" not in capfd.readouterr().err


def test_the_verdict_is_plain_json(verdict: Verdict) -> None:
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
