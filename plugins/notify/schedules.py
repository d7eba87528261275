"""A DAG's schedule, from the Variable that an admin edits.

Read when the DAG file is parsed. A value that is no schedule must not make the DAG vanish: it keeps its default and
says so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from notify import settings
from notify.checks import ids
from notify.domain.schedule import Schedule, moments, parse_schedule
from notify.exceptions import ConfigurationError, InvalidSchedule

if TYPE_CHECKING:
    from airflow.sdk.bases.timetable import BaseTimetable

log = logging.getLogger(__name__)

#: On a DAG whose schedule Variable cannot be used.
INVALID_SCHEDULE = "invalid-schedule"

#: On a DAG whose list of senders cannot be used.
INVALID_SENDERS = "invalid-senders"

TAG = "notify"

#: The DAGs that come by themselves, in the order of a message's way: the Variable of each, and its default.
SCHEDULED: Mapping[str, tuple[str, str]] = {
    "Notifications": ("notify_schedule_notifications", "*/3 * * * *"),
    "UserNotifications": ("notify_schedule_user_notifications", "0 * * * *"),
    "Reminders": ("notify_schedule_reminders", "*/15 * * * *"),
    "MassMailing": ("notify_schedule_mass_mailing", "*/5 * * * *"),
    "DeliveryReports": ("notify_schedule_delivery_reports", "*/10 * * * *"),
    "Housekeeping": ("notify_schedule_housekeeping", "30 2 * * *"),
}


@dataclass(frozen=True, slots=True)
class DagSettings:
    """What a DAG file needs from the Variables.

    :param schedule: the timetable; the default one where the Variable's value cannot be used
    :param tags: the DAG's tags, with one for each Variable that cannot be used
    :param notes: the same in sentences, Markdown, for the DAG's documentation; or empty
    """

    schedule: BaseTimetable
    tags: tuple[str, ...]
    notes: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """The schedule of a DAG that is in force, whatever stands in the Variables.

    :param text: as an admin writes it
    :param zone: of a cron expression
    :param notes: what is wrong with a Variable, in sentences, Markdown; empty where all is well
    """

    text: str
    schedule: Schedule
    zone: str
    notes: tuple[str, ...] = ()

    def moments(self, after: datetime) -> Iterator[datetime]:
        """When it comes, one moment after the other."""
        return moments(self.schedule, ZoneInfo(self.zone), after)


def in_force(variable: str, default: str) -> InForce:
    """Read a schedule from its Variable; what cannot be used gives way to its default, and is told.

    :param variable: name of the Variable
    :param default: the schedule that applies where there is none, or none that can be used
    """
    notes = []
    zone = settings.variable("notify_timezone", settings.DEFAULT_TIMEZONE)
    if zone not in available_timezones():
        notes.append(f"The Variable `notify_timezone` is `{zone}`, which is no time zone; UTC applies.")
        zone = settings.DEFAULT_TIMEZONE
    text = settings.variable(variable, default)
    try:
        schedule = parse_schedule(text)
    except InvalidSchedule as error:
        log.warning("%s: Variable %s: %s The default %s applies.", ids.SCHEDULE, variable, error, default)
        notes.append(f"The Variable `{variable}` cannot be used: {_plain(error)} The default `{default}` applies.")
        text, schedule = default, parse_schedule(default)
    return InForce(text, schedule, zone, tuple(notes))


def dag_settings(variable: str, default: str) -> DagSettings:
    """Read a DAG's schedule, for its file.

    :param variable: name of the Variable
    :param default: the schedule that applies where there is none, or none that can be used
    """
    found = in_force(variable, default)
    tags = (TAG, INVALID_SCHEDULE) if found.notes else (TAG,)
    return DagSettings(timetable(found.schedule, found.zone), tags, _warning(found.notes))


def known_senders() -> tuple[tuple[str, ...], str]:
    """The senders for a DAG file.

    :returns: the senders, the default one where the Variable cannot be used; and a note in that case, or empty
    """
    try:
        return settings.senders(), ""
    except ConfigurationError as error:
        log.warning("%s: %s", ids.SENDERS, error)
        return settings.DEFAULT_SENDERS, _warning([f"{_plain(error)} Until then only `smtp_default` is served."])


def timetable(schedule: Schedule, zone: str) -> BaseTimetable:
    """What Airflow runs a DAG by.

    :param zone: of a cron expression
    """
    from airflow.sdk import CronTriggerTimetable, DeltaTriggerTimetable

    if schedule.every is not None:
        return DeltaTriggerTimetable(schedule.every)
    assert schedule.cron is not None
    # Airflow 3.3 takes run_immediately=False for "if the last time has just passed", against its own words (2026-11).
    return CronTriggerTimetable(schedule.cron, timezone=zone, run_immediately=timedelta(0))


def _plain(error: Exception) -> str:
    """An error's text in Markdown: the asterisks of a cron expression are no emphasis."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", str(error))


def _warning(notes: Iterable[str]) -> str:
    return "".join(f"\n\n**⚠** {note}" for note in notes)
