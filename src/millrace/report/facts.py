"""What a report shows, as plain facts: the stages collect them, the page draws them. `None` is a part there isn't."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from millrace.data.check_verdict import Verdict
from millrace.data.drift import DriftVerdict
from millrace.data.sample import SamplePlan
from millrace.model.compress import CompressionReport
from millrace.model.evaluate import Comparison, Estimate, Evaluation
from millrace.model.promote import Decision
from millrace.report.distributions import Distribution
from millrace.spec import Metric

Role = Literal["teaches", "judges", "teaches and judges", "waits", "not used"]


@dataclass(frozen=True)
class StageFacts:
    """The newest commit of a stage: its table's version, the intervals it replaced, and the rows of its ledger."""

    stage: str
    version: int
    committed: str
    intervals: str
    rows_in: int
    rows_out: int
    quarantined: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    not_sampled: int = 0
    other: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Night:
    """Rows of one interval of the window, stage by stage; None where the stage hasn't seen it.

    `read` counts all raw records, `unreadable` those among them that aren't rows of the format at all. `role`: what the
    interval does for the model. `label_rate`: mean of the label over its labelled rows. `failed`: its check failed.
    """

    interval: str
    read: int | None
    unreadable: int | None = None
    clean: int | None = None
    quarantined: int | None = None
    sharded: int | None = None
    sampled: int | None = None
    scored: int | None = None
    role: Role = "not used"
    label_rate: float | None = None
    failed: bool = False


@dataclass(frozen=True)
class Reason:
    """Quarantined rows that broke one rule in one column (None: the whole row), with one of them as an example."""

    column: str | None
    rule: str
    rows: int
    expected: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Change:
    """Cells of a column that cleaning changed by one rule."""

    column: str
    rule: str
    cells: int


@dataclass(frozen=True)
class ColumnFacts:
    """A column before and after cleaning, over the window. `clean_*` are None where the column was dropped."""

    column: str
    kind: str
    role: str
    raw_missing: float | None
    clean_missing: float | None
    distinct: int | None
    least: str | None
    middle: str | None
    greatest: str | None


@dataclass(frozen=True)
class SampleFacts:
    """The plan of the sample and, by column, its distribution beside the population's."""

    plan: SamplePlan
    rows: int
    training: Sequence[str]
    holdout: str
    distributions: Sequence[Distribution]
    label_rates: Mapping[str, float] = field(default_factory=dict)  # population, drawn, weighted


@dataclass(frozen=True)
class EvaluationFacts:
    """The candidate beside the champion on the same holdout, and the decision by `metric`."""

    metric: Metric
    version: int | None
    candidate: Evaluation
    decision: Decision
    champion_version: int | None = None
    champion: Evaluation | None = None
    comparison: Comparison | None = None
    scores: Sequence[int] = ()  # holdout rows by the candidate's probability, in equal bins of [0, 1]


@dataclass(frozen=True)
class ScoringFacts:
    """The scores of the run's interval: rows, mean, who gave them, and rows in equal bins of [0, 1].

    Where a table of other origin is scored, `other` is its name and the rows are all of its rows.
    """

    rows: int
    mean: float
    models: Sequence[int]
    bins: Sequence[int]
    where: str
    other: str | None = None


@dataclass(frozen=True)
class Past:
    """An evaluation of an earlier (or this) run, for the history."""

    interval: str
    version: int
    figure: Estimate
    promoted: bool


@dataclass(frozen=True)
class FeatureFacts:
    """A feature of the model, the column it comes from, how it is made, and how many values it knows."""

    name: str
    column: str
    kind: str
    values: int | None = None


@dataclass(frozen=True)
class ModelFacts:
    """A model of the registry."""

    version: int
    family: str
    interval: str
    aliases: Sequence[str]
    rows: int | None
    params: Mapping[str, str]
    features: Sequence[FeatureFacts]
    notes: Sequence[str] = ()
    compression: CompressionReport | None = None


@dataclass(frozen=True)
class TableFacts:
    """A table and the version that the run read or made."""

    name: str
    version: int
    rows: int
    files: int
    newest: str
    where: str


@dataclass(frozen=True)
class ReportFacts:
    """All that one report shows."""

    pipeline: str
    date: str
    window: Sequence[str]
    name: str = ""  # of the run: the date and, for a what-if, what it changed of the pipeline file
    nights: Sequence[Night] = ()
    stages: Sequence[StageFacts] = ()
    reasons: Sequence[Reason] = ()
    changes: Sequence[Change] = ()
    verdict: Verdict | None = None
    warned: Mapping[str, Sequence[str]] = field(default_factory=dict)  # interval → expectations it didn't meet
    checks_page: str | None = None  # HTML: the verdict as a page of Data Docs
    label: str | None = None
    drift: DriftVerdict | None = None
    columns: Sequence[ColumnFacts] = ()
    distributions: Sequence[Distribution] = ()
    sample: SampleFacts | None = None
    evaluation: EvaluationFacts | None = None
    scoring: ScoringFacts | None = None
    history: Sequence[Past] = ()
    models: Sequence[ModelFacts] = ()
    tables: Sequence[TableFacts] = ()
    notes: Sequence[str] = ()  # parts that could not be made

    @property
    def what_if(self) -> str:
        """What the run changed of the pipeline file, in words; empty for the night's own run.

        >>> ReportFacts("rides", "2026-01-31", [], "2026-01-31_window-30d_rows-500").what_if
        'window 30d, rows 500'
        """
        return self.name.removeprefix(self.date).strip("_").replace("_", ", ").replace("-", " ")
