"""The pipeline file as typed models: what flows in (source, columns) and what each stage does with it.

`millrace.pipeline_file.load` reads one from YAML and reports every mistake with its line.
"""

from __future__ import annotations

import difflib
import math
import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

NAME = r"^[a-z][a-z0-9_]{0,62}$"
DURATION = re.compile("[0-9]{1,6}[hdw]")
DURATION_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
LONGEST = timedelta(days=36_525)  # a hundred years: no window is longer, and every date less it is a date


def parse_duration(text: object) -> timedelta:
    """A duration such as ``60d``, ``12h`` or ``2w``.

    >>> parse_duration("60d").days
    60
    """
    if isinstance(text, timedelta):
        return text
    if isinstance(text, str) and DURATION.fullmatch(text):
        value = int(text[:-1]) * DURATION_UNITS[text[-1]]
        if value <= LONGEST:
            return value
        raise ValueError(f"expected a duration of at most 100 years, found {text!r}")
    raise ValueError(f"expected a duration such as 60d, 12h or 2w, found {text!r}")


def _longer_than_none(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("expected a duration longer than none, such as 1d")
    return value


def _choices(value: Any) -> Any:
    """A list of values, or a range of numbers, of a search space."""
    if isinstance(value, list) and value:
        return value
    if isinstance(value, dict) and {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        ends = [value["low"], value["high"]]
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
        log = value.get("log", False)
        if numbers and ends[0] < ends[1] and (log is False or (log is True and ends[0] > 0)):
            return value
    raise ValueError("expected a list of values, or {low, high} with low < high (log: true needs low > 0)")


def format_duration(value: timedelta) -> str:
    """The shortest exact text of a duration.

    >>> format_duration(timedelta(days=60)), format_duration(timedelta(hours=36))
    ('60d', '36h')
    """
    hours = int(value.total_seconds() // 3600)
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,6}[hdw]$"}),
]
Length = Annotated[
    Duration,
    AfterValidator(_longer_than_none),
    WithJsonSchema({"type": "string", "pattern": "^0*[1-9][0-9]{0,5}[hdw]$"}),
]
"""A duration that isn't zero."""
Choices = Annotated[
    Any,
    AfterValidator(_choices),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "minItems": 1},
                {
                    "type": "object",
                    "properties": {"low": {"type": "number"}, "high": {"type": "number"}, "log": {"type": "boolean"}},
                    "required": ["low", "high"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
"""What a parameter is chosen from: a list of values, or {low, high, log}."""
Text = Annotated[str, Field(min_length=1)]
Real = Annotated[float, Field(allow_inf_nan=True)]
"""A bound, which may be infinite."""


def _iso(value: object) -> object:
    """YAML reads a bare 2026-01-31 as a date; here it is text."""
    return value.isoformat() if isinstance(value, date) else value


ColumnType = Literal["string", "int8", "int16", "int32", "int64", "float32", "float64", "bool", "timestamp", "date"]
Role = Literal["numeric", "categorical", "time", "key", "label", "leak", "ignore"]
Format = Literal["csv", "tsv", "jsonl", "parquet"]
Interval = Literal["hourly", "daily", "monthly", "none"]
Severity = Literal["fail", "warn", "quarantine"]


RESERVED = ("row_id", "source_file", "data_interval", "shard", "inclusion_probability", "weight")
"""Columns that Millrace adds: no column of a pipeline may have such a name."""


class Model(BaseModel):
    """Base: unknown keys are mistakes, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, defer_build=True)


class Source(Model):
    """Where raw rows come from.

    `uri` is a file, folder or glob (or a list). A file belongs to the interval whose date `file_date` (a strptime
    pattern searched in the file's name) finds there; without `file_date`, each row belongs to the interval of its
    `time` column; with `interval: none` all rows are one interval named ``all``.
    """

    uri: Text | Annotated[list[Text], Field(min_length=1)]
    format: Format = "csv"
    time: str | None = None
    interval: Interval = "daily"
    file_date: str | None = None
    header: bool = True
    delimiter: str | None = None
    quote: str = '"'
    encoding: str = "utf-8"
    null_values: list[str] = ["", "NA", "N/A", "null", "NULL", "NaN", "nan", "None"]
    late_rows: Literal["keep", "quarantine"] = Field(
        "keep", description="rows whose time lies outside the interval that their file's name tells"
    )
    on_missing_files: Literal["fail", "warn"] = "warn"
    max_bad_rows: float = Field(0.5, ge=0, le=1, description="fraction of unreadable rows above which the run fails")

    @model_validator(mode="after")
    def _interval_has_its_source(self) -> Source:
        if self.interval != "none" and self.time is None and self.file_date is None:
            raise ValueError("`time` (a column) or `file_date` (a pattern in the files' names), or interval: none")
        return self

    @property
    def separator(self) -> str:
        """The field delimiter of csv and tsv."""
        return self.delimiter or ("\t" if self.format == "tsv" else ",")


class Derive(Model):
    """A column made from another raw column: 1 where its text matches a regular expression, 0 where not."""

    column: str
    matches: Text


class Column(Model):
    """One column: its type, its part in the pipeline, and its name in the raw files where that differs."""

    type: ColumnType
    role: Role
    source: str | None = Field(None, description="name in the raw files, where it differs")
    formats: list[str] | None = Field(
        None,
        min_length=1,
        description="strptime patterns, iso, epoch, epoch_ms or epoch_us, tried in order, for dates and timestamps",
    )
    derive: Derive | None = None
    description: str | None = None


class Expectation(Model):
    """One Great Expectations expectation: its name without `expect_`, a severity, and its own arguments."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    expect: str
    severity: Severity = "fail"

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the expectation itself (column, value_set, mostly…)."""
        return dict(self.model_extra or {})


class Missing(Model):
    """What to do with missing values of a column. `by` computes the value per group of another column."""

    fill: Literal["leave", "constant", "mean", "median", "most_frequent", "quarantine"] = "leave"
    value: str | int | float | bool | None = None
    by: str | None = None


class Outliers(Model):
    """Limits learned from the statistics: quantile fences, or median ± width × MAD × 1.4826."""

    method: Literal["quantile", "mad"]
    lower: float = Field(0.001, ge=0, le=1)
    upper: float = Field(0.999, ge=0, le=1)
    width: float = Field(5.0, gt=0)


class Spelling(Model):
    """Inconsistent spellings become the one nearest of `values` within `distance` edits (ignoring case and spaces).

    Without `values`, they are learned from the raw data: what is written `at_least` so often and isn't within
    `distance` of a value that is written `times` as often.
    """

    values: list[str] | None = Field(None, min_length=1)
    distance: int = Field(1, ge=0, le=5)
    at_least: int = Field(10, ge=1)
    times: float = Field(10.0, gt=1)


def _null_is_a_word(value: object) -> object:
    """YAML reads a bare `null` as None; here it is the word."""
    return "null" if value is None else value


OnTypeError = Annotated[
    Literal["null", "quarantine"],
    BeforeValidator(_null_is_a_word, json_schema_input_type=Literal["null", "quarantine"] | None),
]
OnViolation = Annotated[
    Literal["null", "clip", "quarantine"],
    BeforeValidator(_null_is_a_word, json_schema_input_type=Literal["null", "clip", "quarantine"] | None),
]


class CleanRule(Model):
    """How one column is cleaned, in this order: trim, case, map, spelling, unit, type, range, outliers, missing."""

    trim: bool = True
    case: Literal["lower", "upper", "title"] | None = None
    map: dict[str, str | None] | None = None
    spelling: Spelling | None = None
    unit: dict[Text, Annotated[float, Field(gt=0)]] | None = Field(
        None, min_length=1, description="suffix → factor: {kg: 1, lb: 0.4536}"
    )
    range: (
        tuple[Annotated[Real | str | None, BeforeValidator(_iso)], Annotated[Real | str | None, BeforeValidator(_iso)]]
        | None
    ) = None
    values: list[Annotated[str | int | float | bool, BeforeValidator(_iso)]] | None = Field(None, min_length=1)
    outliers: Outliers | None = None
    on_type_error: OnTypeError = "quarantine"
    on_violation: OnViolation = "null"
    missing: Missing = Field(default_factory=Missing.model_construct)


_DEFAULT_RULE = CleanRule.model_construct()  # nothing to validate, and each task would build a validator for it


class Deduplicate(Model):
    """Which rows are duplicates and which one stays. No `by`: all columns are equal."""

    by: list[str] | None = Field(None, min_length=1)
    keep: Literal["first", "last"] = "first"
    order: str | None = Field(None, description="column that orders duplicates; the time column by default")


class Shard(Model):
    """How rows are placed: by hash of a key, or by range of a key with learned or given boundaries."""

    by: str
    method: Literal["hash", "range"] = "hash"
    shards: int = Field(16, ge=1, le=100_000)
    boundaries: list[Annotated[str | int | float, BeforeValidator(_iso)]] | None = Field(None, min_length=1)
    deduplicate: Deduplicate | None = Field(default_factory=Deduplicate)


class Drift(Model):
    """When two halves of the window count as different."""

    recent: Length | None = None
    reference: Length | None = None
    false_alarms_per_year: float = Field(4.0, gt=0)
    psi: float = Field(0.1, gt=0, description="a shift smaller than this PSI is never called drift")
    columns: list[str] | None = Field(None, min_length=1)


Method = Literal["auto", "all", "random", "stratified", "cluster", "recent"]


class Sample(Model):
    """How the training sample is drawn."""

    method: Method = "auto"
    rows: int | None = Field(None, ge=1)
    fraction: float | None = Field(None, gt=0, le=1)
    by: str | None = Field(None, description="strata column, or cluster key")
    half_life: Length | None = None
    loss: float = Field(0.002, gt=0)
    confidence: float = Field(0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _one_size(self) -> Sample:
        if self.rows is not None and self.fraction is not None:
            raise ValueError("rows or fraction, not both")
        return self


ModelName = Literal[
    "logistic_regression", "sgd", "naive_bayes", "decision_tree", "random_forest", "hist_gradient_boosting"
]


class Tune(Model):
    """Hyperparameter search. `space` maps a parameter to a list of values, or to {low, high, log}."""

    search: Literal["grid", "random", "bayesian"] = "bayesian"
    trials: int = Field(30, ge=1)
    space: dict[str, Choices] | None = Field(None, min_length=1)
    folds: int = Field(3, ge=2)


class Features(Model):
    """How columns become numbers."""

    select: int | None = Field(None, ge=1, description="keep the k best features (mutual information)")
    pca: Annotated[int, Field(ge=1, strict=True)] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="so many principal components, or enough for this share of the variance",
        union_mode="left_to_right",
    )
    max_categories: int = Field(64, ge=2, description="one-hot up to this many values; more are target-encoded")
    drop: list[str] = []


class Train(Model):
    """The model and how it is fitted."""

    model: ModelName = "logistic_regression"
    params: dict[str, Any] = {}
    class_weight: Literal["balanced"] | None = None
    resample: Literal["smote", "under"] | None = None
    features: Features = Field(default_factory=Features)
    tune: Tune | None = None
    label_delay: Duration = Field(timedelta(0), json_schema_extra={"default": "0d"})


class Evaluate(Model):
    """The holdout: the last `holdout` of time before the run's date, else a fraction by hash, else named files."""

    holdout: Length | None = None
    fraction: float = Field(0.2, gt=0, lt=1)
    files: Text | None = Field(None, description="glob on file names whose rows are the holdout")
    slices: list[str] = []
    rows: int = Field(200_000, ge=100, description="at most this many holdout rows are scored, by hash rank")


Metric = Literal["roc_auc", "average_precision", "log_loss", "brier", "accuracy", "f1"]


class Promote(Model):
    """When the candidate replaces the champion: better by more than `margin` on the same holdout."""

    metric: Metric = "roc_auc"
    margin: float = Field(0.0, ge=0, lt=1)
    confidence: float = Field(0.9, gt=0, lt=1)
    approval: Literal["automatic", "human"] = "automatic"


ROW_TABLES = ("sharded", "clean", "sample")
"""The tables of a pipeline that hold rows which a model can score."""


class Score(Model):
    """Which table is scored: one of this pipeline, one of another, or any Delta Lake table.

    The table of another pipeline is written ``fraud/sharded``; a folder of such a name ``./fraud/sharded``.
    """

    table: str = Field(
        "sharded",
        description="sharded, clean or sample; PIPELINE/sharded; or the folder or URI of a Delta Lake table",
        json_schema_extra={"anyOf": [{"enum": list(ROW_TABLES)}, {"pattern": "/"}]},
    )

    @field_validator("table")
    @classmethod
    def _names_a_table(cls, table: str) -> str:
        if table in ROW_TABLES or "/" in table:
            return table
        near = difflib.get_close_matches(table, ROW_TABLES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"a folder here is written './{table}'"
        expected = "sharded, clean or sample; PIPELINE/sharded; or the folder or URI of a Delta Lake table"
        raise ValueError(f"expected {expected}, found {table!r}; {hint}")

    @property
    def of_pipeline(self) -> tuple[str, str] | None:
        """The other pipeline and its table, where the table is one.

        >>> Score(table="fraud/sharded").of_pipeline, Score(table="./fraud/sharded").of_pipeline
        (('fraud', 'sharded'), None)
        """
        name, _, table = self.table.partition("/")
        return (name, table) if re.fullmatch(NAME, name) and table in ROW_TABLES else None


class Pipeline(Model):
    """One pipeline file."""

    name: str = Field(pattern=NAME)
    source: Source
    columns: dict[Text, Column] = Field(min_length=1)
    check: list[Expectation] = []
    clean: dict[str, Literal["drop"] | CleanRule] = {}
    shard: Shard | None = None
    window: Length = Field(timedelta(days=60), json_schema_extra={"default": "60d"})
    drift: Drift = Field(default_factory=Drift)
    sample: Sample = Field(default_factory=Sample)
    train: Train = Field(default_factory=Train)
    evaluate: Evaluate = Field(default_factory=Evaluate)
    promote: Promote = Field(default_factory=Promote)
    score: Score = Field(default_factory=Score)
    schedule: str | None = "0 2 * * *"

    def by_role(self, *roles: Role) -> list[str]:
        """Names of the columns with any of these roles, in file order."""
        return [name for name, column in self.columns.items() if column.role in roles]

    def kept(self) -> list[str]:
        """Names of the columns that cleaning keeps, in file order."""
        return [name for name in self.columns if self.clean.get(name) != "drop"]

    def rule(self, column: str) -> CleanRule:
        """The cleaning rule of a kept column; the default rule where the file names none."""
        rule = self.clean.get(column)
        return rule if isinstance(rule, CleanRule) else _DEFAULT_RULE

    def as_stored(self) -> Pipeline:
        """The pipeline with the columns that raw files hold: those derived from others left out."""
        if not any(column.derive for column in self.columns.values()):
            return self
        stored = {name: column for name, column in self.columns.items() if column.derive is None}
        return self.model_copy(update={"columns": stored})

    @property
    def label(self) -> str | None:
        """The label column, if there is one."""
        labels = self.by_role("label")
        return labels[0] if labels else None
