"""What an admin may write into a schedule Variable, held against what Airflow makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

import pendulum
import pytest
from airflow.sdk import CronTriggerTimetable as DeclaredCron
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable, DeltaTriggerTimetable
from hypothesis import example, given, settings
from hypothesis import strategies as st

from notify.domain.schedule import LONGEST, PRESETS, SHORTEST, Schedule, moments, parse_schedule
from notify.exceptions import InvalidSchedule

NOW = pendulum.datetime(2026, 3, 28, 12, 34, tz="UTC")

NUMBERS = st.integers(min_value=0, max_value=70).map(str)
WORDS = st.sampled_from(
    ["*", "?", "L", "l3", "W", "15W", "H", "R", "r(1-5)", "mon", "FRI", "jan", "1#5", "5#6", "L5", "²", ""]
)
ATOMS = NUMBERS | WORDS
STEPS = st.tuples(ATOMS, st.sampled_from(["/", "-", "#", ","]), ATOMS).map("".join)
FIELDS = st.lists(ATOMS | STEPS, min_size=1, max_size=3).map(",".join)
#: What looks like a cron expression, and mostly is none.
CRONS = st.lists(FIELDS, min_size=4, max_size=6).map(" ".join)
#: What mostly is one, days that never come among them.
DAYS = st.tuples(
    st.sampled_from(["*", "*/3", "0", "59", "1,31", "5-1"]),
    st.sampled_from(["*", "0", "23", "2", "*/5"]),
    st.sampled_from(["*", "?", "1", "29", "30", "31", "L", "15W", "30,31"]),
    st.sampled_from(["*", "2", "2,4,6", "feb", "12"]),
    st.sampled_from(["*", "?", "0", "7", "mon-fri", "1#5", "L5"]),
).map(" ".join)
DURATIONS = st.text("PTYMWDHS0123456789.,-+", max_size=12).map("P{}".format)
ANYTHING = st.text(max_size=30) | CRONS | DAYS | DURATIONS | st.sampled_from(sorted(PRESETS))


def next_run(schedule: Schedule, zone: str = "UTC") -> pendulum.DateTime:
    """When Airflow would start the first run after a run of just now."""
    timetable = (
        DeltaTriggerTimetable(schedule.every)
        if schedule.every is not None
        else CronTriggerTimetable(schedule.cron or "", timezone=zone)
    )
    assert timetable.description is not None
    info = timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval.exact(NOW),
        restriction=TimeRestriction(earliest=pendulum.datetime(2026, 1, 1, tz="UTC"), latest=None, catchup=True),
    )
    assert info is not None
    return info.run_after


@settings(max_examples=600, deadline=None)
@given(ANYTHING)
@example("0 0 31 2 *")
@example("0 0 31 4,6 *")
@example("R * * * *")
@example("P9999999999999999D")
@example("\u0663 * * * *")
def test_accepted_means_airflow_can_use_it(text: str) -> None:
    """Any text is a schedule that Airflow finds a next run for, or InvalidSchedule; there is nothing between."""
    try:
        schedule = parse_schedule(text)
    except InvalidSchedule:
        return
    assert (schedule.cron is None) != (schedule.every is None)
    if schedule.cron is not None:
        DeclaredCron(schedule.cron, timezone="UTC")
    assert next_run(schedule) > NOW


@settings(max_examples=100, deadline=None)
@given(DAYS, st.sampled_from(["Europe/Warsaw", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]))
def test_any_zone_has_a_next_run(text: str, zone: str) -> None:
    """An accepted cron expression has a next run in any zone, daylight-saving changes included."""
    try:
        schedule = parse_schedule(text)
    except InvalidSchedule:
        return
    assert next_run(schedule, zone) > NOW


def test_airflow_knows_every_zone_that_is_accepted() -> None:
    """Each name that passes for a time zone is one that Airflow's timetable takes."""
    for zone in available_timezones():
        assert next_run(Schedule(cron="30 2 * * *"), zone) > NOW


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("*/3 * * * *", "*/3 * * * *"),
        ("  0 8\t* *  mon-fri\n", "0 8 * * mon-fri"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("@hourly", "0 * * * *"),
        ("@DAILY", "0 0 * * *"),
    ],
)
def test_cron_and_presets(text: str, cron: str) -> None:
    """Cron expressions and presets become five fields, extra blanks and upper case forgiven."""
    assert parse_schedule(text) == Schedule(cron=cron)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_mean_what_airflow_means(preset: str) -> None:
    """A preset is the expression that Airflow itself puts in its place."""
    assert next_run(parse_schedule(preset)) == next_run(Schedule(cron=preset))


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("PT1M", timedelta(minutes=1)),
        ("pt3m", timedelta(minutes=3)),
        ("P1DT12H", timedelta(days=1, hours=12)),
        ("P1W", timedelta(weeks=1)),
        ("P366D", timedelta(days=366)),
    ],
)
def test_durations(text: str, every: timedelta) -> None:
    """ISO 8601 durations are read, from a minute to a year."""
    assert parse_schedule(text) == Schedule(every=every)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=800)))
def test_durations_out_of_range(every: timedelta) -> None:
    """A duration is accepted exactly from a minute to a year."""
    text = f"P{every.days}DT{every.seconds}S"
    whole = timedelta(days=every.days, seconds=every.seconds)
    if SHORTEST <= whole <= LONGEST:
        assert parse_schedule(text).every == whole
    else:
        with pytest.raises(InvalidSchedule, match="out of range"):
            parse_schedule(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "five fields"),
        ("soon", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@once", "@hourly"),
        ("@continuous", "@hourly"),
        ("PT", "PT3M"),
        ("-PT3M", "PT3M"),
        ("PT30S", "PT1M"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 30 2 *", "never comes"),
        ("R R * * *", "Write the time itself"),
    ],
)
def test_error_says_what_would_be_right(text: str, says: str) -> None:
    """What is no schedule, or one that never comes, is refused with words that help."""
    with pytest.raises(InvalidSchedule, match=says):
        parse_schedule(text)


# --- The moments of a schedule ---------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(DAYS | st.sampled_from(["PT3M", "P1D", "@hourly"]), st.sampled_from(["UTC", "Europe/Warsaw", "Asia/Kathmandu"]))
def test_the_next_moment_is_airflows(text: str, zone: str) -> None:
    """The first moment of a schedule is when Airflow makes its next run, and others follow in order.

    (In the night in which the clock changes, Airflow 3.3.2 may be an hour late; hence UTC.)
    """
    try:
        schedule = parse_schedule(text)
    except InvalidSchedule:
        return
    assert next(moments(schedule, ZoneInfo("UTC"), NOW)) == next_run(schedule)
    first, second, third = islice(moments(schedule, ZoneInfo(zone), NOW), 3)
    assert NOW < first < second < third


def test_moments_across_the_change_of_the_clock() -> None:
    """A time of day stays that of the clock on the wall."""
    warsaw = ZoneInfo("Europe/Warsaw")
    start = datetime(2026, 3, 27, 20, tzinfo=UTC)
    found = list(islice(moments(Schedule(cron="0 18 * * *"), warsaw, start), 2))
    assert found == [datetime(2026, 3, 28, 17, tzinfo=UTC), datetime(2026, 3, 29, 16, tzinfo=UTC)]
