"""Delays in working time, across nights, weekends, holidays and changes of the clock."""

from __future__ import annotations

import json
from collections.abc import Container
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from notify.domain.working_time import WorkingCalendar, calendar_named, read_calendars, shift
from notify.exceptions import ConfigurationError

MINUTE, HOUR, DAY, NOTHING = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(0)
WARSAW = ZoneInfo("Europe/Warsaw")
POLAND = WorkingCalendar("PL", WARSAW, country="PL")
NIGHTS = WorkingCalendar("nights", WARSAW, frozenset(range(1, 8)), time(1), time(5))

ZONES = [
    "Europe/Warsaw",
    "America/New_York",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
]
COUNTRIES = [None, "PL", "SK", "US", "IL"]


def at(text: str, zone: ZoneInfo = WARSAW, *, fold: int = 0) -> datetime:
    """A time on a wall; ``fold=1``: the second time that it is shown."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


# --- By example ------------------------------------------------------------------------------------------------------
# Friday, 10 July 2026, and the week after it have no holidays.


@pytest.mark.parametrize(
    ("moment", "delay", "expected"),
    [
        ("2026-07-10 15:00", 1 * DAY, "2026-07-13 15:00"),
        ("2026-07-10 16:00", 2 * HOUR, "2026-07-13 10:00"),
        ("2026-07-10 16:00", 1 * HOUR, "2026-07-10 17:00"),
        ("2026-07-10 15:00", 1 * DAY + 3 * HOUR, "2026-07-14 10:00"),
        ("2026-07-10 15:00", 23 * HOUR, "2026-07-15 14:00"),
        ("2026-07-10 15:00", 24 * HOUR, "2026-07-13 15:00"),
        ("2026-07-10 15:00", 10 * DAY, "2026-07-24 15:00"),
        ("2026-07-10 15:00", NOTHING, "2026-07-10 15:00"),
        ("2026-07-10 09:00", NOTHING, "2026-07-10 09:00"),
        ("2026-07-10 17:00", NOTHING, "2026-07-10 17:00"),
        ("2026-07-10 17:00", 1 * DAY, "2026-07-13 17:00"),
        ("2026-07-10 17:00", 1 * HOUR, "2026-07-13 10:00"),
        ("2026-07-10 17:01", NOTHING, "2026-07-13 09:00"),
        ("2026-07-10 08:00", 1 * HOUR, "2026-07-10 10:00"),
        ("2026-07-11 12:00", 1 * DAY, "2026-07-14 09:00"),
        ("2026-07-13 15:00", -1 * DAY, "2026-07-10 15:00"),
        ("2026-07-13 10:00", -2 * HOUR, "2026-07-10 16:00"),
        ("2026-07-13 10:00", -1 * HOUR, "2026-07-13 09:00"),
        ("2026-07-13 08:00", -1 * HOUR, "2026-07-10 16:00"),
        ("2026-07-12 12:00", -1 * DAY, "2026-07-09 17:00"),
        ("2026-07-10 09:00", -1 * DAY, "2026-07-09 09:00"),
        ("2026-07-10 09:00", -1 * HOUR, "2026-07-09 16:00"),
        ("2026-07-14 10:00", -1 * DAY - 3 * HOUR, "2026-07-10 15:00"),
    ],
)
def test_by_example(moment: str, delay: timedelta, expected: str) -> None:
    """Days count working days at the same time of the day, the rest counts working time; backwards likewise."""
    assert shift(at(moment), delay, POLAND) == at(expected)


@pytest.mark.parametrize(
    ("country", "subdivision", "day", "worked"),
    [
        ("PL", None, "2026-01-06", False),  # Epiphany
        ("PL", None, "2026-04-06", False),  # Easter Monday
        ("PL", None, "2026-06-04", False),  # Corpus Christi
        ("PL", None, "2026-11-11", False),  # Independence Day
        ("PL", None, "2024-12-24", True),  # Christmas Eve, a holiday since 2025
        ("PL", None, "2025-12-24", False),
        ("PL", None, "2026-04-03", True),  # Good Friday, in Slovakia only
        ("SK", None, "2026-04-03", False),
        ("SK", None, "2025-05-08", False),  # Victory over Fascism, worked in 2026
        ("SK", None, "2026-05-08", True),
        ("SK", None, "2026-11-17", True),  # worked since 2025
        ("SK", None, "2026-06-04", True),
        ("US", None, "2026-11-26", False),  # Thanksgiving
        ("US", None, "2026-07-03", False),  # observed, the fourth of July being a Saturday
        ("US", None, "2021-12-31", False),  # observed for 1 January of the next year
        ("US", None, "2026-05-01", True),
        ("DE", "BY", "2026-01-06", False),
        ("DE", "BE", "2026-01-06", True),
        (None, None, "2026-01-01", True),
        ("PL", None, "2026-07-11", True),  # a Saturday, no holiday
    ],
)
def test_holidays(country: str | None, subdivision: str | None, day: str, *, worked: bool) -> None:
    """A country's public holidays, and those of a part of it, are not worked; days of the week aside."""
    calendar = WorkingCalendar("x", WARSAW, frozenset(range(1, 8)), country=country, subdivision=subdivision)
    assert calendar.working_day(date.fromisoformat(day)) is worked


