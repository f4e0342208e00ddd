"""Every setting that would fail, be left unread, or do nonsense at night is told when the file is read."""

# ruff: noqa: E501 - a table, one mistake a line

from __future__ import annotations

import pytest

from millrace.pipeline_file import find_mistakes

ORDERS = """\
name: orders
source: {uri: "data/*.csv", format: csv, time: at, interval: daily, file_date: "%Y-%m-%d"}
columns:
  at: {type: timestamp, role: time}
  customer: {type: int64, role: key}
  shop: {type: string, role: categorical}
  price: {type: float64, role: numeric}
  paid: {type: bool, role: ignore}
  returned: {type: int8, role: label}
clean:
  price: {range: [0, 1000]}
shard: {by: customer, method: range, shards: 3}
window: 12d
drift: {psi: 0.1}
sample: {method: random}
train: {model: logistic_regression}
evaluate: {holdout: 3d}
promote: {metric: roc_auc}
schedule: "0 2 * * *"
"""
CRON = (
    "minute, hour, day, month and weekday, such as '0 2 * * *'; one of @hourly, @daily, @midnight, @weekly, @monthly, "
    "@quarterly, @yearly, @annually; or null"
)
DURATION = "a duration such as 60d, 12h or 2w"
LONGER = "a duration longer than none, such as 1d"
CHOICES = "a list of values, or {low, high} with low < high (log: true needs low > 0)"
FILE_DATE = "a pattern of %Y %m %d %H %M %S, each once, that tells a daily interval in a file's name"
TREE = (
    "one of ccp_alpha, criterion, max_depth, max_features, max_leaf_nodes, min_impurity_decrease, min_samples_leaf, "
    "min_samples_split, min_weight_fraction_leaf, splitter"
)
SOURCE = "file_date: "
TRAIN = "train: {model: logistic_regression}"
ROLE = "{type: bool, role: ignore}"
PRICE = "price: {range: [0, 1000]}"
SHARD = "method: range, shards: 3"

