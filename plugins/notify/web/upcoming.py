"""When a DAG runs next, by the very timetable that Airflow gets for it: what is shown is what will happen."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk.timezone import coerce_datetime
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DataInterval, TimeRestriction

from notify.schedules import InForce, timetable
from notify.web.pages.layout import lasting

#: Runs that are shown.
SHOWN = 5


def next_runs(found: InForce, last: datetime | None, count: int = SHOWN) -> list[datetime]:
    """The next runs of a DAG of ours, as its scheduler counts them.

    :param found: its schedule
    :param last: its last run by the clock, which Airflow counts on from; a first moment that has passed is made up for
    """
    counting = coerce_to_core_timetable(timetable(found.schedule, found.zone))
    without_end = TimeRestriction(earliest=None, latest=None, catchup=False)
    interval = None if last is None else DataInterval.exact(coerce_datetime(last))
    runs: list[datetime] = []
    while len(runs) < count:
        run = counting.next_dagrun_info(last_automated_data_interval=interval, restriction=without_end)
        if run is None:
            break
        interval = run.data_interval
        runs.append(run.run_after)
    return runs


def as_kept(found: InForce) -> str:
    """A schedule as :class:`notify.web.airflow.DagState` has it."""
    kept = coerce_to_core_timetable(timetable(found.schedule, found.zone))
    return kept.description or kept.summary


def in_words(found: InForce) -> str:
    """A schedule in words."""
    if found.schedule.every is not None:
        return f"Every {lasting(found.schedule.every)}, counted from the run before"
    return coerce_to_core_timetable(timetable(found.schedule, found.zone)).description