def test_weekdays() -> None:
    """Only the days of the week that are the calendar's are worked."""
    calendar = WorkingCalendar("weekend", WARSAW, frozenset({6, 7}))
    week = [date(2026, 7, 6) + number * DAY for number in range(7)]
    assert [calendar.working_day(day) for day in week] == [False] * 5 + [True] * 2
    assert [POLAND.working_day(day) for day in week] == [True] * 5 + [False] * 2


def test_over_the_holidays() -> None:
    """Holidays and the weekend that follows them are passed over together, also from one year to the next."""
    assert shift(at("2026-12-23 12:00"), DAY, POLAND) == at("2026-12-28 12:00")
    assert shift(at("2026-12-31 16:00"), 2 * HOUR, POLAND) == at("2027-01-04 10:00")
    assert shift(at("2027-01-04 10:00"), -2 * HOUR, POLAND) == at("2026-12-31 16:00")


def test_the_clock_is_changed_over_the_weekend() -> None:
    """A working day over a change of the clock is 23 or 25 hours longer than a day, and ends at the same time of it."""
    for friday, monday in [("2026-03-27 15:00", "2026-03-30 15:00"), ("2026-10-23 15:00", "2026-10-26 15:00")]:
        assert shift(at(friday), DAY, POLAND) == at(monday)
        assert shift(at(monday), -DAY, POLAND) == at(friday)
        assert at(monday) - at(friday) in (71 * HOUR, 73 * HOUR)


def test_the_clock_is_changed_at_work() -> None:
    """Who works as the clock is changed works an hour less or more than the clock on the wall says."""
    assert shift(at("2026-03-29 01:00"), 3 * HOUR, NIGHTS) == at("2026-03-29 05:00")
    assert shift(at("2026-10-25 01:00"), 3 * HOUR, NIGHTS) == at("2026-10-25 03:00")
    second = at("2026-10-25 02:30", fold=1)
    assert shift(second, NOTHING, NIGHTS) == second
    assert shift(second, DAY, NIGHTS) == at("2026-10-26 02:30")
    assert shift(at("2026-03-28 02:30"), DAY, NIGHTS) == at("2026-03-29 03:00")


def test_work_that_the_clock_leaves_out() -> None:
    """A day whose hours the clock leaves out, in part or all of it, is worked as far as it is there."""
    samoa = WorkingCalendar("WS", ZoneInfo("Pacific/Apia"))
    assert shift(at("2011-12-29 15:00", samoa.zone), DAY, samoa) == at("2012-01-02 15:00", samoa.zone)
    early = WorkingCalendar("early", WARSAW, frozenset(range(1, 8)), time(2), time(3))
    assert shift(at("2026-03-28 02:30"), HOUR, early) == at("2026-03-30 02:30")
    half = WorkingCalendar("half", WARSAW, frozenset(range(1, 8)), time(2, 30), time(4))
    assert shift(at("2026-03-28 04:00"), HOUR, half) == at("2026-03-29 04:00")
    assert shift(at("2026-03-28 20:00"), DAY, half) == at("2026-03-30 02:30")


