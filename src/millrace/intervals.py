"""Data intervals: the hour, day or month that a row belongs to, by name.

An interval is named by its start, so that names sort in time: ``2018-04-01T05`` (hourly), ``2018-04-01`` (daily),
``2018-04`` (monthly), ``all`` (no interval). Times are UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from millrace.errors import RequestError
from millrace.spec import Interval

ALL = "all"
UNKNOWN = "unknown"  # rows whose time is missing: they are quarantined, never kept
FORMATS: dict[Interval, str] = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "monthly": "%Y-%m"}
STEPS: dict[Interval, timedelta] = {"hourly": timedelta(hours=1), "daily": timedelta(days=1)}
PATTERNS = {"%Y": r"(\d{4})", "%m": r"(\d{2})", "%d": r"(\d{2})", "%H": r"(\d{2})", "%M": r"(\d{2})", "%S": r"(\d{2})"}


def interval_name(moment: datetime, kind: Interval) -> str:
    """The name of the interval that holds `moment`.

    >>> interval_name(datetime(2018, 4, 1, 5, 30), "daily")
    '2018-04-01'
    """
    return ALL if kind == "none" else moment.strftime(FORMATS[kind])


def interval_start(name: str, kind: Interval) -> datetime:
    """The first moment of an interval.

    >>> interval_start("2018-04", "monthly")
    datetime.datetime(2018, 4, 1, 0, 0)
    """
    if kind == "none":
        return datetime(1970, 1, 1)
    try:
        return datetime.strptime(name, FORMATS[kind])
    except ValueError:
        raise RequestError(
            "not an interval",
            expected=f"a {kind} interval such as {datetime(2026, 1, 31).strftime(FORMATS[kind])}",
            found=repr(name),
        ) from None


def previous(name: str, kind: Interval, count: int = 1) -> str:
    """The interval `count` steps before (after, where negative).

    >>> previous("2018-03", "monthly", 3), previous("2018-04-01", "daily")
    ('2017-12', '2018-03-31')
    """
    start = interval_start(name, kind)
    if kind == "none":
        return ALL
    if kind == "monthly":
        months = start.year * 12 + start.month - 1 - count
        return interval_name(datetime(months // 12, months % 12 + 1, 1), kind)
    return interval_name(start - count * STEPS[kind], kind)


def window(last: str, kind: Interval, length: timedelta) -> list[str]:
    """Names of all intervals in the window of `length` that ends with interval `last`, oldest first.

    A month counts as 30 days, so that 60d is two months.

    >>> window("2018-04-02", "daily", timedelta(days=3))
    ['2018-03-31', '2018-04-01', '2018-04-02']
    >>> window("2018-04", "monthly", timedelta(days=60))
    ['2018-03', '2018-04']
    """
    if kind == "none":
        return [ALL]
    step = STEPS.get(kind, timedelta(days=30))
    return [previous(last, kind, back) for back in reversed(range(max(1, round(length / step))))]


def file_interval(path: str, pattern: str, kind: Interval) -> str | None:
    """The interval named by the date in a file's name, None where there is no such date.

    >>> file_interval("data/clicks-2026-01-05.csv.gz", "%Y-%m-%d", "daily")
    '2026-01-05'
    """
    directives = re.findall(r"%[YmdHMS]", pattern)
    expression = re.escape(pattern)
    for directive in set(directives):
        expression = expression.replace(re.escape(directive), PATTERNS[directive])
    found = re.search(expression, PurePosixPath(path).name)
    if not found:
        return None
    try:
        moment = datetime.strptime(" ".join(found.groups()), " ".join(directives))
    except ValueError:
        return None
    return interval_name(moment, kind)


def newest(names: Iterable[str], kind: Interval) -> str:
    """The newest interval that isn't after tomorrow: one mistyped year must not move the window. ``unknown`` isn't one.

    Where all of them lie in the future, the newest of them. Raises ValueError where there is none.

    >>> newest(["2026-01-05", "9999-12-31", "unknown"], "daily")
    '2026-01-05'
    """
    known = [name for name in names if name != UNKNOWN]
    tomorrow = interval_name(now() + timedelta(days=1), kind)
    return max([name for name in known if name <= tomorrow] or known)


def now() -> datetime:
    """The present moment, for default dates of a request only: no stage may call this."""
    return datetime.now(UTC).replace(tzinfo=None)
