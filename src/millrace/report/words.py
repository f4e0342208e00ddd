"""Figures and names as people read them."""

from __future__ import annotations

from collections.abc import Sequence

METRICS = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "accuracy": "accuracy",
    "f1": "F1",
}
LOWER_IS_BETTER = {"log_loss", "brier"}


def count(number: float | None) -> str:
    """A count with thousands separators; a dash where there is none.

    >>> count(1234567), count(None)
    ('1,234,567', '–')
    """
    return "–" if number is None else f"{number:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 as a percentage; small ones keep two significant digits.

    >>> percent(0.1234), percent(0.00082), percent(0.0), percent(1.0)
    ('12.3%', '0.082%', '0%', '100%')
    """
    if share is None:
        return "–"
    share = round(share, 12)
    if share in (0, 1):
        return f"{share * 100:.0f}%"
    if abs(share) < 0.01:
        return f"{float(f'{share * 100:.2g}'):.10g}%"
    return f"{share * 100:.{digits}f}%"


def figure(value: float | None, digits: int = 4) -> str:
    """A metric.

    >>> figure(0.897367), figure(None)
    ('0.8974', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def number(value: float | None) -> str:
    """Any number, to four significant digits, with thousands separators.

    >>> number(12345.678), number(0.00012346), number(2.0)
    ('12,346', '0.0001235', '2')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def size(octets: float) -> str:
    """Bytes.

    >>> size(2466), size(5_000_000)
    ('2.5 kB', '5.0 MB')
    """
    if octets < 1000:
        return f"{octets:.0f} bytes"
    return f"{octets / 1000:,.1f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:,.1f} MB"


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.0007992), seconds(1.25)
    ('0.80 ms', '1.25 s')
    """
    return f"{value * 1000:.2f} ms" if value < 1 else f"{value:.2f} s"


def several(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> several(1, "row"), several(1200, "row"), several(0, "category", "categories")
    ('1 row', '1,200 rows', 'no categories')
    """
    noun = one if number == 1 else many or f"{one}s"
    return f"{number:,} {noun}" if number else f"no {noun}"


def listed(names: Sequence[str], limit: int = 4) -> str:
    """Names in one text, the first few where there are many.

    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], limit=2)
    ('a, b and c', 'a, b and 1 more')
    """
    shown = list(names[:limit])
    if len(names) > limit:
        return f"{', '.join(shown)} and {len(names) - limit:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def metric(name: str) -> str:
    """A metric's usual name."""
    return METRICS.get(name, name)
