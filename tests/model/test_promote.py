from __future__ import annotations

import numpy as np

from millrace.model.evaluate import compare, evaluate
from millrace.model.promote import decide
from millrace.spec import Promote

Y = np.array([0, 1] * 200)
GOOD = np.where(Y == 1, 0.9, 0.1)
WEAK = np.where(np.arange(400) % 7 < 3, 0.5, GOOD)
BLIND = np.full(400, 0.5)


def test_the_first_candidate_must_beat_the_same_probability_for_everybody() -> None:
    assert decide(evaluate(Y, GOOD), Promote()).promote
    refused = decide(evaluate(Y, BLIND), Promote())
    assert not refused.promote
    assert "isn't clearly better than 0.5000" in refused.reason


def test_the_first_candidate_by_a_metric_that_should_be_low() -> None:
    assert decide(evaluate(Y, GOOD), Promote(metric="log_loss")).promote
    assert not decide(evaluate(Y, 1 - GOOD), Promote(metric="log_loss")).promote


def test_a_champion_is_replaced_only_past_the_margin() -> None:
    close, wide = Promote(margin=0.0), Promote(margin=0.5)
    assert decide(evaluate(Y, GOOD), close, compare(WEAK, GOOD, Y, close)).promote
    refused = decide(evaluate(Y, GOOD), wide, compare(WEAK, GOOD, Y, wide))
    assert not refused.promote
    assert "doesn't reach" in refused.reason
    assert refused.figures["candidate"] == 1.0


def test_a_person_approves_what_passed() -> None:
    waiting = decide(evaluate(Y, GOOD), Promote(approval="human"))
    assert (waiting.promote, waiting.awaits_approval) == (False, True)
    assert not decide(evaluate(Y, BLIND), Promote(approval="human")).awaits_approval
