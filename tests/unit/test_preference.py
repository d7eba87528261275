"""What a person may say about how often and when they want to hear of events, and what then applies."""

from __future__ import annotations

from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notify.domain.preference import (
    AT_ONCE,
    DAY_ENDS,
    FIRST_WEEKDAY,
    WEEK_BEGINS,
    WEEKDAYS,
    Frequency,
    Preference,
    Quiet,
    Wish,
    wish,
)

FREQUENCIES = st.sampled_from(Frequency)
TIMES = st.times().map(lambda found: found.replace(second=0, microsecond=0))
PAIRS = st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1])
NIGHT = {"quiet_from": time(22), "quiet_until": time(7)}


@st.composite
def preferences(draw: st.DrawFn) -> Preference:
    """Anything that a person may say, nothing at all among it."""
    quiet = draw(st.none() | PAIRS) or (None, None)
    return Preference(
        frequency=draw(st.none() | FREQUENCIES),
        hour=draw(st.none() | TIMES),
        weekday=draw(st.none() | st.integers(1, 7)),
        quiet_from=quiet[0],
        quiet_until=quiet[1],
    )


# --- What may be said ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "number"),
    [
        (1, 1),
        (7, 7),
        ("1", 1),
        (" 7 ", 7),
        ("monday", 1),
        ("Sunday", 7),
        ("TUE", 2),
        ("thu", 4),
        (" sa ", 6),
        ("we", 3),
    ],
)
def test_weekdays(said: object, number: int) -> None:
    """A day of the week is its number from Monday, or its English name or the beginning of that."""
    assert Preference.model_validate({"weekday": said}).weekday == number


@given(st.sampled_from(WEEKDAYS), st.integers(2, 9))
def test_weekdays_by_their_beginning(name: str, length: int) -> None:
    """Two letters of a day's name or more say which day is meant; all seven are different by then."""
    assert Preference.model_validate({"weekday": name[:length]}).weekday == WEEKDAYS.index(name) + 1


@pytest.mark.parametrize(
    "said", [0, 8, -1, "0", "8", "", " ", "m", " m", "t ", "tuesdays", "poniedziałek", "²", 1.5, True]
)
def test_no_weekdays(said: object) -> None:
    """What names no day of the week, or more than one, is refused; so is a truth value, which Python takes for 1."""
    with pytest.raises(ValidationError):
        Preference.model_validate({"weekday": said})


@pytest.mark.parametrize("field", ["hour", "quiet_from", "quiet_until"])
@pytest.mark.parametrize(
    "said", ["18:00:30", "18:00Z", "18:00+02:00", "24:00", "6pm", "18", 18, 3600, time(18, 0, 0, 1)]
)
def test_no_times(field: str, said: object) -> None:
    """A time is hours and minutes on the person's own clock: no seconds, no zone, no number of seconds."""
    with pytest.raises(ValidationError) as caught:
        Preference.model_validate(NIGHT | {field: said})
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


@pytest.mark.parametrize("said", ["25:00", "6", "6pm", "22-7"])
def test_how_to_write_a_time(said: str) -> None:
    """What is no time of the day is refused with one that is."""
    with pytest.raises(ValidationError, match=f"'{said}' is no time of the day; write it as 17:30"):
        Preference.model_validate({"hour": said})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"quiet_from": "22:00"}, "need both"),
        ({"quiet_until": "07:00"}, "need both"),
        ({"quiet_from": "00:00", "quiet_until": "00:00"}, "are the same"),
        ({"frequency": "yearly"}, "frequency"),
        ({"frequncy": "daily"}, "frequncy"),
    ],
)
def test_refused(fields: dict[str, Any], problem: str) -> None:
    """Half of the quiet hours, quiet hours round the clock, another frequency and an unknown field are refused."""
    with pytest.raises(ValidationError, match=problem):
        Preference.model_validate(fields)


@given(preferences())
def test_survives_json(said: Preference) -> None:
    """A preference that went through JSON is the same one."""
    assert Preference.model_validate_json(said.model_dump_json()) == said
    assert Preference.model_validate_json(said.model_dump_json(exclude_none=True)) == said


# --- Quiet hours -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quiet", "wall", "covered"),
    [
        (Quiet(time(13), time(14)), time(12, 59), False),
        (Quiet(time(13), time(14)), time(13), True),
        (Quiet(time(13), time(14)), time(13, 59, 59), True),
        (Quiet(time(13), time(14)), time(14), False),
        (Quiet(time(22), time(7)), time(21, 59, 59), False),
        (Quiet(time(22), time(7)), time(22), True),
        (Quiet(time(22), time(7)), time(0), True),
        (Quiet(time(22), time(7)), time(6, 59), True),
        (Quiet(time(22), time(7)), time(7), False),
        (Quiet(time(0), time(7)), time(0), True),
        (Quiet(time(22), time(0)), time(0), False),
    ],
)
def test_quiet(quiet: Quiet, wall: time, covered: bool) -> None:
    """Quiet hours begin with their first minute, run across midnight, and are over at their end."""
    assert quiet.covers(wall) is covered


