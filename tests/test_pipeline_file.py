"""A pipeline file with ten mistakes names all ten, each with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from millrace.errors import PipelineFileError
from millrace.pipeline_file import find, find_mistakes, json_schema, load

GOOD = """\
name: clicks
source: {uri: "data/clicks/*.csv.gz", format: csv, time: click_time, interval: daily}
columns:
  ip: {type: string, role: categorical}
  fare: {type: float64, role: numeric}
  city: {type: string, role: categorical}
  click_time: {type: timestamp, role: time}
  attributed_time: {type: timestamp, role: leak}
  is_attributed: {type: int8, role: label}
check:
  - {expect: column_values_to_not_be_null, column: click_time, severity: quarantine}
clean:
  attributed_time: drop
  fare: {range: [0, 500], on_violation: null}
  city: {map: {nyc: New York}}
shard: {by: ip, method: hash, shards: 16}
window: 60d
drift: {false_alarms_per_year: 4}
sample: {method: auto, loss: 0.002, confidence: 0.95}
train: {model: logistic_regression, tune: {search: bayesian, trials: 30}}
promote: {metric: roc_auc, approval: automatic}
score: {table: sharded}
schedule: "0 2 * * *"
"""

TEN_MISTAKES = """\
name: Clicks
source: {uri: "data/*.csv", formt: csv, time: click_time}
columns:
  ip: {type: strng, role: categorical}
  click_time: {type: timestamp, role: tme}
  label: {role: label}
window: sixty days
drift: {false_alarms_per_year: -1}
sample: {method: random, rows: 10, fraction: 0.1}
train: {model: logistic}
promote: {metrc: roc_auc}
schdule: "0 2 * * *"
"""


def test_the_designs_example_loads(tmp_path: Path) -> None:
    path = tmp_path / "clicks.yaml"
    path.write_text(GOOD)
    pipeline = load(path)
    assert pipeline.window.days == 60
    assert pipeline.rule("fare").on_violation == "null"
    assert pipeline.kept() == ["ip", "fare", "city", "click_time", "is_attributed"]
    assert pipeline.label == "is_attributed"


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    found = [(mistake.line, mistake.where) for mistake in find_mistakes(TEN_MISTAKES)]
    assert found == [
        (1, "name"),
        (2, "source.formt"),
        (4, "columns.ip.type"),
        (5, "columns.click_time.role"),
        (6, "columns.label"),
        (7, "window"),
        (8, "drift.false_alarms_per_year"),
        (9, "sample"),
        (10, "train.model"),
        (11, "promote.metrc"),
        (12, "schdule"),
    ]


def test_a_mistake_says_expected_found_and_the_nearest_name() -> None:
    mistakes = {mistake.where: mistake for mistake in find_mistakes(TEN_MISTAKES)}
    assert mistakes["source.formt"].hint == "did you mean 'format'?"
    assert mistakes["columns.ip.type"].hint == "did you mean 'string'?"
    assert mistakes["window"].expected == "a duration such as 60d, 12h or 2w"
    assert mistakes["window"].found == "'sixty days'"
    assert mistakes["promote.metrc"].hint == "did you mean 'metric'?"
    assert mistakes["train.model"].hint == "did you mean 'logistic_regression'?"


def yaml(text: str) -> Any:
    return YAML(typ="safe").load(text)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if part in line)


@pytest.mark.parametrize(
    ("old", "new", "where", "expected"),
    [
        (
            "shard: {by: ip",
            "shard: {by: pi",
            "shard.by",
            "one of the columns ip, fare, city, click_time, is_attributed",
        ),
        ("  fare: {range", "  fair: {range", "clean.fair", "one of the columns ip, fare, city"),
        ("time: click_time", "time: clicktime", "source.time", "one of the columns"),
        ("expect: column_values_to_not_be_null", "expect: column_values_not_be_null", "check.0", "an expectation"),
        ("severity: quarantine", "severity: quarantin", "check.0.severity", "one of fail, warn"),
        (
            "attributed_time: {type: timestamp, role: leak}",
            "attributed_time: {type: int8, role: label}",
            "columns.is_attributed",
            "one",
        ),
        ("click_time: {type: timestamp", "click_time: {type: string", "columns.click_time.type", "timestamp or date"),
        (
            "method: hash",
            "method: hash, deduplicate: {by: [city]}",
            "shard.deduplicate.by",
            "the shard key 'ip' among them",
        ),
        ("method: auto", "method: stratified, by: cty", "sample.by", "one of the columns"),
        ("fare: {range: [0, 500]", "fare: {rnge: [0, 500]", "clean.fare.rnge", "one of"),
    ],
)
def test_a_wrong_name_between_sections(old: str, new: str, where: str, expected: str) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    mistakes = find_mistakes(text)
    assert [mistake.where for mistake in mistakes] == [where]
    assert mistakes[0].expected.startswith(expected)
    assert mistakes[0].line == line_of(text, f"  {where.split('.')[1]}: {{type" if where.startswith("columns") else new)


def test_no_yaml_and_no_file_are_told_in_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [clicks\nsource: {")
    with pytest.raises(PipelineFileError, match=r"line \d+, file: expected YAML"):
        load(broken)
    with pytest.raises(PipelineFileError, match="did you mean 'broken'"):
        find("brokn", tmp_path)


def test_the_schema_describes_every_section() -> None:
    assert set(json_schema()["properties"]) >= {"name", "source", "columns", "check", "clean", "shard", "schedule"}


def test_the_schema_accepts_what_loads_and_knows_bounds_and_parameters() -> None:
    schema = Draft202012Validator(json_schema())
    assert list(schema.iter_errors(yaml(GOOD))) == []
    wrong = {
        "window: 60d": "window: 0d",
        "schedule: ": "columns2: ",
        "tune: {search: bayesian, trials: 30}": "params: {max_itr: 3}",
        "loss: 0.002": "loss: 0",
        "model: logistic_regression": "model: random_forest, params: {n_estimators: -1}",
        "trials: 30": "space: {C: []}",
        'uri: "data/clicks/*.csv.gz"': 'uri: ""',
        "train: {": "train: {features: {pca: -1}, ",
    }
    for old, new in wrong.items():
        assert GOOD.count(old) == 1
        assert not schema.is_valid(yaml(GOOD.replace(old, new))), new


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("format: csv", "format: csv, encoding: utf-9", "source.encoding"),
        ("format: csv", 'format: csv, quote: "ab"', "source.quote"),
        ("format: csv", 'format: csv, delimiter: ";;"', "source.delimiter"),
        ('"%Y-%m-%d"', '"%Y-%m"', "source.file_date"),
        ("  price: {range", "  returned: drop\n  price: {range", "clean.returned"),
        ("holdout: 3d", "fraction: 0.3", "evaluate.fraction"),
        ("holdout: 3d", "holdout: 3d, files: 'x*'", "evaluate.files"),
        ("method: all", "method: random, by: shop", "sample.by"),
        ("method: all", "method: random, half_life: 3d", "sample.half_life"),
        ("shards: 2", "shards: 2, boundaries: [3]", "shard.boundaries"),
        ("window: 12d", "train: {features: {drop: [nope]}}", "train.features.drop"),
    ],
)
def test_a_setting_that_nothing_would_read_or_that_fails_at_night_is_a_mistake(old: str, new: str, where: str) -> None:
    from tests.orders import PIPELINE as ORDERS

    assert find_mistakes(ORDERS) == []
    assert [mistake.where for mistake in find_mistakes(ORDERS.replace(old, new))] == [where]