def test_a_repeated_evening() -> None:
    """Where the clock goes back over midnight, the night's work goes on, and no delay ends before it begins."""
    zone = ZoneInfo("America/St_Johns")  # 2010-11-07, from 00:01 to 23:01 of the day before
    calendar = WorkingCalendar("nights", zone, frozenset(range(1, 8)), time(0), time(8))
    second = at("2010-11-06 23:30", zone, fold=1)
    assert shift(second, NOTHING, calendar) == second
    assert shift(second, DAY, calendar) == at("2010-11-08 00:00", zone)


def test_without_a_calendar() -> None:
    """Without a calendar the clock counts, nights and weekends and all."""
    assert shift(at("2026-07-10 15:00"), 2 * DAY, None) == at("2026-07-12 15:00")
    assert shift(at("2026-03-28 15:00"), DAY, None) == at("2026-03-29 16:00")
    assert shift(at("2026-07-10 15:00"), -HOUR, None).tzinfo is UTC


@pytest.mark.parametrize("calendar", [None, POLAND])
def test_a_moment_without_a_zone_is_refused(calendar: WorkingCalendar | None) -> None:
    """A moment that does not say in which zone is refused, not guessed."""
    with pytest.raises(ValueError, match="no time zone"):
        shift(datetime(2026, 7, 10), DAY, calendar)  # noqa: DTZ001 - is what is tried


@pytest.mark.parametrize("delay", [NOTHING, DAY, -DAY])
def test_a_calendar_without_working_days(delay: timedelta) -> None:
    """A calendar in which nobody ever works is an error that names it, not an endless search."""
    with pytest.raises(ConfigurationError, match="The calendar idle has no working day from 2026-07-10 to"):
        shift(at("2026-07-10 15:00"), delay, WorkingCalendar("idle", WARSAW, frozenset()))


# --- Properties ------------------------------------------------------------------------------------------------------


