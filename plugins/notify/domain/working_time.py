"""Delays in working time: which days are worked, from when to when, and where a delay ends.

A beginning or end of work that the clock leaves out is when the clock is changed; one that it shows twice, the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from notify.domain.due import instant
from notify.domain.faults import first_of
from notify.domain.preference import Weekday
from notify.exceptions import ConfigurationError

#: What a calendar has that says nothing else.
WORKING_WEEK = frozenset({1, 2, 3, 4, 5})
WORK_BEGINS = time(9)
WORK_ENDS = time(17)

_DAY = timedelta(days=1)

#: So many days in a row are searched for one that is worked.
_SEARCHED = 366

#: Clocks that agree at both agree all the year, but for days around a change.
_SUMMER_AND_WINTER = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class WorkingCalendar:
    """When is worked somewhere.

    :param name: as deadlines name it
    :param zone: whose clock the hours are on
    :param weekdays: 1 (Monday) to 7, as in ISO 8601
    :param start: of the work on each of these days
    :param end: later on the same day
    :param country: whose public holidays are not worked, an ISO 3166 code of two letters; None: there are none
    :param subdivision: part of the country that has holidays of its own, e.g. ``BY``
    """

    name: str
    zone: ZoneInfo
    weekdays: frozenset[int] = WORKING_WEEK
    start: time = WORK_BEGINS
    end: time = WORK_ENDS
    country: str | None = None
    subdivision: str | None = None

    def working_day(self, day: date) -> bool:
        """Whether a day is worked: its weekday is, and it is no public holiday."""
        if day.isoweekday() not in self.weekdays:
            return False
        return self.country is None or day not in _holidays(self.country, self.subdivision, day.year)

    def hours(self, day: date) -> tuple[datetime, datetime] | None:
        """When the work of a day begins and ends, in UTC; None where it is not worked, or left out by the clock."""
        if not self.working_day(day):
            return None
        begin, end = (instant(datetime.combine(day, hour), self.zone) for hour in (self.start, self.end))
        return (begin, end) if begin < end else None


@lru_cache(maxsize=1000)
def _holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    import holidays

    return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))


# --- Delays ----------------------------------------------------------------------------------------------------------


def shift(moment: datetime, delay: timedelta, calendar: WorkingCalendar | None) -> datetime:
    """The end of a delay from a moment, or, where the delay is negative, the moment from which it runs until this one.

    With a calendar, the days of the delay are working days and the rest is working time: first so many working days on,
    at the same time of the day, then so much working time. So 24 hours, which are the same timedelta as a day, are a
    working day, and 23 hours are nearly three of eight hours each. A moment outside working hours counts as the next
    beginning of work; backwards, as the last end. Just at the end, as at the beginning, is inside.

    :param moment: in any zone
    :param delay: negative: backwards
    :param calendar: None: the clock counts, nights and holidays and all
    :returns: in UTC; never before the moment, and backwards never after it
    :raises ValueError: the moment has no zone
    :raises ConfigurationError: the calendar has no working day within a year
    """
    if moment.utcoffset() is None:
        raise ValueError(f"the moment {moment.isoformat()} has no time zone")
    moment = moment.astimezone(UTC)
    return moment + delay if calendar is None else _shifted(moment, delay, calendar)


def _shifted(moment: datetime, delay: timedelta, calendar: WorkingCalendar) -> datetime:
    onwards = delay >= timedelta(0)
    count, rest = divmod(abs(delay), _DAY)
    wall = moment.astimezone(calendar.zone).replace(tzinfo=None)
    days = _working_days(calendar, wall.date(), _DAY if onwards else -_DAY)
    day = next(one for one in days if (one.end >= moment if onwards else one.begin <= moment))
    at = _between(day.begin, moment, day.end)
    if count:
        hour = _between(datetime.combine(day.date, calendar.start), wall, datetime.combine(day.date, calendar.end))
        day = next(islice(days, count - 1, None))
        at = instant(datetime.combine(day.date, hour.time()), calendar.zone)
    while rest > (left := day.end - at if onwards else at - day.begin):
        rest -= left
        day = next(days)
        at = day.begin if onwards else day.end
    return at + rest if onwards else at - rest


def _between(lowest: datetime, value: datetime, highest: datetime) -> datetime:
    return max(lowest, min(value, highest))


@dataclass(frozen=True, slots=True)
class _WorkingDay:
    """A day that is worked, and when its work begins and ends, in UTC."""

    date: date
    begin: datetime
    end: datetime


def _working_days(calendar: WorkingCalendar, day: date, step: timedelta) -> Iterator[_WorkingDay]:
    """The working days from a day on, that one included; backwards where the step is negative."""
    idle = 0
    while idle < _SEARCHED:
        hours = calendar.hours(day)
        idle = 0 if hours else idle + 1
        if hours:
            yield _WorkingDay(day, *hours)
        day += step
    raise ConfigurationError(
        f"The calendar {calendar.name} has no working day from {day - idle * step} to {day}. "
        "Check its weekdays (Variable notify_calendars, Admin → Variables)."
    )


# --- The Variable notify_calendars -----------------------------------------------------------------------------------

_HOURS = re.compile(r"\s*([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})\s*")


def _from_until(value: object) -> object:
    """``08:00-16:00``."""
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be a beginning and an end, such as "08:00-16:00"')
    numbers = [int(part) for part in found.groups()]
    start, end = time(numbers[0], numbers[1]), time(numbers[2], numbers[3])
    if start >= end:
        raise ValueError("must end later on the same day than it begins; work overnight cannot be counted")
    return start, end


class _OwnCalendar(BaseModel):
    """A calendar as an admin writes it."""

    model_config = ConfigDict(extra="forbid")

    country: str | None = None
    subdivision: str | None = None
    hours: Annotated[tuple[time, time], BeforeValidator(_from_until)] = (WORK_BEGINS, WORK_ENDS)
    weekdays: Annotated[frozenset[Weekday], Field(min_length=1)] = WORKING_WEEK
    timezone: str | None = None

    @field_validator("country")
    @classmethod
    def _of_iso_3166(cls, value: str | None) -> str | None:
        if value is not None and not _is_country(value):
            raise ValueError(
                f"{value!r} is no country of which holidays are known; write its ISO 3166 code, such as PL"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _of_iana(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError(f"{value!r} is no time zone; write an IANA name, such as Europe/Warsaw")
        return value

    @model_validator(mode="after")
    def _part_of_the_country(self) -> _OwnCalendar:
        if self.subdivision is None:
            return self
        if self.country is None:
            raise ValueError("a subdivision is part of a country; write its country, too")
        parts = _subdivisions(self.country)
        if self.subdivision not in parts:
            known = f"write one of {', '.join(parts)}" if parts else "leave it out"
            raise ValueError(f"no holidays are known of a subdivision {self.subdivision!r} of {self.country}; {known}")
        return self


_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
_OWN_CALENDARS = TypeAdapter(dict[_Name, _OwnCalendar])


def calendar_named(name: str, text: str, timezone: str) -> WorkingCalendar:
    """The calendar of a name: one that an admin has registered, or, by its ISO 3166 code, a country's.

    :param name: e.g. ``warsaw``; or ``PL``: from Monday to Friday, 09:00 to 17:00, other than on public holidays
    :param text: what the Variable ``notify_calendars`` says, see :func:`read_calendars`
    :param timezone: IANA name, of calendars that name none, and of countries whose clocks differ
    :raises ConfigurationError: the Variable cannot be read
    :raises ValueError: there is no such calendar; the message says which ones there are
    """
    own = read_calendars(text, timezone)
    if name in own:
        return own[name]
    if _is_country(name):
        return WorkingCalendar(name, _zone(name, timezone), country=name)
    names = f"{', '.join(sorted(own))}, and " if own else ""
    raise ValueError(f"there is no calendar {name!r}; there are {names}countries by their ISO 3166 code, such as PL")


@lru_cache(maxsize=4)
def read_calendars(text: str, timezone: str) -> Mapping[str, WorkingCalendar]:
    """The calendars that an admin has registered, by name.

    :param text: JSON, e.g. ``{"warsaw": {"country": "PL", "subdivision": null, "hours": "08:00-16:00",
        "weekdays": ["monday", "tuesday"], "timezone": "Europe/Warsaw"}}``; whatever is left out is as for a country,
        without ``country`` there are no holidays. Empty: none
    :param timezone: IANA name, of calendars that name none
    :raises ConfigurationError: it cannot be read; the message names what is wrong
    """
    try:
        own = _OWN_CALENDARS.validate_json(text) if text.strip() else {}
    except ValidationError as error:
        raise ConfigurationError(
            f"The Variable notify_calendars cannot be used: {first_of(error)}. Write, for example, "
            '{"warsaw": {"country": "PL", "hours": "08:00-16:00", "timezone": "Europe/Warsaw"}} (Admin → Variables).'
        ) from None
    return {name: _calendar(name, given, timezone) for name, given in own.items()}


def _calendar(name: str, given: _OwnCalendar, timezone: str) -> WorkingCalendar:
    zone = ZoneInfo(given.timezone) if given.timezone else _zone(given.country, timezone)
    return WorkingCalendar(name, zone, given.weekdays, *given.hours, given.country, given.subdivision)


def _zone(country: str | None, otherwise: str) -> ZoneInfo:
    """The zone of a country in which all clocks show the same time; that other one where there is none."""
    from babel.core import get_global

    zones = [ZoneInfo(name) for name in get_global("territory_zones").get(country or "", ())]
    times = {tuple(moment.astimezone(zone).utcoffset() for moment in _SUMMER_AND_WINTER) for zone in zones}
    return zones[0] if len(times) == 1 else ZoneInfo(otherwise)


def _is_country(code: str) -> bool:
    """Whether it is an ISO 3166 code of two letters: the library knows stock exchanges and its own names, too."""
    import holidays

    try:
        return len(code) == 2 and holidays.country_holidays(code).country == code
    except NotImplementedError:
        return False


def _subdivisions(country: str) -> tuple[str, ...]:
    import holidays

    return tuple(holidays.country_holidays(country).subdivisions)