@given(PAIRS, st.times())
def test_quiet_or_not(pair: tuple[time, time], wall: time) -> None:
    """At any time either quiet hours or those from their end to their beginning apply, never both."""
    start, until = pair
    assert Quiet(start, until).covers(wall) is not Quiet(until, start).covers(wall)


# --- What applies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "general", "expected"),
    [
        (None, None, Wish(Frequency.DAILY, DAY_ENDS, FIRST_WEEKDAY)),
        (Preference(), Preference(), Wish(Frequency.DAILY, DAY_ENDS, FIRST_WEEKDAY)),
        ({"frequency": "never"}, {"frequency": "hourly"}, Wish(Frequency.NEVER)),
        (None, {"frequency": "hourly"}, Wish(Frequency.HOURLY)),
        ({"hour": "06:30"}, {"frequency": "daily", "hour": "17:00"}, Wish(Frequency.DAILY, time(6, 30))),
        ({"hour": "00:00"}, {"hour": "17:00"}, Wish(Frequency.DAILY, time(0))),
        ({"frequency": "weekly"}, None, Wish(Frequency.WEEKLY, WEEK_BEGINS, FIRST_WEEKDAY)),
        ({"frequency": "weekly"}, {"weekday": 5}, Wish(Frequency.WEEKLY, WEEK_BEGINS, 5)),
        ({"weekday": 2}, {"frequency": "weekly", "weekday": 5}, Wish(Frequency.WEEKLY, WEEK_BEGINS, 2)),
        (None, NIGHT, Wish(Frequency.DAILY, quiet=Quiet(time(22), time(7)))),
        (
            {"quiet_from": time(0), "quiet_until": time(5)},
            NIGHT,
            Wish(Frequency.DAILY, quiet=Quiet(time(0), time(5))),
        ),
    ],
)
def test_the_nearest_word_applies(own: Any, general: Any, expected: Wish) -> None:
    """Field by field, what was said of the kind applies, else what was said of all kinds, else the default."""
    said = [None if one is None else Preference.model_validate(one) for one in (own, general)]
    assert wish(tuple(Frequency), Frequency.DAILY, *said) == expected


def test_what_cannot_be_chosen_counts_as_not_said() -> None:
    """A frequency that the kind does not leave to people is passed over, its other fields are not."""
    choices = (Frequency.HOURLY, Frequency.DAILY)
    weekly = Preference(frequency=Frequency.WEEKLY, hour=time(9))
    daily = Preference(frequency=Frequency.DAILY)
    assert wish(choices, Frequency.HOURLY, weekly, daily) == Wish(Frequency.DAILY, time(9))
    assert wish(choices, Frequency.HOURLY, None, weekly) == Wish(Frequency.HOURLY, time(9))


@given(preferences(), preferences(), FREQUENCIES)
def test_mandatory_asks_nobody(own: Preference, general: Preference, default: Frequency) -> None:
    """A kind that leaves nothing to people is always immediate, quiet hours or not."""
    assert wish((), default, own, general) == AT_ONCE == Wish(Frequency.IMMEDIATELY)


@given(st.sets(FREQUENCIES, min_size=1), st.data(), st.none() | preferences(), st.none() | preferences())
def test_only_a_choice_applies(
    choices: set[Frequency], data: st.DataObject, own: Preference | None, general: Preference | None
) -> None:
    """Whatever people say, what applies is a choice of the kind, with quiet hours that somebody wished as they are."""
    default = data.draw(st.sampled_from(sorted(choices)))
    found = wish(choices, default, own, general)
    assert found.frequency in choices
    pairs = [(one.quiet_from, one.quiet_until) for one in (own, general) if one]
    assert (found.quiet and (found.quiet.start, found.quiet.until)) in [*pairs, None]
    assert (found.quiet is None) == all(pair == (None, None) for pair in pairs)


def test_the_usual_hours() -> None:
    """A day's mail comes at 18:00 and a week's on Monday at 08:00 unless the person says otherwise."""
    assert wish(tuple(Frequency), Frequency.DAILY, None, None).hour == time(18)
    weekly = wish(tuple(Frequency), Frequency.WEEKLY, None, None)
    assert (weekly.weekday, weekly.hour) == (1, time(8))