@st.composite
def calendars(draw: st.DrawFn) -> WorkingCalendar:
    """Any calendar, of a few minutes a week or of all days."""
    start, end = sorted(draw(st.lists(st.integers(0, 1439), min_size=2, max_size=2, unique=True)))
    return WorkingCalendar(
        "any",
        ZoneInfo(draw(st.sampled_from(ZONES))),
        draw(st.frozensets(st.integers(1, 7), min_size=1)),
        time(start // 60, start % 60),
        time(end // 60, end % 60),
        draw(st.sampled_from(COUNTRIES)),
    )


#: Around Samoa's missing day, some changes of some clocks, and some holidays as often as not.
MOMENTS = st.integers(0, 35 * 365 * 1440).map(
    lambda minutes: datetime(2000, 1, 1, tzinfo=UTC) + minutes * MINUTE
) | st.builds(
    lambda day, minutes: datetime.fromisoformat(day).replace(tzinfo=UTC) + minutes * MINUTE,
    st.sampled_from(["2011-12-30", "2026-03-29", "2026-10-25", "2026-04-05", "2026-10-04", "2026-12-25", "2026-07-04"]),
    st.integers(-3 * 1440, 3 * 1440),
)
COUNTS = st.integers(0, 30).map(lambda number: number * DAY)
RESTS = st.integers(0, 1439).map(lambda number: number * MINUTE) | st.timedeltas(
    NOTHING, DAY - timedelta(microseconds=1)
)
DELAYS = st.builds(lambda sign, count, rest: sign * (count + rest), st.sampled_from([1, -1]), COUNTS, RESTS)


def wall(calendar: WorkingCalendar, moment: datetime) -> datetime:
    """What the clock shows where the calendar is kept."""
    return moment.astimezone(calendar.zone).replace(tzinfo=None)


def worked(calendar: WorkingCalendar, shown: datetime) -> bool:
    """Whether there is work at what the clock shows; at the very end there no longer is."""
    return (
        shown.isoweekday() in calendar.weekdays
        and shown.date() not in free(calendar.country)
        and calendar.start <= shown.time() < calendar.end
    )


@cache
def free(country: str | None) -> Container[date]:
    """The holidays of a country, as the library tells them."""
    return holidays.country_holidays(country) if country else ()


def offsets(calendar: WorkingCalendar, early: datetime, late: datetime) -> list[timedelta]:
    """How far the calendar's clock is ahead of UTC, hour by hour, from a little before to a little after."""
    hours = [early + number * HOUR for number in range(-4, (late - early) // HOUR + 4)]
    return [moment.astimezone(calendar.zone).utcoffset() or NOTHING for moment in hours]


def repeats(calendar: WorkingCalendar, early: datetime, late: datetime) -> bool:
    """Whether the clock is put back in between, or just before."""
    return any(before > after for before, after in pairwise(offsets(calendar, early, late)))


def changes(calendar: WorkingCalendar, early: datetime, late: datetime) -> bool:
    """Whether the clock is changed in between, or just before."""
    return len(set(offsets(calendar, early, late))) > 1


@settings(max_examples=300, deadline=None)
@given(calendars(), MOMENTS, DELAYS)
def test_ends_at_work(calendar: WorkingCalendar, moment: datetime, delay: timedelta) -> None:
    """A delay ends within working hours or at an edge of them, never on a holiday, never on the wrong side."""
    end = shift(moment, delay, calendar)
    assert end.tzinfo is UTC
    assert (end >= moment) if delay >= NOTHING else (end <= moment)
    shown = wall(calendar, end)
    if not repeats(calendar, end, end):
        edge = worked(calendar, wall(calendar, end - timedelta(microseconds=1)))
        assert worked(calendar, shown) or edge


@settings(max_examples=300, deadline=None)
@given(calendars(), MOMENTS, DELAYS, COUNTS, RESTS)
def test_longer_is_later(
    calendar: WorkingCalendar, moment: datetime, delay: timedelta, days: timedelta, rest: timedelta
) -> None:
    """A delay of more days ends no earlier, nor does one of as many days and more working time; backwards no later."""
    sign = 1 if delay >= NOTHING else -1
    whole = abs(delay).days * DAY
    end = shift(moment, delay, calendar)
    assert sign * (shift(moment, sign * (abs(delay) + days), calendar) - end) >= NOTHING
    longer = max(abs(delay), whole + rest)
    assert sign * (shift(moment, sign * longer, calendar) - end) >= NOTHING


@settings(max_examples=300, deadline=None)
@given(calendars(), MOMENTS, DELAYS, st.timedeltas(NOTHING, 10 * DAY))
def test_who_begins_later_ends_later(
    calendar: WorkingCalendar, moment: datetime, delay: timedelta, later: timedelta
) -> None:
    """Of two equal delays the later one ends no earlier, unless the clock, which days go by, was put back between."""
    assume(not repeats(calendar, moment, moment + later))
    assert shift(moment, delay, calendar) <= shift(moment + later, delay, calendar)


@settings(max_examples=300, deadline=None)
@given(calendars(), MOMENTS)
def test_no_delay(calendar: WorkingCalendar, moment: datetime) -> None:
    """No delay from working time is the moment itself; from outside, the next beginning, and that stays where it is."""
    end = shift(moment, NOTHING, calendar)
    assert shift(end, NOTHING, calendar) == end
    if worked(calendar, wall(calendar, moment)) and not repeats(calendar, moment, moment):
        assert end == moment


@settings(max_examples=200, deadline=None)
@given(calendars(), MOMENTS, COUNTS, st.sampled_from([1, -1]))
def test_days_are_working_days(calendar: WorkingCalendar, moment: datetime, days: timedelta, sign: int) -> None:
    """So many days on there are so many working days between, and the time of the day is the same."""
    moment = shift(moment, NOTHING, calendar)
    end = shift(moment, sign * days, calendar)
    assume(not repeats(calendar, *sorted([moment, end])))
    first, last = sorted([wall(calendar, moment).date(), wall(calendar, end).date()])
    between = [first + number * DAY for number in range((last - first).days)]
    counted = sum(calendar.hours(day) is not None for day in between)
    assert counted * DAY == days
    if moment.astimezone(calendar.zone).utcoffset() == end.astimezone(calendar.zone).utcoffset():
        assert wall(calendar, end).time() == wall(calendar, moment).time()


@settings(max_examples=200, deadline=None)
@given(calendars(), MOMENTS, st.integers(0, 200), st.sampled_from([1, -1]))
def test_working_time_is_counted(calendar: WorkingCalendar, moment: datetime, minutes: int, sign: int) -> None:
    """A walk minute by minute meets as much working time as the delay has."""
    moment = moment.replace(second=0, microsecond=0)
    end = shift(moment, sign * minutes * MINUTE, calendar)
    early, late = sorted([moment, end])
    assume(late - early < 10 * DAY and not repeats(calendar, early, late))
    walked = [early + number * MINUTE for number in range((late - early) // MINUTE)]
    assert sum(worked(calendar, wall(calendar, minute)) for minute in walked) == minutes


@settings(max_examples=200, deadline=None)
@given(calendars(), MOMENTS, DELAYS, st.sampled_from(ZONES))
def test_the_moment_may_come_in_any_zone(
    calendar: WorkingCalendar, moment: datetime, delay: timedelta, zone: str
) -> None:
    """The same moment in another zone's words has the same end."""
    assert shift(moment.astimezone(ZoneInfo(zone)), delay, calendar) == shift(moment, delay, calendar)


@settings(max_examples=200, deadline=None)
@given(calendars(), MOMENTS, DELAYS, st.integers(1, 999))
def test_there_and_back(calendar: WorkingCalendar, moment: datetime, delay: timedelta, share: int) -> None:
    """From within working hours, as many days or as much working time back as it was there ends at the moment again."""
    hours = calendar.hours(wall(calendar, shift(moment, NOTHING, calendar)).date())
    assert hours is not None
    inside = hours[0] + (hours[1] - hours[0]) * share / 1000
    only_one = delay if abs(delay) < DAY else delay // DAY * DAY
    end = shift(inside, only_one, calendar)
    assume(not changes(calendar, *sorted([inside, end])))
    assert shift(end, -only_one, calendar) == inside


# --- The Variable notify_calendars -----------------------------------------------------------------------------------

WARSAW_OFFICE = {
    "country": "PL",
    "subdivision": None,
    "hours": "08:00-16:00",
    "weekdays": ["monday", "tue", 3],
    "timezone": "Europe/Warsaw",
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, WorkingCalendar("office", ZoneInfo("UTC"))),
        (WARSAW_OFFICE, WorkingCalendar("office", WARSAW, frozenset({1, 2, 3}), time(8), time(16), "PL")),
        ({"country": "SK"}, WorkingCalendar("office", ZoneInfo("Europe/Bratislava"), country="SK")),
        ({"hours": " 7:30 – 15:30"}, WorkingCalendar("office", ZoneInfo("UTC"), start=time(7, 30), end=time(15, 30))),
        (
            {"country": "DE", "subdivision": "BY", "timezone": "Europe/Berlin"},
            WorkingCalendar("office", ZoneInfo("Europe/Berlin"), country="DE", subdivision="BY"),
        ),
    ],
)
def test_registered(given: dict[str, object], expected: WorkingCalendar) -> None:
    """A calendar has what the Variable says; what is left out is Monday to Friday, nine to five, without holidays."""
    text = json.dumps({"office": given})
    assert read_calendars(text, "UTC") == {"office": expected}
    assert calendar_named("office", text, "UTC") == expected


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_countries_are_calendars(text: str) -> None:
    """Each country is a calendar by itself, in the usual zone, whatever the Variable says."""
    assert calendar_named("PL", text, "Europe/Warsaw") == POLAND
    assert calendar_named("US", text, "UTC") == WorkingCalendar("US", ZoneInfo("UTC"), country="US")


def test_all_countries_are_calendars() -> None:
    """Every country of the library can be named by its code of two letters, and its holidays can be counted with."""
    codes = [code for code in holidays.list_supported_countries(include_aliases=False) if len(code) == 2]
    assert len(codes) > 200
    for code in codes:
        assert calendar_named(code, "", "UTC").working_day(date(2026, 7, 15)) in (True, False)


@pytest.mark.parametrize("name", ["", "warsaw", "pl", "POL", "XX", "UK", "NYSE", "Poland", "date", "PL ", "\ud800x"])
def test_unknown_names(name: str) -> None:
    """A name that is none is refused, and the names that there are stand in the error."""
    with pytest.raises(ValueError, match="there are berlin, office, and countries by their ISO 3166 code, such as PL"):
        calendar_named(name, '{"office": {}, "berlin": {}}', "UTC")
    with pytest.raises(ValueError, match="there are countries by their ISO 3166 code, such as PL"):
        calendar_named(name, "", "UTC")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "the whole: Invalid JSON"),
        ("[]", "the whole: Input should be an object"),
        ('{"PL": {}}', "PL: String should match"),
        ('{"a": "PL"}', "a: Input should be an object"),
        ('{"a": {"contry": "PL"}}', "a.contry: Extra inputs"),
        ('{"a": {"country": "pl"}}', "a.country: 'pl' is no country of which holidays are known"),
        ('{"a": {"country": "NYSE"}}', "a.country: 'NYSE' is no country"),
        ('{"a": {"subdivision": "BY"}}', "a: a subdivision is part of a country"),
        (
            '{"a": {"country": "DE", "subdivision": "XX"}}',
            "a: no holidays are known of a subdivision 'XX' of DE; write",
        ),
        (
            '{"a": {"country": "BG", "subdivision": "A"}}',
            "a: no holidays are known of a subdivision 'A' of BG; leave",
        ),
        ('{"a": {"hours": "9 to 5"}}', 'a.hours: must be a beginning and an end, such as "08:00-16:00"'),
        ('{"a": {"hours": 8}}', "a.hours: must be a beginning and an end"),
        ('{"a": {"hours": "08:00-24:00"}}', "a.hours: hour must be in 0..23"),
        ('{"a": {"hours": "22:00-06:00"}}', "a.hours: must end later on the same day than it begins"),
        ('{"a": {"hours": "08:00-08:00"}}', "a.hours: must end later on the same day than it begins"),
        ('{"a": {"weekdays": []}}', "a.weekdays: Frozenset should have at least 1 item"),
        ('{"a": {"weekdays": ["monday", "x"]}}', "a.weekdays.1: 'x' is no day of the week"),
        ('{"a": {"timezone": "CET+1"}}', "a.timezone: 'CET+1' is no time zone"),
    ],
)
def test_a_broken_variable(text: str, problem: str) -> None:
    """A Variable that cannot be used names itself, the place, what is wrong and an example that can be used."""
    with pytest.raises(ConfigurationError) as caught:
        calendar_named("PL", text, "UTC")
    message = str(caught.value)
    assert message.startswith(f"The Variable notify_calendars cannot be used: {problem}")
    example = message.partition("for example, ")[2].removesuffix(" (Admin → Variables).")
    assert calendar_named("warsaw", example, "UTC").zone == WARSAW


@pytest.mark.parametrize(
    ("country", "zone"), [("PL", "Europe/Warsaw"), ("DE", "Europe/Berlin"), ("JP", "Asia/Tokyo"), ("US", "UTC")]
)
def test_zone_of_a_country(country: str, zone: str) -> None:
    """A country whose clocks all agree has its own time; one with several has the time that is set."""
    assert calendar_named(country, "", "UTC").zone == ZoneInfo(zone)
