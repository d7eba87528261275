"""When the queue of a sender is empty, held against a model that looks at each message by itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notify.domain import forecast
from notify.domain.forecast import Certainty, Due, Expected, Later, Taken, last_leaves
from notify.domain.limit import WINDOW, bulk_limit

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def every(minutes: int, first: datetime = NOON) -> list[datetime]:
    """Runs in that rhythm, more than are played through."""
    return list(islice((first + number * minutes * MINUTE for number in count()), forecast.MOST_RUNS + 100))


def at(minutes: int) -> Expected:
    return Expected(NOON + minutes * MINUTE)


def one_by_one(
    limit: int, taken: list[Taken], due: Due, runs: list[datetime], later: Sequence[Later] = ()
) -> datetime | None:
    """The same, token by token: when the last message leaves, None where these runs are too few."""
    tokens = [(one.until, number < one.bulk) for one in taken for number in range(one.total)]
    queue = [False] * due.first + [True] * due.bulk
    wanted = any(one.bulk for one in (due, *(one.due for one in later)))
    for run in runs:
        come = [one.due for one in later if one.at <= run]
        later = [one for one in later if one.at > run]
        queue = sorted(queue + [bulk for one in come for bulk in [False] * one.first + [True] * one.bulk])
        tokens = [(until, bulk) for until, bulk in tokens if until > run]
        left = []
        for bulk in queue:
            mine = sum(one for _, one in tokens)
            if len(tokens) < limit and not (bulk and mine >= bulk_limit(limit)):
                tokens.append((run + WINDOW + timedelta(seconds=1), bulk))
            else:
                left.append(bulk)
        queue = left
        if (wanted not in queue) and not any(one.due.bulk if wanted else one.due.first for one in later):
            return run
    return None


@st.composite
def used(draw: st.DrawFn) -> list[Taken]:
    """What counts already, leaving within the hour to come."""
    minutes = sorted(draw(st.lists(st.integers(1, 60), max_size=5)))
    totals = [draw(st.integers(1, 6)) for _ in minutes]
    return [
        Taken(NOON + minute * MINUTE, total, draw(st.integers(0, total)))
        for minute, total in zip(minutes, totals, strict=True)
    ]


DUE = st.builds(Due, st.integers(0, 25), st.integers(0, 25))
RUNS = st.builds(
    lambda minutes, first: every(minutes, NOON + first * MINUTE)[:300],
    st.sampled_from([1, 3, 7, 20, 60, 90]),
    st.integers(0, 30),
)


@given(st.integers(1, 20), used(), DUE, RUNS)
def test_as_one_by_one(limit: int, taken: list[Taken], due: Due, runs: list[datetime]) -> None:
    """Whatever waits, counts and runs: the last message leaves when it does if each is looked at by itself."""
    found = last_leaves(limit, taken, due, runs)
    expected = one_by_one(limit, taken, due, runs)
    if due.total and expected:
        assert found == Expected(expected)
    else:
        assert found is None or found.certainty is Certainty.ABOUT


@st.composite
def coming(draw: st.DrawFn) -> list[Later]:
    """What is due within two days."""
    minutes = sorted(draw(st.lists(st.integers(1, 2_880), max_size=5)))
    return [Later(NOON + minute * MINUTE, Due(draw(st.integers(0, 9)), draw(st.integers(0, 9)))) for minute in minutes]


@given(st.integers(1, 20), used(), DUE, RUNS, coming())
def test_later_as_one_by_one(
    limit: int, taken: list[Taken], due: Due, runs: list[datetime], later: list[Later]
) -> None:
    """Likewise where some is due only later: the last leaves, of bulk the last bulk, whatever comes in between."""
    found = last_leaves(limit, taken, due, runs, later=later)
    expected = one_by_one(limit, taken, due, runs, later)
    if not (due.total or sum(one.due.total for one in later)):
        assert found is None
    elif expected:
        assert found == Expected(expected)
    else:
        assert found is None or found.certainty is Certainty.ABOUT


def test_after_runs_with_nothing_to_do() -> None:
    """Runs with nothing to do are no reason to play no further: what is due in four days leaves in four days."""
    later = [Later(NOON + timedelta(days=4), Due(0, 1))]
    runs = (NOON + number * 3 * MINUTE for number in count())
    assert last_leaves(10, [], Due(1), runs, later=later) == Expected(later[0].at)


@pytest.mark.parametrize("limit", [-1, 50])
def test_after_a_long_time_in_which_nothing_is_due(limit: int) -> None:
    """What is due in half a year is told from the pace: not before, and as long after as its size takes."""
    later = [Later(NOON + timedelta(days=180), Due(0, 400))]
    found = last_leaves(limit, [], Due(1), (NOON + number * 3 * MINUTE for number in count()), later=later)
    assert found
    assert found.certainty is Certainty.ABOUT
    took = found.at - later[0].at
    assert timedelta(0) <= took <= timedelta(hours=11)
    assert (took >= timedelta(hours=9)) is (limit > 0)


@given(st.integers(1, 20), used(), DUE, RUNS)
def test_places(limit: int, taken: list[Taken], due: Due, runs: list[datetime]) -> None:
    """Nobody leaves before those in front of them, and bulk not before urgent and normal messages."""
    places = [Due(place) for place in range(1, due.first + 1)]
    places += [Due(due.first, place) for place in range(1, due.bulk + 1)]
    moments = [found.at for place in places if (found := last_leaves(limit, taken, place, runs))]
    assert moments == sorted(moments)


@settings(max_examples=50)
@given(st.integers(1, 50), used(), st.integers(1, 100), st.booleans(), st.sampled_from([1, 3, 10, 45]))
def test_by_pace(limit: int, taken: list[Taken], windows: int, bulk: bool, minutes: int) -> None:
    """What is told from the pace is off by no more than a tenth of the time that it takes, and two windows."""
    size = limit * windows
    due = Due(0, size) if bulk else Due(size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast, "MOST_RUNS", 200)
        patch.setattr(forecast, "HORIZON", timedelta(days=9999))
        found = last_leaves(limit, taken, due, every(minutes))
        patch.setattr(forecast, "MOST_RUNS", 1_000_000)
        played = last_leaves(limit, taken, due, (NOON + number * minutes * MINUTE for number in count()))
    assert found
    assert played
    assert played.certainty is Certainty.AT
    assert abs(found.at - played.at) <= (played.at - NOON) / 10 + 2 * WINDOW


def test_first_and_then_bulk_by_pace() -> None:
    """Where both wait for long, bulk is told from its share: it may use 80 of 100 slots, and so takes longer."""
    due = Due(100_000, 80_000)
    found = last_leaves(100, [], due, every(3))
    assert found
    assert found.certainty is Certainty.ABOUT
    hours = (found.at - NOON) / (63 * MINUTE)  # what leaves at noon counts until a second past one: 13:03 takes over
    assert hours == pytest.approx(2_000, rel=0.02)


@pytest.mark.parametrize(
    ("limit", "taken", "due", "expected"),
    [
        pytest.param(100, [], Due(100), at(0), id="all at once"),
        pytest.param(100, [], Due(250), at(126), id="three windows, each closed by a run of three minutes"),
        pytest.param(10, [], Due(0, 20), at(126), id="bulk leaves 8 by 8"),
        pytest.param(10, [], Due(2, 8), at(0), id="bulk and others fill the window"),
        pytest.param(10, [], Due(3, 8), at(63), id="one too many"),
        pytest.param(10, [Taken(NOON + 7 * MINUTE, 10)], Due(1), at(9), id="the run after a slot is free"),
        pytest.param(10, [Taken(NOON + 6 * MINUTE, 10)], Due(1), at(6), id="a slot that is free just then"),
        pytest.param(10, [Taken(NOON + 6 * MINUTE, 8, 8)], Due(0, 1), at(6), id="bulk waits for its share"),
        pytest.param(10, [Taken(NOON + 6 * MINUTE, 30)], Due(1), at(6), id="the limit was lowered"),
        pytest.param(-1, [], Due(1_000_000), at(0), id="no limit"),
        pytest.param(0, [], Due(1), None, id="no slots"),
        pytest.param(5, [], Due(0), None, id="nothing waits"),
    ],
)
def test_examples(limit: int, taken: list[Taken], due: Due, expected: Expected | None) -> None:
    """With a run every three minutes from noon on."""
    assert last_leaves(limit, taken, due, every(3)) == expected


def test_no_runs() -> None:
    """Where nothing runs, nobody can tell."""
    assert last_leaves(5, [], Due(1), []) is None


@pytest.mark.parametrize("minutes", [60 * 24 * 300, 3])
def test_not_within_a_year(minutes: int) -> None:
    """What is more than a year away is not told, be it by the runs or by their pace."""
    runs = (NOON + number * minutes * MINUTE for number in count())
    assert last_leaves(1, [], Due(20_000), runs) is None


def test_a_million_is_bounded() -> None:
    """However much waits, no more than so many runs are looked at."""
    asked = iter(every(1))
    assert last_leaves(3_000, [], Due(1_000_000), asked)
    assert sum(1 for _ in asked) == 100
