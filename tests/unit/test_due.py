"""When a notification is due, in every zone there is and around every change of its clock.

The rules are held against a slow oracle: it walks minute by minute, looks at the clock on the wall, and knows nothing
of offsets or of how a change is found.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from notify.domain.due import due_at
from notify.domain.preference import Frequency, Quiet, Wish

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2037, 12, 31, tzinfo=UTC)
EVERY_FOURTH_DAY = [FIRST + number * 4 * DAY - number * HOUR for number in range((LAST - FIRST) // (4 * DAY))]
ZONES = [ZoneInfo(name) for name in sorted(available_timezones())]

WARSAW = ZoneInfo("Europe/Warsaw")
APIA = ZoneInfo("Pacific/Apia")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")


# --- Every change of every clock -------------------------------------------------------------------------------------


def offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    """How far the clock is ahead of UTC."""
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


@cache
def changes(zone: ZoneInfo) -> list[datetime]:
    """The minutes, from 1990 to 2037, at which the clock of a zone is changed; it never was twice within four days."""
    days = [(day, day.astimezone(zone).utcoffset()) for day in EVERY_FOURTH_DAY]
    return [halved(zone, early, late) for (early, before), (late, after) in pairwise(days) if before != after]


def halved(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The minute of the one change between two days."""
    before = offset(zone, low)
    while high - low > MINUTE:
        middle = low + (high - low) // MINUTE // 2 * MINUTE
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return high


# --- The oracle ------------------------------------------------------------------------------------------------------


def wall(zone: ZoneInfo, moment: datetime) -> datetime:
    """What the clock on the wall shows."""
    return moment.astimezone(zone).replace(tzinfo=None)


def walk(zone: ZoneInfo, start: datetime) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Each minute from one on, and the first and the last of the wall times that the clock gets to at it."""
    minute = start.replace(second=0, microsecond=0)
    before = wall(zone, minute - MINUTE)
    while True:
        shown = wall(zone, minute)
        yield minute, min(before + MINUTE, shown), shown
        minute, before = minute + MINUTE, shown


def is_quiet(quiet: Quiet, shown: datetime) -> bool:
    """Whether a time is among the minutes from the beginning of quiet hours round the clock to their end."""
    start, until, now = (one.hour * 60 + one.minute for one in (quiet.start, quiet.until, shown))
    return (now - start) % 1440 < (until - start) % 1440


def full_hour(zone: ZoneInfo, moment: datetime) -> datetime:
    """The first minute after a moment at which the clock gets to a full hour."""
    for minute, low, high in walk(zone, moment):
        if minute > moment and low <= high.replace(minute=0):
            return minute
    raise AssertionError


def time_of_day(zone: ZoneInfo, moment: datetime, hour: time, weekdays: set[int]) -> datetime:
    """The first minute after a moment at which the clock gets, for the first time, to that hour of such a day."""
    seen = set()
    for minute, low, high in walk(zone, moment - 30 * HOUR):
        for day in {low.date(), high.date(), (low + DAY).date()}:
            target = datetime.combine(day, hour)
            if low <= target <= high and target not in seen and day.isoweekday() in weekdays:
                if minute > moment:
                    return minute
                seen.add(target)
    raise AssertionError


def oracle(wish: Wish, zone: ZoneInfo, moment: datetime) -> datetime:
    """When it is due, found by walking."""
    due = moment
    if wish.frequency is Frequency.HOURLY:
        due = full_hour(zone, moment)
    elif wish.frequency is not Frequency.IMMEDIATELY:
        weekdays = {wish.weekday} if wish.frequency is Frequency.WEEKLY else set(range(1, 8))
        due = time_of_day(zone, moment, wish.hour, weekdays)
    if wish.quiet is None or not is_quiet(wish.quiet, wall(zone, due)):
        return due
    return next(minute for minute, _, shown in walk(zone, due) if minute > due and not is_quiet(wish.quiet, shown))


# --- What is tried ---------------------------------------------------------------------------------------------------

#: As often as not an edge: a change itself, a full hour, the moment before or after it.
AROUND = st.builds(
    timedelta.__add__,
    st.integers(-27 * 60, 27 * 60).map(lambda minutes: minutes * MINUTE)
    | st.integers(-27, 27).map(lambda hours: hours * HOUR),
    st.sampled_from([timedelta(0), timedelta(microseconds=1), -timedelta(microseconds=1), 17 * SECOND]),
)
QUARTERS = st.integers(0, 95).map(lambda number: time(number // 4, number % 4 * 15))
HOURS = QUARTERS | st.times().map(lambda found: found.replace(second=0, microsecond=0))


@st.composite
def cases(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    """A zone and a moment: mostly around a change of the zone's clock."""
    zone = draw(st.sampled_from(ZONES))
    if changes(zone) and draw(st.integers(0, 3)):
        return zone, draw(st.sampled_from(changes(zone))) + draw(AROUND)
    naive = draw(st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)))
    return zone, naive.replace(tzinfo=UTC)


