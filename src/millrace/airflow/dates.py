"""Which data interval a DAG run works on: its moments go in, the interval's name comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from millrace.spec import Interval


def run_date(end: datetime, kind: Interval, asked: str | None = None) -> str:
    """The interval that a run works on: the one asked for, or the last whole one that ended by `end`.

    Raises RequestError where `asked` is no interval of this kind.

    >>> run_date(datetime(2018, 4, 2, 2), "daily"), run_date(datetime(2018, 4, 2, 2), "daily", "2018-03-01")
    ('2018-04-01', '2018-03-01')
    """
    from millrace.intervals import interval_name, interval_start, previous

    if asked:
        interval_start(asked, kind)
        return asked
    naive = end.astimezone(UTC).replace(tzinfo=None) if end.tzinfo else end
    return previous(interval_name(naive, kind), kind)


def context_date(context: dict[str, Any], kind: Interval) -> str:
    """The interval of a task's DAG run: the form's `date`, else by the moment that the run stands for.

    That is the end of the data interval of a scheduled or backfill run, and the logical date of a triggered one (by
    default, when it was triggered). It is fixed with the run, so a retry works on the same interval.
    """
    run = context["dag_run"]
    moment = run.logical_date if run.run_type == "manual" else run.data_interval_end
    return run_date(moment or run.run_after, kind, context["params"].get("date"))
