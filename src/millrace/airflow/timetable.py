"""The schedule of training: Airflow's cron intervals, which begin to count when the pipeline file was written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable


class PipelineTimetable(CronDataIntervalTimetable):
    """Runs at cron times (UTC), each for the data that came in since the one before; never on its own for data that
    came in before `not_before`.

    A DAG that is switched on so waits for the next night, where Airflow's own timetable would begin with last night's
    data, which may be far from the data that there are. A start date of the DAG does the same, but then a run that
    somebody triggers for an earlier logical date succeeds without any task. Backfills may go back as far as they like.
    """

    def __init__(self, cron: str, not_before: datetime | None = None) -> None:
        super().__init__(cron, "UTC")
        self.not_before = not_before

    def serialize(self) -> dict[str, Any]:
        """The cron expression and the beginning, as JSON."""
        return {"cron": self._expression, "not_before": self.not_before.isoformat() if self.not_before else None}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PipelineTimetable:
        """The inverse of `serialize`."""
        text = data["not_before"]
        return cls(data["cron"], datetime.fromisoformat(text) if text else None)

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next run of the schedule; `catchup` stands for a backfill, which isn't held back."""
        if self.not_before is not None and not restriction.catchup:
            earliest = max(filter(None, [restriction.earliest, self.not_before]))
            restriction = restriction._replace(earliest=earliest)
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