@st.composite
def hours_near(draw: st.DrawFn, zone: ZoneInfo, moment: datetime) -> time:
    """A time of the day: often one that the clock shows around the moment, or would if it were not changed."""
    if draw(st.booleans()):
        return draw(HOURS)
    shown = wall(zone, moment) + draw(st.integers(-180, 180)) * MINUTE
    return shown.time().replace(second=0, microsecond=0)


@st.composite
def wishes(draw: st.DrawFn, zone: ZoneInfo, moment: datetime, *frequencies: Frequency) -> Wish:
    """What a person may wish, other than never."""
    quiet = None
    if draw(st.booleans()):
        start = draw(hours_near(zone, moment))
        quiet = Quiet(start, draw(hours_near(zone, moment).filter(lambda until: until != start)))
    frequency = draw(st.sampled_from(frequencies))
    return Wish(frequency, draw(hours_near(zone, moment)), draw(st.integers(1, 7)), quiet)


SOON = (Frequency.IMMEDIATELY, Frequency.HOURLY)
LATER = (Frequency.DAILY, Frequency.WEEKLY)


def due(wish: Wish, zone: ZoneInfo, moment: datetime) -> datetime:
    """When it is due, for wishes other than never."""
    found = due_at(wish, zone, moment)
    assert found is not None
    assert found.tzinfo is UTC
    return found


# --- Properties ------------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(st.data(), cases())
def test_soon_is_what_the_wall_says(data: st.DataObject, case: tuple[ZoneInfo, datetime]) -> None:
    """In any zone at any moment, immediately and hourly are due exactly when a walk along the clock says so."""
    wish = data.draw(wishes(*case, *SOON))
    assert due(wish, *case) == oracle(wish, *case)


@settings(max_examples=200, deadline=None)
@given(st.data(), cases())
def test_later_is_what_the_wall_says(data: st.DataObject, case: tuple[ZoneInfo, datetime]) -> None:
    """In any zone at any moment, daily and weekly are due exactly when a walk along the clock says so."""
    wish = data.draw(wishes(*case, *LATER))
    assert due(wish, *case) == oracle(wish, *case)


@settings(max_examples=300, deadline=None)
@given(st.data(), cases(), AROUND)
def test_who_comes_later_is_not_served_earlier(
    data: st.DataObject, case: tuple[ZoneInfo, datetime], apart: timedelta
) -> None:
    """Of two moments the later one is never due before the earlier one, whatever is wished."""
    zone, moment = case
    early, late = sorted([moment, moment + apart])
    wish = data.draw(wishes(zone, moment, *SOON, *LATER))
    assert due(wish, zone, early) <= due(wish, zone, late)


