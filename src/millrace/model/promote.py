"""Promotion: a candidate's evaluation, and its comparison with the champion, in; the decision with its reason out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from millrace.model.evaluate import Comparison, Evaluation
from millrace.model.metrics import LOWER_IS_BETTER
from millrace.spec import Promote


class Decision(BaseModel):
    """Promote or not, why in words, and the figures behind it. `awaits_approval`: it may, once somebody says yes."""

    model_config = ConfigDict(frozen=True)

    promote: bool
    awaits_approval: bool = False
    reason: str
    figures: dict[str, float]


def decide(candidate: Evaluation, rule: Promote, comparison: Comparison | None = None) -> Decision:
    """Decide whether the candidate becomes champion.

    Without a champion (`comparison` None) it must beat the model that gives everybody the same probability: its
    interval must lie wholly on the better side of the trivial value. Else it must beat the champion on the same
    holdout by more than `rule.margin` with `rule.confidence`. With `approval: human` a passed gate awaits approval.
    """
    if comparison is None:
        passed, reason, figures = _against_nothing(candidate, rule)
    else:
        passed, reason, figures = _against_champion(comparison)
    if passed and rule.approval == "human":
        return Decision(promote=False, awaits_approval=True, reason=f"{reason}; awaits approval", figures=figures)
    return Decision(promote=passed, reason=reason, figures=figures)


def taught_later(champion: str | None, candidate: str) -> str | None:
    """Why a candidate of an earlier interval than the champion's isn't promoted by itself; None where it isn't earlier.

    A backfill is judged on the holdout of its own, older night: winning there says nothing about the nights since.

    >>> taught_later("2026-01-12", "2026-01-11")
    'the champion was taught until 2026-01-12, this candidate until 2026-01-11: only --approve makes it champion'
    >>> taught_later("2026-01-12", "2026-01-12"), taught_later(None, "2026-01-12")
    (None, None)
    """
    if champion is None or champion <= candidate:  # names of intervals sort in time
        return None
    return (
        f"the champion was taught until {champion}, this candidate until {candidate}: only --approve makes it champion"
    )


def _against_nothing(candidate: Evaluation, rule: Promote) -> tuple[bool, str, dict[str, float]]:
    metric = rule.metric
    estimate, trivial = candidate.metrics[metric], candidate.baseline[metric] or 0.0
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return False, f"{metric} isn't defined on the holdout", {}
    figures = {"candidate": estimate.value, "low": estimate.low, "high": estimate.high, "trivial": trivial}
    text = f"{metric} {estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"
    passed = estimate.high < trivial if metric in LOWER_IS_BETTER else estimate.low > trivial
    verb = "is better than" if passed else "isn't clearly better than"
    return passed, f"no champion yet; {text} {verb} {trivial:.4f} of the same probability for everybody", figures


def _against_champion(comparison: Comparison) -> tuple[bool, str, dict[str, float]]:
    figures = {
        "champion": comparison.champion or 0.0,
        "candidate": comparison.candidate or 0.0,
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "margin": comparison.margin,
        "probability": comparison.probability,
    }
    text = (
        f"{comparison.metric} {figures['candidate']:.4f} against the champion's {figures['champion']:.4f} on the same "
        f"holdout: better by {comparison.difference:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}], "
        f"beyond the margin {comparison.margin:g} with probability {comparison.probability:.3f}"
    )
    verb = "which passes" if comparison.better else "which doesn't reach"
    return comparison.better, f"{text}, {verb} {comparison.confidence:g}", figures
