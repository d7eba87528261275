"""Which home a notification gets, at the event and when it is looked at again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.due import due_at
from notify.domain.home import BECAUSE, Home, Reason
from notify.domain.kind import BUILT_IN, Kind
from notify.domain.preference import AT_ONCE, Frequency, Quiet, Wish
from notify.domain.routing import OUT_NOW, Addressed, Route, reroute, route

NOON = datetime(2026, 11, 4, 12, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
WARSAW = ZoneInfo("Europe/Warsaw")
NIGHT = Quiet(time(22), time(7))

OPEN = Kind("news", tuple(Frequency), Frequency.IMMEDIATELY, "news")
MANDATORY = BUILT_IN["deadline_exceeded"]

ANNA = Addressed()
STRANGER = Addressed(known=False)

#: What keeps a mail from a recipient, whatever was chosen; the first that holds is the one recorded.
OBSTACLES = [
    ({"acted": True}, Reason.OWN_ACTION),
    ({"active": False}, Reason.INACTIVE),
    ({"reachable": False}, Reason.NO_ADDRESS),
    ({"duplicate": True}, Reason.DUPLICATE),
    ({"suppressed": True}, Reason.SUPPRESSED),
]


def routed(
    recipient: Addressed = ANNA,
    frequency: Frequency = Frequency.IMMEDIATELY,
    *,
    kind: Kind = OPEN,
    moment: datetime = NOON,
    now: datetime = NOON,
    blocked: bool = False,
    quiet: Quiet | None = None,
) -> Route:
    return route(kind, recipient, Wish(frequency, quiet=quiet), WARSAW, moment=moment, now=now, blocked=blocked)


wishes = st.builds(
    Wish,
    st.sampled_from(Frequency),
    st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    st.integers(1, 7),
    st.none() | st.just(NIGHT) | st.just(Quiet(time(12), time(13))),
)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone follows
recipients = st.builds(Addressed, *[st.booleans()] * 6)


# --- At the event ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frequency", "home", "due"),
    [
        ("immediately", Home.MAIL, None),
        ("hourly", Home.WAITING, datetime(2026, 11, 4, 13, tzinfo=UTC)),
        ("daily", Home.WAITING, datetime(2026, 11, 4, 17, tzinfo=UTC)),
        ("weekly", Home.WAITING, datetime(2026, 11, 10, 17, tzinfo=UTC)),
        ("never", Home.REFUSED, None),
    ],
)
def test_frequencies(frequency: str, home: Home, due: datetime | None) -> None:
    """Each frequency leads to the outbox, to the person's time by the clock on their wall, or to the reason why not."""
    found = route(OPEN, ANNA, Wish(Frequency(frequency), weekday=2), WARSAW, moment=NOON, now=NOON, blocked=False)
    assert (found.home, found.due_at) == (home, due)
    assert found.reason is (Reason.NEVER if home is Home.REFUSED else None)


@pytest.mark.parametrize(("flags", "reason"), OBSTACLES)
@pytest.mark.parametrize("frequency", list(Frequency))
@pytest.mark.parametrize("kind", [OPEN, MANDATORY], ids=["open", "mandatory"])
def test_obstacles(flags: dict[str, bool], reason: Reason, frequency: Frequency, kind: Kind) -> None:
    """Own action, inactive, no address, an address told already and suppression hold for every choice and kind."""
    assert routed(Addressed(**flags), frequency, kind=kind) == Route(Home.REFUSED, reason=reason)
    assert routed(Addressed(known=False, **flags), frequency, kind=kind) == Route(Home.REFUSED, reason=reason)


@given(recipients, wishes, moments, moments, st.booleans(), st.sampled_from([OPEN, MANDATORY]))
def test_every_combination(  # noqa: PLR0917 - Hypothesis passes them by position
    recipient: Addressed, wish: Wish, moment: datetime, now: datetime, blocked: bool, kind: Kind
) -> None:
    """Whatever comes together: the first reason that holds is recorded, and nothing is refused without one."""
    obstacles = [reason for flags, reason in OBSTACLES if all(getattr(recipient, n) == v for n, v in flags.items())]
    expected = [*obstacles]
    if not kind.mandatory:
        expected += [Reason.BLOCKED] * blocked
        expected += [Reason.NEVER] * (recipient.known and wish.frequency is Frequency.NEVER)
    found = route(kind, recipient, wish, WARSAW, moment=moment, now=now, blocked=blocked)
    assert found.reason is (expected[0] if expected else None)
    assert (found.home is Home.REFUSED) == bool(expected)
    assert (found.due_at is not None) == (found.home is Home.WAITING)


@given(wishes, moments, moments)
def test_mandatory_kinds_ask_nobody(wish: Wish, moment: datetime, now: datetime) -> None:
    """What is mandatory is a mail at once: frequency, quiet hours and a process that blocks it count for nothing."""
    assert route(MANDATORY, ANNA, wish, WARSAW, moment=moment, now=now, blocked=True) == OUT_NOW


@given(wishes, moments, moments)
def test_strangers_hear_at_once(wish: Wish, moment: datetime, now: datetime) -> None:
    """An outside address has chosen nothing: it is told at once, at night as well."""
    assert route(OPEN, STRANGER, wish, WARSAW, moment=moment, now=now, blocked=False) == OUT_NOW


@pytest.mark.parametrize("recipient", [ANNA, STRANGER])
@pytest.mark.parametrize("frequency", list(Frequency))
def test_blocked(recipient: Addressed, frequency: Frequency) -> None:
    """A process that blocks a kind blocks it for everybody, and that is the reason recorded."""
    assert routed(recipient, frequency, blocked=True) == Route(Home.REFUSED, reason=Reason.BLOCKED)