@settings(max_examples=300, deadline=None)
@given(st.data(), cases())
def test_all_of_a_period_are_due_together(data: st.DataObject, case: tuple[ZoneInfo, datetime]) -> None:
    """Whatever happens before it is due shares the due time; what happens as it falls due gets the next one."""
    zone, moment = case
    wish = data.draw(wishes(zone, moment, Frequency.HOURLY, *LATER).filter(lambda one: one.quiet is None))
    found = due(wish, zone, moment)
    share = data.draw(st.integers(0, 999))
    assert due(wish, zone, moment + share * (found - moment) // 1000) == found
    assert due(wish, zone, found - timedelta(microseconds=1)) == found
    assert due(wish, zone, found) > found


@settings(max_examples=300, deadline=None)
@given(st.data(), cases())
def test_nobody_waits_longer_than_their_period(data: st.DataObject, case: tuple[ZoneInfo, datetime]) -> None:
    """An hour, a day or a week is the longest wait, and what the clock is put back; then a day for quiet hours."""
    zone, moment = case
    wish = data.draw(wishes(zone, moment, *SOON, *LATER))
    longest = {Frequency.HOURLY: HOUR, Frequency.DAILY: DAY, Frequency.WEEKLY: 7 * DAY}.get(
        wish.frequency, timedelta(0)
    )
    longest += DAY if wish.quiet else timedelta(0)
    found = due(wish, zone, moment)
    # An hour that is shown twice may just have been shown for the first time.
    put_back = max(offset(zone, moment - 4 * HOUR) - offset(zone, found), timedelta(0))
    assert timedelta(0) <= found - moment <= longest + put_back


@settings(max_examples=200, deadline=None)
@given(st.data(), cases())
def test_the_moment_may_come_in_any_zone(data: st.DataObject, case: tuple[ZoneInfo, datetime]) -> None:
    """The same moment in another zone's words, one of a repeated hour too, is due at the same time."""
    zone, moment = case
    wish = data.draw(wishes(zone, moment, *SOON, *LATER))
    other = data.draw(st.sampled_from([zone, *ZONES]))
    assert due(wish, zone, moment.astimezone(other)) == due(wish, zone, moment)


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from(ZONES), HOURS)
def test_each_zone_has_its_own_wall(case: tuple[ZoneInfo, datetime], second: ZoneInfo, hour: time) -> None:
    """The same moment is due for two people by two clocks; for one who moves, by the clock of where they are now."""
    first, moment = case
    assume(not any(offset(zone, moment) != offset(zone, moment + 2 * DAY) for zone in (first, second)))
    wish = Wish(Frequency.DAILY, hour)
    here, there = due(wish, first, moment), due(wish, second, moment)
    assert wall(first, here).time() == wall(second, there).time() == hour
    assert (there - here + offset(second, moment) - offset(first, moment)) % DAY == timedelta(0)


def check_left_out(zone: ZoneInfo, change: datetime, before: datetime, after: datetime) -> None:
    """The clock is put forward: whatever it leaves out, and the time that it then shows, is due at the change."""
    for target in (before, before + (after - before) / 2, after - MINUTE, after):
        found = due(Wish(Frequency.DAILY, target.time()), zone, change - MINUTE)
        assert found == change, (zone, target)


def check_repeated(zone: ZoneInfo, change: datetime, before: datetime, after: datetime) -> None:
    """The clock is put back: what it shows twice is due the first time, what it had not got to yet, when it does."""
    for target in (after, after + (before - after) / 2, before - MINUTE, before):
        found = due(Wish(Frequency.DAILY, target.time()), zone, change - (before - after) - MINUTE)
        expected = change - (before - target) if target < before else change + (before - after)
        assert found == expected, (zone, target)
        assert due(Wish(Frequency.DAILY, target.time()), zone, found) > found + 20 * HOUR, (zone, target)


def test_around_every_change_of_every_zone() -> None:
    """No zone has, from 1990 to 2037, a change of the clock that makes a daily mail late, double or lost."""
    count = 0
    for zone in ZONES:
        for change in changes(zone):
            before, after = wall(zone, change - MINUTE) + MINUTE, wall(zone, change)
            check = check_left_out if after > before else check_repeated
            check(zone, change, before, after)
            count += 1
    assert count > 20_000


