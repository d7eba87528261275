"""When a notification is due: by the clock on the person's wall, right across its changes (behaviour: Kinds of event).

A clock is changed by at most a day (Samoa, 2011), and, in all zones since 1844, never twice within three days. So there
is at most one change in any span that is looked at here, and it can be found by halving the span.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from notify.domain.preference import Frequency, Quiet, Wish

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


def due_at(wish: Wish, zone: ZoneInfo, moment: datetime) -> datetime | None:
    """When the person is to hear of what happened at a moment, in UTC; None: never.

    A time that a change of the clock leaves out is due when the change comes; a day's or week's time that the clock
    shows twice, the first time; quiet hours put the result off until they are over.

    :param wish: how often, and when
    :param zone: whose wall clock counts
    :param moment: when it happened, in any zone
    :raises ValueError: the moment has no zone
    """
    if moment.utcoffset() is None:
        raise ValueError(f"the moment {moment.isoformat()} has no time zone")
    if wish.frequency is Frequency.NEVER:
        return None
    due = _before_quiet(wish, zone, moment.astimezone(UTC))
    return due if wish.quiet is None else _quiet_over(wish.quiet, zone, due)


def _before_quiet(wish: Wish, zone: ZoneInfo, moment: datetime) -> datetime:
    if wish.frequency is Frequency.HOURLY:
        return _full_hour(zone, moment)
    if wish.frequency is Frequency.DAILY:
        return _next_of(zone, moment, wish.hour)
    if wish.frequency is Frequency.WEEKLY:
        return _next_of(zone, moment, wish.hour, wish.weekday)
    return moment


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock of a zone gets to a time: shows it for the first time, or leaves it out.

    :param wall: a date and time without a zone
    :returns: in UTC
    """
    first = wall.replace(tzinfo=zone, fold=0)
    shown = first.astimezone(UTC)
    if shown.astimezone(zone).utcoffset() == first.utcoffset():
        return shown
    # Left out: by the offset before the change it would come at or after the change, by the one after it, before.
    return _halved(zone, first.replace(fold=1).astimezone(UTC), shown)


def _next_of(zone: ZoneInfo, moment: datetime, hour: time, weekday: int | None = None) -> datetime:
    """The next time of the day after a moment; on that weekday, where one is given."""
    day, step = moment.astimezone(zone).date(), _DAY
    if weekday is not None:
        day, step = day + (weekday - day.isoweekday()) % 7 * _DAY, 7 * _DAY
    while (due := instant(datetime.combine(day, hour), zone)) <= moment:
        day += step
    return due


def _full_hour(zone: ZoneInfo, moment: datetime) -> datetime:
    """The next full hour after a moment, by the zone's own clock: India's comes half an hour after London's."""
    wall = moment.astimezone(zone).replace(tzinfo=None)
    full = wall.replace(minute=0, second=0, microsecond=0) + _HOUR
    due = moment + (full - wall)
    change = _change(zone, moment, due)
    if change is None:
        return due
    shown = change.astimezone(zone).replace(tzinfo=None)
    left_out = shown >= full
    return change if left_out or _is_full(shown) else _full_hour(zone, change)


def _is_full(wall: datetime) -> bool:
    return wall == wall.replace(minute=0, second=0, microsecond=0)


def _quiet_over(quiet: Quiet, zone: ZoneInfo, due: datetime) -> datetime:
    """The first moment, from that one on, at which it is not quiet."""
    wall = due.astimezone(zone).replace(tzinfo=None)
    if not quiet.covers(wall.time()):
        return due
    until = datetime.combine(wall.date(), quiet.until)
    over = due + (until - wall if until > wall else until + _DAY - wall)
    change = _change(zone, due, over)
    return over if change is None else _quiet_over(quiet, zone, change)


def _change(zone: ZoneInfo, after: datetime, until: datetime) -> datetime | None:
    """The first moment, after one and not after the other, at which the clock has been changed; both in UTC."""
    if until.astimezone(zone).utcoffset() == after.astimezone(zone).utcoffset():
        return None
    return _halved(zone, after, until)


def _halved(zone: ZoneInfo, after: datetime, until: datetime) -> datetime:
    """The same where the clock is known to be changed: halves the span until a second is left of it."""
    before = after.astimezone(zone).utcoffset()
    low, high = after.replace(microsecond=0), until.replace(microsecond=0)
    while (apart := (high - low) // _SECOND) > 1:
        middle = low + apart // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