@given(wishes, moments, moments)
def test_what_is_put_aside_is_due_seen_from_its_event(wish: Wish, moment: datetime, now: datetime) -> None:
    """An hour's, day's and week's mail is due seen from when the event happened, however late it is published."""
    found = route(OPEN, ANNA, wish, WARSAW, moment=moment, now=now, blocked=False)
    if wish.frequency not in {Frequency.IMMEDIATELY, Frequency.NEVER}:
        assert found == Route(Home.WAITING, due_at=due_at(wish, WARSAW, moment))
        assert found.due_at is not None
        assert found.due_at > moment


@pytest.mark.parametrize(("happened", "published"), list(product([3, 12, 23], repeat=2)))
def test_quiet_hours_of_now(happened: int, published: int) -> None:
    """What leaves at once meets the quiet hours of the moment it would leave, not those of when it happened."""
    moment, now = NOON.replace(hour=happened), NOON.replace(day=5, hour=published)
    found = routed(moment=moment, now=now, quiet=NIGHT)
    if published == 12:
        assert found == OUT_NOW
    else:
        over = datetime(2026, 11, 6 if published == 23 else 5, 6, tzinfo=UTC)
        assert found == Route(Home.WAITING, due_at=over)


@pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=UTC), datetime(8999, 12, 31, 23, 59, tzinfo=UTC)])
@pytest.mark.parametrize("frequency", [Frequency.HOURLY, Frequency.DAILY, Frequency.WEEKLY])
def test_at_the_ends_of_time(moment: datetime, frequency: Frequency) -> None:
    """The first and the last moment that an event may have can be put aside in every zone."""
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Warsaw"):
        found = route(OPEN, ANNA, Wish(frequency, quiet=NIGHT), ZoneInfo(zone), moment=moment, now=NOON, blocked=False)
        assert found.home is Home.WAITING


# --- Looked at again -------------------------------------------------------------------------------------------------


@given(recipients, wishes, moments, moments)
def test_looked_at_again(recipient: Addressed, wish: Wish, due: datetime, now: datetime) -> None:
    """Who cannot be reached any more, or wants nothing, has what waits closed with the first reason that holds."""
    found = reroute(recipient, wish, WARSAW, due, now)
    expected = [reason for flags, reason in OBSTACLES if all(getattr(recipient, n) == v for n, v in flags.items())]
    expected += [Reason.NEVER] * (wish.frequency is Frequency.NEVER)
    assert found.reason is (expected[0] if expected else None)
    assert (found.home is Home.REFUSED) == bool(expected)


@given(wishes.filter(lambda one: one.frequency is not Frequency.NEVER), moments, moments)
def test_what_is_due_moves(wish: Wish, due: datetime, now: datetime) -> None:
    """What is due moves, whatever was chosen since: no change makes anything later than it was."""
    found = reroute(ANNA, wish, WARSAW, due, now)
    if due <= now:
        assert found == replace(OUT_NOW, not_before=found.not_before)
    elif found.home is Home.WAITING:
        assert found.due_at is not None
        assert now < found.due_at <= due


@given(wishes.filter(lambda one: one.frequency is not Frequency.NEVER), moments, st.timedeltas(timedelta(0), HOUR))
def test_what_moves_in_quiet_hours(wish: Wish, now: datetime, late: timedelta) -> None:
    """What a run moves within quiet hours leaves when they are over, and everything else at once."""
    found = reroute(ANNA, wish, WARSAW, now - late, now)
    quiet = wish.quiet is not None and wish.quiet.covers(now.astimezone(WARSAW).time())
    assert found.home is Home.MAIL
    assert (found.not_before is not None) == quiet
    if found.not_before and wish.quiet:
        assert found.not_before > now
        assert found.not_before.astimezone(WARSAW).time() == wish.quiet.until


@given(
    wishes.filter(lambda one: one.frequency not in {Frequency.IMMEDIATELY, Frequency.NEVER}),
    moments,
    st.timedeltas(timedelta(seconds=1), timedelta(days=10)),
)
def test_another_frequency_changes_nothing_that_waits(wish: Wish, now: datetime, left: timedelta) -> None:
    """Who chooses hourly, daily or weekly chooses it for what happens from then on: what waits keeps its time."""
    assert reroute(ANNA, wish, WARSAW, now + left, now) == Route(Home.WAITING, due_at=now + left)


@pytest.mark.parametrize(
    ("now", "due", "expected"),
    [
        (NOON, NOON + 6 * HOUR, OUT_NOW),
        (NOON.replace(hour=22), NOON.replace(day=6), Route(Home.WAITING, due_at=datetime(2026, 11, 5, 6, tzinfo=UTC))),
        (NOON.replace(hour=22), NOON.replace(day=5, hour=1), Route(Home.WAITING, due_at=NOON.replace(day=5, hour=1))),
        (
            NOON.replace(hour=22),
            NOON.replace(hour=22),
            Route(Home.MAIL, not_before=datetime(2026, 11, 5, 6, tzinfo=UTC)),
        ),
    ],
)
def test_now_immediately(now: datetime, due: datetime, expected: Route) -> None:
    """Who chooses immediately has what waits moved at once, or after quiet hours, and never later than before."""
    assert reroute(ANNA, replace(AT_ONCE, quiet=NIGHT), WARSAW, due, now) == expected


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_said_in_words(reason: Reason) -> None:
    """Whoever asks why is told in a sentence."""
    assert len(BECAUSE[reason].split()) > 3
