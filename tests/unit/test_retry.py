"""When a message that was refused for now is tried again."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.retry import FIRST_WAITS, GIVE_UP_AFTER, JITTER, LATER_WAIT, next_wait, wait_before

TRIES = st.integers(min_value=1, max_value=1000)
SPREADS = st.floats(min_value=0, max_value=1, exclude_max=True)
AGES = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10))


@pytest.mark.parametrize(("try_number", "minutes"), [(1, 1), (2, 5), (3, 15), (4, 60), (5, 240), (6, 240), (50, 240)])
def test_waits_are_those_documented(try_number: int, minutes: int) -> None:
    """One, five, fifteen, sixty minutes, then every four hours."""
    assert wait_before(try_number, spread=0) == timedelta(minutes=minutes)


@given(TRIES)
def test_waits_never_shrink(try_number: int) -> None:
    """Without jitter, a further refusal never shortens the wait."""
    assert wait_before(try_number, spread=0) <= wait_before(try_number + 1, spread=0)


@given(TRIES, SPREADS)
def test_jitter_only_stretches(try_number: int, spread: float) -> None:
    """Jitter makes a wait at most a tenth longer and never shorter."""
    plain = wait_before(try_number, spread=0)
    assert plain <= wait_before(try_number, spread=spread) <= plain * (1 + JITTER)


@given(TRIES)
def test_random_jitter_keeps_the_same_bounds(try_number: int) -> None:
    """The random spread that production uses obeys the same bounds."""
    plain = wait_before(try_number, spread=0)
    assert plain <= wait_before(try_number) <= plain * (1 + JITTER)


@given(TRIES, AGES, SPREADS)
def test_no_try_beyond_the_end(try_number: int, age: timedelta, spread: float) -> None:
    """No next try lies further than 72 hours from the first."""
    wait = next_wait(try_number, age, spread=spread)
    assert wait is None or age + wait <= GIVE_UP_AFTER


@given(TRIES, AGES, SPREADS)
def test_given_up_only_at_the_end(try_number: int, age: timedelta, spread: float) -> None:
    """A message is given up only when its next try would come too late, never because of the number of tries."""
    wait = wait_before(try_number, spread=spread)
    assert next_wait(try_number, age, spread=spread) == (wait if age + wait <= GIVE_UP_AFTER else None)


@given(st.lists(SPREADS, min_size=40, max_size=40))
def test_whole_life_of_a_message(spreads: list[float]) -> None:
    """A message that is always refused is tried again and again for nearly 72 hours, then given up."""
    age, moments = timedelta(0), []
    for try_number, spread in enumerate(spreads, start=1):
        wait = next_wait(try_number, age, spread=spread)
        if wait is None:
            break
        age += wait
        moments.append(age)
    else:
        pytest.fail("it was never given up")
    assert all(before < after for before, after in pairwise(moments))
    assert GIVE_UP_AFTER - LATER_WAIT * (1 + JITTER) < moments[-1] <= GIVE_UP_AFTER
    assert len(moments) > len(FIRST_WAITS)


@pytest.mark.parametrize("try_number", [0, -1])
def test_tries_are_counted_from_one(try_number: int) -> None:
    """A wait before any try is a mistake of the caller."""
    with pytest.raises(ValueError, match="from 1"):
        wait_before(try_number)