@pytest.mark.parametrize("zone", [WARSAW, LORD_HOWE, ZoneInfo("America/St_Johns"), ZoneInfo("Africa/Casablanca")])
@pytest.mark.parametrize("hour", [time(0), time(0, 30), time(2), time(2, 15), time(18), time(23, 45)])
def test_each_day_has_its_mail(zone: ZoneInfo, hour: time) -> None:
    """Over three years each date has exactly one due time, whatever the clock does meanwhile."""
    moment = datetime(2009, 1, 1, 12, tzinfo=UTC)
    dates = []
    for _ in range(1000):
        moment = due(Wish(Frequency.DAILY, hour), zone, moment)
        dates.append(wall(zone, moment).date())
    assert all(later - earlier == DAY for earlier, later in pairwise(dates))


# --- By example ------------------------------------------------------------------------------------------------------


def at(zone: ZoneInfo, text: str, *, fold: int = 0) -> datetime:
    """A time on a wall; ``fold=1``: the second time that it is shown."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(Frequency.IMMEDIATELY), "2026-07-15 11:20:30"),
        (Wish(Frequency.HOURLY), "2026-07-15 12:00"),
        (Wish(Frequency.DAILY), "2026-07-15 18:00"),
        (Wish(Frequency.DAILY, time(11, 20)), "2026-07-16 11:20"),
        (Wish(Frequency.WEEKLY, time(8)), "2026-07-20 08:00"),
        (Wish(Frequency.WEEKLY, time(11, 30), 3), "2026-07-15 11:30"),
        (Wish(Frequency.WEEKLY, time(11), 3), "2026-07-22 11:00"),
        (Wish(Frequency.IMMEDIATELY, quiet=Quiet(time(9), time(17))), "2026-07-15 17:00"),
        (Wish(Frequency.DAILY, time(23), quiet=Quiet(time(22), time(7))), "2026-07-16 07:00"),
        (Wish(Frequency.DAILY, time(7), quiet=Quiet(time(22), time(7))), "2026-07-16 07:00"),
        (Wish(Frequency.DAILY, time(22), quiet=Quiet(time(22), time(7))), "2026-07-16 07:00"),
        (Wish(Frequency.DAILY, time(21, 59), quiet=Quiet(time(22), time(7))), "2026-07-15 21:59"),
    ],
)
def test_on_an_ordinary_day(wish: Wish, expected: str) -> None:
    """On a Wednesday in summer it is due when anybody would expect it."""
    assert due_at(wish, WARSAW, at(WARSAW, "2026-07-15 11:20:30")) == at(WARSAW, expected)


def test_never() -> None:
    """Who never wants to hear of it is not told at any time."""
    assert due_at(Wish(Frequency.NEVER), WARSAW, datetime(2026, 7, 15, tzinfo=UTC)) is None


@pytest.mark.parametrize("frequency", Frequency)
def test_a_moment_without_a_zone_is_refused(frequency: Frequency) -> None:
    """A moment that does not say in which zone is refused, not guessed."""
    with pytest.raises(ValueError, match="no time zone"):
        due_at(Wish(frequency), WARSAW, datetime(2026, 7, 15))  # noqa: DTZ001 - is what is tried


@pytest.mark.parametrize(
    ("wish", "zone", "moment", "expected"),
    [
        # Warsaw, 29 March 2026: from 02:00 to 03:00 at 01:00 UTC.
        (Wish(Frequency.DAILY, time(2)), WARSAW, "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        (Wish(Frequency.DAILY, time(2, 30)), WARSAW, "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        (Wish(Frequency.DAILY, time(2, 30)), WARSAW, "2026-03-29T01:00Z", "2026-03-30T00:30Z"),
        (Wish(Frequency.DAILY, time(3)), WARSAW, "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        (Wish(Frequency.WEEKLY, time(2, 30), 7), WARSAW, "2026-03-28T12:00Z", "2026-03-29T01:00Z"),
        (Wish(Frequency.HOURLY), WARSAW, "2026-03-29T00:30Z", "2026-03-29T01:00Z"),
        (
            Wish(Frequency.IMMEDIATELY, quiet=Quiet(time(1), time(2, 30))),
            WARSAW,
            "2026-03-29T00:30Z",
            "2026-03-29T01:00Z",
        ),
        # Lord Howe, 4 October 2026: from 02:00 to 02:30 at 15:30 UTC.
        (Wish(Frequency.HOURLY), LORD_HOWE, "2026-10-03T15:10Z", "2026-10-03T15:30Z"),
        (Wish(Frequency.HOURLY), LORD_HOWE, "2026-10-03T15:30Z", "2026-10-03T16:00Z"),
        (Wish(Frequency.DAILY, time(2, 15)), LORD_HOWE, "2026-10-03T15:10Z", "2026-10-03T15:30Z"),
        # Back on 5 April: from 02:00 to 01:30 at 15:00 UTC.
        (Wish(Frequency.HOURLY), LORD_HOWE, "2026-04-04T14:00Z", "2026-04-04T15:30Z"),
        # Samoa left out Friday, 30 December 2011, at 10:00 UTC.
        (Wish(Frequency.DAILY), APIA, "2011-12-30T05:00Z", "2011-12-30T10:00Z"),
        (Wish(Frequency.DAILY), APIA, "2011-12-30T10:00Z", "2011-12-31T04:00Z"),
        (Wish(Frequency.WEEKLY, time(8), 5), APIA, "2011-12-25T12:00Z", "2011-12-30T10:00Z"),
        (Wish(Frequency.IMMEDIATELY, quiet=Quiet(time(20), time(7))), APIA, "2011-12-30T09:00Z", "2011-12-30T17:00Z"),
        # Zones whose full hour is not that of UTC.
        (Wish(Frequency.HOURLY), ZoneInfo("Asia/Kolkata"), "2026-07-15T10:00Z", "2026-07-15T10:30Z"),
        (Wish(Frequency.HOURLY), ZoneInfo("Asia/Kathmandu"), "2026-07-15T10:15Z", "2026-07-15T11:15Z"),
    ],
)
def test_what_the_clock_leaves_out(wish: Wish, zone: ZoneInfo, moment: str, expected: str) -> None:
    """What is due at a time that the clock leaves out is due when the change comes."""
    assert due_at(wish, zone, datetime.fromisoformat(moment)) == datetime.fromisoformat(expected)


def test_what_the_clock_shows_twice() -> None:
    """A daily mail comes the first time, also for what happens between the two; each full hour counts for itself."""
    first, second = at(WARSAW, "2026-10-25 02:30"), at(WARSAW, "2026-10-25 02:30", fold=1)
    assert second - first == HOUR
    daily = Wish(Frequency.DAILY, time(2, 30))
    assert due_at(daily, WARSAW, first - MINUTE) == first
    assert due_at(daily, WARSAW, first) == due_at(daily, WARSAW, second - MINUTE) == at(WARSAW, "2026-10-26 02:30")
    hours = [due_at(Wish(Frequency.HOURLY), WARSAW, first - HOUR + number * HOUR) for number in range(4)]
    assert hours == [datetime(2026, 10, 25, hour, tzinfo=UTC) for hour in range(4)]


def test_quiet_by_the_wall_in_a_repeated_hour() -> None:
    """Quiet hours that are over in the first of two equal hours begin again in the second: the wall says so."""
    wish = Wish(Frequency.IMMEDIATELY, quiet=Quiet(time(23), time(2, 30)))
    first, second = at(WARSAW, "2026-10-25 02:30"), at(WARSAW, "2026-10-25 02:30", fold=1)
    assert due_at(wish, WARSAW, first - HOUR) == first
    assert due_at(wish, WARSAW, first + MINUTE) == first + MINUTE
    assert due_at(wish, WARSAW, first + 40 * MINUTE) == second


def test_quiet_round_the_clock_ends_all_the_same() -> None:
    """Quiet hours that never end, which no preference can have, put off by a day and no longer."""
    wish = Wish(Frequency.IMMEDIATELY, quiet=Quiet(time(7), time(7)))
    assert due_at(wish, WARSAW, at(WARSAW, "2026-07-15 07:00")) == at(WARSAW, "2026-07-16 07:00")
