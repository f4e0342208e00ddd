from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from millrace.errors import GateClosed
from millrace.model.evaluate import Evaluation, Settings, compare, evaluate
from millrace.model.metrics import METRICS, Ranked, f1_threshold, poisson_counts
from millrace.spec import Promote

ROW = st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(1, 5))


def reference(metric: str, y: np.ndarray, p: np.ndarray, w: np.ndarray, threshold: float) -> float:
    return float(
        {
            "roc_auc": lambda: sk.roc_auc_score(y, p, sample_weight=w),
            "average_precision": lambda: sk.average_precision_score(y, p, sample_weight=w),
            "log_loss": lambda: sk.log_loss(y, p, sample_weight=w),
            "brier": lambda: sk.brier_score_loss(y, p, sample_weight=w),
            "accuracy": lambda: sk.accuracy_score(y, p >= 0.5, sample_weight=w),
            "f1": lambda: sk.f1_score(y, p >= threshold, sample_weight=w),
        }[metric]()
    )


@given(st.lists(ROW, min_size=2, max_size=40).filter(lambda rows: len({y for y, _, _ in rows}) == 2))
@settings(max_examples=60, deadline=None)
def test_metrics_equal_sklearns_with_weights_and_ties(rows: list[tuple[int, int, int]]) -> None:
    y, score, w = (np.array(column) for column in zip(*rows, strict=True))
    p, w = 0.05 + score / 10, w.astype(float)
    ranked = Ranked.of(y, p, 0.4)
    for metric in METRICS:
        value = ranked.values(metric, w[ranked.order][None, :])[0]
        assert value == pytest.approx(reference(metric, y, p, w, 0.4), abs=1e-12), metric


def test_weight_2_is_the_same_as_the_row_twice() -> None:
    y, p = np.array([1, 0, 1, 0]), np.array([0.8, 0.7, 0.6, 0.1])
    once = evaluate(y, p, np.array([2.0, 1, 1, 1]), settings=Settings(replicates=2))
    twice = evaluate(np.append(y, 1), np.append(p, 0.8), settings=Settings(replicates=2))
    assert {m: e.value for m, e in once.metrics.items()} == pytest.approx(
        {m: e.value for m, e in twice.metrics.items()}
    )
    assert once.prior == twice.prior


