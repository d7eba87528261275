"""What an admin may write into a schedule Variable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from pydantic import TypeAdapter, ValidationError

from notify.exceptions import InvalidSchedule

#: Airflow's presets that name a time; ``@once`` and ``@continuous`` make no sense for a queue.
PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}

#: Airflow starts runs once a minute at best in practice; shorter would only pile up runs.
SHORTEST = timedelta(minutes=1)
LONGEST = timedelta(days=366)

#: A cron expression lists each time at most once; to read one that lists them over and over takes ever longer.
MOST_CHARACTERS = 500

_DURATION = TypeAdapter(timedelta)

#: croniter's H and R stand for a time by hash or at random, another one each time that it is asked.
_HASHED = re.compile(r"(?<![a-z])[hr](?![a-z])", re.IGNORECASE)

#: Where the search for a first time begins; it covers half a century, so that any day will do.
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A valid schedule: one of the two is set.

    :param cron: five-field cron expression
    :param every: time from one run to the next
    """

    cron: str | None = None
    every: timedelta | None = None


def parse_schedule(text: str) -> Schedule:
    """Read a cron expression, an Airflow preset or an ISO 8601 duration.

    :param text: e.g. ``*/3 * * * *``, ``@hourly``, ``PT3M``
    :raises InvalidSchedule: it is none of these, a time that never comes (``0 0 31 2 *``: Airflow would fail at its
        next run, and the scheduler with it), or a duration outside one minute to one year
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidSchedule(f"A text of {len(text):,} characters is no schedule; one has at most {MOST_CHARACTERS}.")
    expression = " ".join(text.split())
    if expression.startswith("@"):
        return Schedule(cron=_preset(expression))
    if expression.upper().startswith("P"):
        return Schedule(every=_duration(expression))
    if expression.isascii() and expression.count(" ") == 4 and croniter.is_valid(expression):
        return Schedule(cron=_coming(expression))
    raise InvalidSchedule(
        f"{text!r} is no schedule. Write a cron expression of five fields (*/3 * * * *), "
        f"a preset ({', '.join(PRESETS)}) or an ISO 8601 duration (PT3M)."
    )


def _coming(expression: str) -> str:
    if _HASHED.search(expression):
        raise InvalidSchedule(f"{expression!r} has an H or R, which Airflow cannot use. Write the time itself.")
    try:
        croniter(expression, _SOME_DAY).get_next(datetime)
    except CroniterError:
        raise InvalidSchedule(f"{expression!r} never comes. Check its day and month.") from None
    return expression


def _preset(expression: str) -> str:
    try:
        return PRESETS[expression.lower()]
    except KeyError:
        raise InvalidSchedule(
            f"{expression!r} is no preset that can be used here. Write one of {', '.join(PRESETS)}."
        ) from None


def _duration(expression: str) -> timedelta:
    try:
        every = _DURATION.validate_strings(expression.upper())
    except ValidationError:
        raise InvalidSchedule(
            f"{expression!r} is no ISO 8601 duration. Write, for example, PT3M for three minutes or P1D for a day."
        ) from None
    if not SHORTEST <= every <= LONGEST:
        raise InvalidSchedule(f"{expression!r} is out of range: between PT1M (one minute) and P366D.")
    return every


def moments(schedule: Schedule, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The moments of a schedule, one after the other, in UTC.

    :param zone: of a cron expression
    :param after: the first one comes after it; a schedule that says only how often counts from there
    """
    if schedule.every is not None:
        while True:
            after += schedule.every
            yield after.astimezone(UTC)
    clock = croniter(schedule.cron, after.astimezone(zone))
    while True:
        yield clock.get_next(datetime).astimezone(UTC)