MISTAKES = [
    # the source
    ("data/*.csv", "", "source.uri: expected at least one character, found ''"),
    (SOURCE, 'encoding: rot13, file_date: ', "source.encoding: expected an encoding of text such as utf-8, latin-1 or cp1252, found 'rot13'"),
    (SOURCE, 'encoding: cp037, file_date: ', "source.encoding: expected an encoding of text such as utf-8, latin-1 or cp1252, found 'cp037'"),
    (SOURCE, 'delimiter: "||", file_date: ', "source.delimiter: expected one ASCII character, found '||'"),
    (SOURCE, 'delimiter: "→", file_date: ', "source.delimiter: expected one ASCII character, found '→'"),
    (SOURCE, 'delimiter: "", file_date: ', "source.delimiter: expected one ASCII character, found ''"),
    (SOURCE, 'quote: "\'\'", file_date: ', "source.quote: expected one ASCII character, or none, found \"''\""),
    (SOURCE, 'quote: ",", file_date: ', "source.quote: expected another character than the delimiter, found ','"),
    (SOURCE, 'null_values: [0], file_date: ', "source.null_values.0: expected string, found 0"),
    (SOURCE, 'max_bad_rows: .nan, file_date: ', "source.max_bad_rows: expected a finite number, found nan"),
    ("%Y-%m-%d", "orders", f"source.file_date: expected {FILE_DATE}, found 'orders'"),
    ("%Y-%m-%d", "%d.%m", f"source.file_date: expected {FILE_DATE}, found '%d.%m'"),
    ("%Y-%m-%d", "%Y-%b-%d", f"source.file_date: expected {FILE_DATE}, found '%Y-%b-%d'"),
    ("%Y-%m-%d", "%Y-%Y-%m-%d", f"source.file_date: expected {FILE_DATE}, found '%Y-%Y-%m-%d'"),
    ("%Y-%m-%d", "%Y/%m-%d", f"source.file_date: expected {FILE_DATE}, found '%Y/%m-%d'"),
    ("format: csv", "format: parquet, quote: ''", "source.quote: expected a format that has one: csv, tsv, found format parquet"),
    (', file_date: "%Y-%m-%d"', ", late_rows: quarantine", "source.late_rows: expected file_date and time, which late rows tell apart, found no file_date"),
    # columns
    (ROLE, "{type: bool, role: ignore, source: shop}", "columns.paid: expected another column of the files than 'shop' reads, found 'shop'"),
    (ROLE, "{type: string, role: numeric}", "columns.paid.type: expected a number, for role numeric, found 'string'"),
    (ROLE, "{type: int8, role: time}", "columns.paid.type: expected timestamp or date, for role time, found 'int8'"),
    (ROLE, '{type: date, role: ignore, derive: {column: shop, matches: "x"}}', "columns.paid.type: expected a type of 0 and 1: it is derived, found 'date'"),
    (ROLE, '{type: int8, role: ignore, derive: {column: shop, matches: "("}}', "columns.paid.derive.matches: expected a regular expression, found '(' (missing ), unterminated subpattern at position 0)"),
    (ROLE, '{type: int8, role: ignore, derive: {column: shop, matches: "x(?!y)"}}', "columns.paid.derive.matches: expected a regular expression of RE2, which can't look around or back, found '(?!'"),
    # clean
    (PRICE, "price: {range: [9, 1]}", "clean.price.range: expected a lower bound up to the upper one, found [9.0, 1.0]"),
    (PRICE, "price: {range: [null, null]}", "clean.price.range: expected a lower or an upper bound, found neither"),
    (PRICE, "at: {range: [2026-02-01, 2026-01-01]}", "clean.at.range: expected a lower bound up to the upper one, found ['2026-02-01', '2026-01-01']"),
    (PRICE, "price: {values: []}", "clean.price.values: expected at least one item, found []"),
    (PRICE, "price: {on_violation: clip}", "clean.price.on_violation: expected range, values or outliers, which can be violated, found none"),
    (PRICE, "price: {values: [1], on_violation: clip}", "clean.price.on_violation: expected range or outliers, which have ends to clip to, found values alone"),
    (PRICE, "price: {unit: {lb: 0}}", "clean.price.unit.lb: expected a number greater than 0, found 0"),
    (PRICE, "shop: {unit: {lb: 2}}", "clean.shop.unit: expected a numeric column, found type string"),
    (PRICE, "shop: {case: lower, map: {NYC: ny}}", "clean.shop.map.NYC: expected 'nyc': case lower comes before map, found 'NYC'"),
    (PRICE, "shop: {spelling: {values: [a], times: 3}}", "clean.shop.spelling.times: expected spellings that are learned, found spelling.values"),
    (PRICE, "price: {outliers: {method: mad, lower: 0.1}}", "clean.price.outliers.lower: expected a setting of the method, found method mad"),
    (PRICE, "price: {outliers: {method: quantile, lower: 0.9, upper: 0.1}}", "clean.price.outliers.lower: expected less than upper, 0.1, found 0.9"),
    (PRICE, "price: {missing: {value: 3}}", "clean.price.missing.value: expected fill: constant, which has a value, found fill: leave"),
    (PRICE, "price: {missing: {fill: constant, value: 3, by: shop}}", "clean.price.missing.by: expected fill: mean, median, most_frequent, which groups have, found fill: constant"),
    # shard
    (SHARD, "method: range, shards: 3, boundaries: []", "shard.boundaries: expected at least one item, found []"),
    (SHARD, "method: range, shards: 3, boundaries: [x]", "shard.boundaries.0: expected a key of type int64, found 'x'"),
    (SHARD, "method: range, shards: 3, boundaries: [9, 5]", "shard.boundaries: expected rising values, found [9, 5]"),
    (SHARD, "method: range, shards: 2, boundaries: [1, 2]", "shard.boundaries: expected at most 1 for 2 shards, found 2"),
    (SHARD, "method: hash, shards: 3, boundaries: [1]", "shard.boundaries: expected method range, which has boundaries, found method hash"),
    (SHARD, "deduplicate: {keep: last}", "shard.deduplicate.keep: expected deduplicate.by: rows that are equal in all columns need no choice, found last"),
    # lengths of time
    ("window: 12d", "window: 0d", f"window: expected {LONGER}, found '0d'"),
    ("window: 12d", "window: -3d", f"window: expected {DURATION}, found '-3d'"),
    ("window: 12d", "window: 999999w", "window: expected a duration of at most 100 years, found '999999w'"),
    ("window: 12d", "window: 300h", "window: expected a multiple of 1d, the daily interval, found 300h"),
    ("drift: {psi: 0.1}", "drift: {recent: 0d}", f"drift.recent: expected {LONGER}, found '0d'"),
    ("drift: {psi: 0.1}", "drift: {recent: 6h}", "drift.recent: expected a multiple of 1d, the daily interval, found 6h"),
    ("drift: {psi: 0.1}", "drift: {recent: 12d}", "drift.recent: expected less than the window of 12d, found 12d"),
    ("drift: {psi: 0.1}", "drift: {recent: 5d, reference: 8d}", "drift.reference: expected at most the window of 12d less 5d of drift.recent, found 8d"),
    ("drift: {psi: 0.1}", "drift: {reference: 7d}", "drift.reference: expected at most the window of 12d less its recent half, found 7d"),
    ("drift: {psi: 0.1}", "drift: {columns: [at]}", "drift.columns: expected columns with role numeric, categorical, label, found 'at' with role time"),
    ("holdout: 3d", "holdout: 0d", f"evaluate.holdout: expected {LONGER}, found '0d'"),
    ("holdout: 3d", "holdout: 12d", "evaluate.holdout: expected less than the window of 12d, found 12d"),
    (TRAIN, "train: {label_delay: 9d}", "evaluate.holdout: expected less than the window of 12d less 9d of train.label_delay, found 3d"),
    (TRAIN, "train: {label_delay: 12d}", "train.label_delay: expected less than the window of 12d, found 12d"),
    ("method: random", "method: recent, half_life: 0d", f"sample.half_life: expected {LONGER}, found '0d'"),
    # sample
    ("method: random", "method: all, rows: 9", "sample.rows: expected a method that draws rows, found method all, which takes all of them"),
    ("method: random", "method: random, rows: 9, loss: 0.1", "sample.loss: expected no other word on the size of the sample, found rows"),
    # train
    (TRAIN, "train: {params: {max_itr: 3}}", "train.params.max_itr: expected one of C, dual, fit_intercept, intercept_scaling, l1_ratio, max_iter, solver, tol, found 'max_itr'; did you mean 'max_iter'?"),
    (TRAIN, 'train: {params: {max_iter: "300"}}', "train.params.max_iter: expected a whole number of at least 1, found '300'"),
    (TRAIN, "train: {params: {l1_ratio: 0.5}}", "train.params.l1_ratio: expected 0 with solver lbfgs (saga takes any share, liblinear 0 or 1), found 0.5"),
    (TRAIN, "train: {model: random_forest, params: {n_estimators: -1}}", "train.params.n_estimators: expected a whole number of at least 1, found -1"),
    (TRAIN, "train: {model: hist_gradient_boosting, params: {learning_rate: 0}}", "train.params.learning_rate: expected a number above 0, found 0"),
    (TRAIN, "train: {model: decision_tree, params: {random_state: 1}}", f"train.params.random_state: expected {TREE}, found 'random_state'; the seed follows from pipeline and interval, so that a rerun gives the same model"),
    (TRAIN, "train: {tune: {space: {}}}", "train.tune.space: expected at least one item, found {}"),
    (TRAIN, "train: {tune: {space: {C: []}}}", f"train.tune.space.C: expected {CHOICES}, found []"),
    (TRAIN, "train: {tune: {space: {C: {low: 2, high: 1}}}}", f"train.tune.space.C: expected {CHOICES}, found {{'low': 2, 'high': 1}}"),
    (TRAIN, "train: {tune: {space: {C: {low: 0, high: 1, log: true}}}}", f"train.tune.space.C: expected {CHOICES}, found {{'low': 0, 'high': 1, 'log': True}}"),
    (TRAIN, "train: {tune: {space: {solver: [lbfgs, adam]}}}", "train.tune.space.solver: expected lbfgs, liblinear, newton-cg, newton-cholesky, sag or saga, found 'adam' among ['lbfgs', 'adam']"),
    (TRAIN, "train: {tune: {space: {max_iter: {low: 1, high: 9.5}}}}", "train.tune.space.max_iter: expected a whole number of at least 1, found 1.0 among {'low': 1, 'high': 9.5}"),
    (TRAIN, "train: {tune: {search: grid, trials: 9}}", "train.tune.trials: expected search random or bayesian, which make trials, found search grid"),
    (TRAIN, "train: {features: {pca: -1}}", "train.features.pca: expected a number greater than or equal to 1, or a number greater than 0, found -1"),
    (TRAIN, "train: {features: {pca: 0}}", "train.features.pca: expected a number greater than or equal to 1, or a number greater than 0, found 0"),
    (TRAIN, "train: {features: {pca: 1.5}}", "train.features.pca: expected integer, or a number less than 1, found 1.5"),
    (TRAIN, "train: {features: {pca: 5, select: 2}}", "train.features.pca: expected at most the 2 of select, found 5"),
    (TRAIN, "train: {model: naive_bayes, features: {pca: 2}}", "train.features.pca: expected a model that takes components; naive_bayes takes counts, found 2"),
    (TRAIN, "train: {features: {drop: [customer]}}", "train.features.drop: expected some of at, shop, price: no other is a feature, found 'customer'"),
    (TRAIN, "train: {features: {drop: [at, shop, price]}}", "train.features.drop: expected a kept column with role numeric, categorical, time to learn from, found none"),
    (TRAIN, "train: {class_weight: balanced, resample: under}", "train.class_weight: expected class_weight or resample, not both, found balanced"),
    # promote and schedule
    ("metric: roc_auc", "margin: 1", "promote.margin: expected a number less than 1, found 1"),
    ("0 2 * * *", "0 25 * * *", f"schedule: expected {CRON}, found '0 25 * * *' (out of range)"),
    ("0 2 * * *", "0 2 * *", f"schedule: expected {CRON}, found '0 2 * *'"),
    ("0 2 * * *", "0 0 2 * * *", f"schedule: expected {CRON}, found '0 0 2 * * *'"),
    ("0 2 * * *", "0 2 30 2 *", f"schedule: expected {CRON}, found '0 2 30 2 *' (failed to find next date)"),
    ("0 2 * * *", "@once", f"schedule: expected {CRON}, found '@once'"),
    ("0 2 * * *", "", f"schedule: expected {CRON}, found ''"),
]  # fmt: skip


def test_the_file_itself_is_right_and_airflows_presets_are_schedules() -> None:
    assert find_mistakes(ORDERS) == []
    for preset in ("@daily", "@quarterly", "0 2 * * 7", "*/15 * * * mon-fri"):
        assert find_mistakes(ORDERS.replace("0 2 * * *", preset)) == []


@pytest.mark.parametrize(("old", "new", "told"), MISTAKES)
def test_a_setting_is_told_with_its_line_what_was_expected_and_what_was_found(old: str, new: str, told: str) -> None:
    assert ORDERS.count(old) == 1
    text = ORDERS.replace(old, new)
    assert [str(each).split(", ", 1)[1] for each in find_mistakes(text)] == [told]
    changed = next(number for number, line in enumerate(text.split("\n"), 1) if line not in ORDERS.split("\n"))
    other_section = "label_delay: 9d" in new  # there the holdout doesn't fit any more
    assert find_mistakes(text)[0].line == (line_of("evaluate:", text) if other_section else changed)


def line_of(part: str, text: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if part in line)
