"""The facts of a small run, by hand, with hostile texts wherever texts come from data."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from millrace.data.check_verdict import Outcome, Verdict
from millrace.data.drift import ColumnDrift, DriftVerdict
from millrace.data.sample import SamplePlan, Stratum
from millrace.model.compress import CompressionReport
from millrace.model.evaluate import Bin, Comparison, Estimate, Evaluation, Slice
from millrace.model.promote import Decision
from millrace.report.distributions import Bar, Distribution
from millrace.report.facts import (
    Change,
    ColumnFacts,
    EvaluationFacts,
    FeatureFacts,
    ModelFacts,
    Night,
    Past,
    Reason,
    ReportFacts,
    SampleFacts,
    ScoringFacts,
    StageFacts,
    TableFacts,
)

HOSTILE = "<script>alert(1)</script>"


def drifted(column: str, effect: float, moved: bool = False, role: str = "covariate") -> ColumnDrift:
    return ColumnDrift.model_validate(
        {
            "column": column,
            "role": role,
            "bins": 3,
            "psi": effect + 0.001,
            "jensen_shannon": 0.05,
            "l_infinity": 0.2,
            "ks": None,
            "ks_p_value": None,
            "p_value": 0.001,
            "adjusted_p_value": 0.002,
            "chance": 0.01,
            "effect": effect,
            "least_effect": 0.1,
            "drifted": moved,
            "reason": f"PSI {effect} of {column}",
        }
    )


def estimate(value: float | None, margin: float = 0.01) -> Estimate:
    """A figure with an interval of `margin` to both sides."""
    low, high = (None, None) if value is None else (round(value - margin, 6), round(value + margin, 6))
    return Estimate(value=value, low=low, high=high)


def judged(value: float, slices: Sequence[Slice] = ()) -> Evaluation:
    bins = [(0.001, 0.0, 500), (0.01, 0.012, 500), (0.4, 0.38, 500)]
    return Evaluation(
        rows=1188, positives=36, prior=36 / 1188, threshold=0.3, confidence=0.95,
        metrics={"roc_auc": estimate(value), "log_loss": estimate(0.05)},
        baseline={"roc_auc": 0.5, "log_loss": 0.09},
        roc=[(0.0, 0.0), (0.1, 0.8), (1.0, 1.0)],
        precision_recall=[(0.0, 0.9), (0.7, 0.6), (1.0, 0.02)],
        calibration=[Bin(predicted=p, observed=o, rows=rows, weight=rows) for p, o, rows in bins],
        slices=list(slices),
    )  # fmt: skip


def a_slice(value: str | None, rows: int, positives: int, figure: Estimate) -> Slice:
    return Slice(column="country", value=value, rows=rows, positives=positives, metric="roc_auc", estimate=figure)


@pytest.fixture
def facts() -> ReportFacts:
    """A run whose country drifted, with a stratified sample and a candidate that beat its champion."""
    outcome = {
        "rule": "fare_range",
        "expect": "column_values_to_be_between",
        "columns": ["fare"],
        "severity": "warn",
        "arguments": {"column": "fare", "min_value": 0},
        "success": False,
        "result": {"element_count": 1200, "unexpected_count": 12, "unexpected_percent": 1.0,
                   "partial_unexpected_list": [HOSTILE], "partial_unexpected_counts": []},
    }  # fmt: skip
    country = Distribution(
        "country",
        False,
        [Bar(HOSTILE, {"before": 0.6, "recent": 0.2}), Bar("SE", {"before": 0.4, "recent": 0.7})],
        {"before": 1000, "recent": 1200},
        {"before": 0.0, "recent": 0.1},
    )
    fare = Distribution(
        "fare",
        True,
        [
            Bar("below 5", {"before": 0.5, "recent": 0.4}, 0, 5),
            Bar("5 and above", {"before": 0.5, "recent": 0.6}, 5, 9),
        ],
        {"before": 1000, "recent": 1200},
        {"before": 0.0, "recent": 0.0},
    )
    sides = {"population": 0.98, "drawn": 0.6, "weighted": 0.98}
    label = Distribution(
        "paid",
        False,
        [Bar("0", sides), Bar("1", {side: 1 - share for side, share in sides.items()})],
        {"population": 2000, "drawn": 100, "weighted": 2000},
        dict.fromkeys(sides, 0.0),
    )
    strata = [Stratum(values=["0"], rows=1960, take=60), Stratum(values=["1"], rows=40, take=40)]
    return ReportFacts(
        pipeline="rides",
        date="2026-01-02",
        window=["2026-01-01", "2026-01-02"],
        nights=[
            Night("2026-01-01", 1_010_000, 4, 1_009_000, 1000, 1_008_990, 100, 1_008_990, "teaches", 0.02),
            Night("2026-01-02", 1200, 0, 1188, 12, 1188, 0, None, "judges", 0.03),
        ],
        stages=[StageFacts("clean", 3, "2026-01-03 02:00 UTC", "2026-01-02", 1200, 1188, {"fare:range": 12})],
        reasons=[Reason("fare", "range", 1012, "at least 0", HOSTILE), Reason(None, "ragged", 4)],
        changes=[Change("city", "trim", 77)],
        verdict=Verdict(rows=1200, outcomes=[Outcome.model_validate(outcome)]),
        checks_page="<html><body>Data Docs</body></html>",
        label="paid",
        drift=DriftVerdict(
            columns=[drifted("country", 0.31, True), drifted("fare", 0.02), drifted("paid", 0.01, role="label")],
            drifted=True,
            share=1 / 3,
            words="shifted",
            shift="covariate",
            reason="1 of 3 columns drifted: country",
            reference_rows=1000,
            recent_rows=1200,
            reference_intervals=1,
            recent_intervals=1,
        ),
        columns=[ColumnFacts(HOSTILE, "string", "categorical", 0.1, 0.0, 1234, "a", None, "z")],
        distributions=[country, fare],
        sample=SampleFacts(
            SamplePlan(
                method="stratified", by="paid", seed=1, population=2000, rows=100, strata=strata, why=["so asked"],
            ),
            100,
            ["2026-01-01"],
            "2026-01-02 alone",
            [label],
        ),
        evaluation=EvaluationFacts(
            metric="roc_auc",
            version=8,
            candidate=judged(
                0.91, [a_slice(HOSTILE, 600, 20, estimate(0.7, 0.1)), a_slice(None, 3, 0, estimate(None))]
            ),
            champion_version=7,
            champion=judged(0.88),
            decision=Decision(promote=True, reason="roc_auc 0.91 against the champion's 0.88", figures={}),
            comparison=Comparison(metric="roc_auc", champion=0.88, candidate=0.91, difference=0.03, low=0.01, high=0.05,
                                  margin=0.0, confidence=0.9, probability=0.99),
            scores=[1000, 150, 30, 8],
        ),
        scoring=ScoringFacts(1188, 0.0304, [8], [1000, 150, 30, 8], "tables/rides/scores"),
        history=[
            Past("2026-01-01", 7, estimate(0.88), True),
            Past("2026-01-02", 8, estimate(0.91), True),
        ],
        models=[
            ModelFacts(
                8, "logistic_regression", "2026-01-02", ["champion"], 100, {"C": "1.0"},
                [FeatureFacts("fare", "fare", "number"), FeatureFacts("country", "country", "one-hot category", 2)],
                compression=CompressionReport(
                    method="additive tables", accepted=True, reason="loses 0", metric="roc_auc", tolerance=0.001,
                    loss=0.0, largest_difference=0.0, rows=500, size_before=33_000, size_after=2500,
                    seconds_before=0.02, seconds_after=0.001,
                ),
            )
        ],
        tables=[TableFacts("clean", 3, 1_010_188, 2, "2026-01-02", "tables/rides/clean")],
    )  # fmt: skip