def test_a_worked_example() -> None:
    found = evaluate(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))
    assert found.value("roc_auc") == 0.75
    assert found.value("average_precision") == pytest.approx((1 + 2 / 3) / 2)
    assert found.value("accuracy") == 0.75
    assert (found.threshold, found.value("f1")) == (0.7, pytest.approx(0.8))
    assert found.roc == [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
    assert found.baseline["brier"] == 0.25
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_f1_threshold_is_the_best_one_where_probabilities_are_true() -> None:
    draw = np.random.default_rng(0)
    p = draw.beta(1, 6, 50_000)
    y = draw.random(50_000) < p
    best = max(sk.f1_score(y, p >= t) for t in np.linspace(0.05, 0.6, 56))
    assert sk.f1_score(y, p >= f1_threshold(p, np.ones(50_000))) > best - 0.005


def test_poisson_counts_are_poisson_and_repeatable() -> None:
    counts = np.concatenate(list(poisson_counts(100_000, 50, 1)))
    assert counts.shape == (50, 100_000)
    assert counts.mean() == pytest.approx(1, abs=2e-3)
    assert counts.var() == pytest.approx(1, abs=5e-3)
    assert (np.concatenate(list(poisson_counts(100_000, 50, 1))) == counts).all()


def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    """AUC of N(1, 1) against N(0, 1) is Φ(1/√2) = 0.7602; 90 % intervals over 200 draws of 400 rows."""
    held = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        y = draw.integers(0, 2, 400)
        p = 1 / (1 + np.exp(-draw.normal(y, 1)))
        ranked = evaluate(y, p, settings=Settings(replicates=100, seed=seed, confidence=0.9)).metrics["roc_auc"]
        assert ranked.low is not None
        assert ranked.high is not None
        held += ranked.low <= 0.7602 <= ranked.high
    assert 0.83 <= held / 200 <= 0.96


def test_slices_show_where_a_model_is_blind() -> None:
    draw = np.random.default_rng(0)
    y, kind = draw.integers(0, 2, 3000), draw.integers(0, 2, 3000)
    p = np.where(kind == 0, 0.2 + 0.6 * y, 0.5)
    names = [["seen", "blind"][value] for value in kind]
    found = evaluate(y, p, slices={"kind": names}, settings=Settings(replicates=50)).slices
    assert {entry.value: entry.estimate.value for entry in found} == {"seen": 1.0, "blind": 0.5}
    assert sum(entry.rows for entry in found) == 3000


def test_a_slice_with_one_class_has_no_value() -> None:
    found = evaluate(np.array([1, 0, 1, 1]), np.array([0.9, 0.1, 0.5, 0.4]), slices={"k": ["a", "a", None, None]})
    assert [(s.value, s.rows, s.estimate.value) for s in found.slices] == [("a", 2, 1.0), (None, 2, None)]


def test_calibration_bins_hold_all_rows_and_find_overconfidence() -> None:
    draw = np.random.default_rng(0)
    true = draw.random(20_000)
    y = (draw.random(20_000) < true).astype(int)
    found = evaluate(y, true, settings=Settings(replicates=2)).calibration
    assert sum(entry.rows for entry in found) == 20_000
    assert max(abs(entry.predicted - entry.observed) for entry in found) < 0.04
    assert [entry.predicted for entry in found] == sorted(entry.predicted for entry in found)


@pytest.mark.parametrize("y", [[], [0, 0], [1, 1]])
def test_a_holdout_without_both_classes_closes_the_gate(y: list[int]) -> None:
    with pytest.raises(GateClosed, match="holdout"):
        evaluate(np.array(y, int), np.full(len(y), 0.5))


def test_scores_that_arent_numbers_close_the_gate() -> None:
    with pytest.raises(GateClosed, match="aren't all numbers"):
        evaluate(np.array([0, 1]), np.array([np.nan, 0.5]))


def test_a_paired_comparison_sees_a_small_difference_that_intervals_apart_dont() -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 4000)
    signal = draw.normal(y, 1)
    champion = 1 / (1 + np.exp(-(signal + draw.normal(0, 0.3, 4000))))
    candidate = 1 / (1 + np.exp(-signal))
    result = compare(champion, candidate, y, Promote())
    assert result.better
    assert result.probability > 0.99
    apart = [evaluate(y, score).metrics["roc_auc"] for score in (champion, candidate)]
    assert (apart[0].high or 0) > (apart[1].low or 0)  # unpaired intervals overlap


def test_noise_isnt_better_and_neither_is_the_same_model() -> None:
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 2000)
    p = 1 / (1 + np.exp(-draw.normal(y, 1)))
    assert not compare(p, p, y, Promote()).better
    assert not compare(p, np.clip(p + draw.normal(0, 0.02, 2000), 0, 1), y, Promote()).better
    assert not compare(p, np.where(y == 1, 0.9, 0.1), y, Promote(margin=0.3)).better


def test_a_lower_log_loss_is_better() -> None:
    y = np.array([0, 1] * 100)
    sharp, vague = np.where(y == 1, 0.9, 0.1), np.where(y == 1, 0.6, 0.4)
    assert compare(vague, sharp, y, Promote(metric="log_loss")).difference == pytest.approx(np.log(0.9 / 0.6))
    assert not compare(sharp, vague, y, Promote(metric="brier")).better


def test_200_replicates_of_200_000_rows_take_seconds() -> None:
    draw = np.random.default_rng(0)
    y = (draw.random(200_000) < 0.02).astype(int)
    p = draw.random(200_000)
    start = time.process_time()
    evaluate(y, p)
    assert time.process_time() - start < 15
