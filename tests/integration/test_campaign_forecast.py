"""When a campaign is over, held against what runs do: the clock is moved on, and the queue drained, run by run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

import pytest
from sqlalchemy.engine import Engine

from notify.channels.memory import MemoryChannel
from notify.domain.forecast import Certainty, Expected
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import campaigns, drains, forecast, outbox
from tests.integration.test_plans import FILL, Plans
from tests.mailing import SENDER, Mailing, csv_of

MINUTE = timedelta(minutes=1)

#: From one run of Notifications to the next; no multiple of it is about an hour.
RHYTHM = 19 * MINUTE

_MOVE_ON = """
    update notify.attempts set begun_at = begun_at - :by, ended_at = ended_at - :by;
    update notify.messages set not_before = not_before - :by;
    update notify.campaigns set send_after = send_after - :by;
"""


@pytest.fixture
def mailing(engine: Engine, hand_over_settings: HandOverSettings) -> Mailing:
    """Somebody who writes campaigns."""
    return Mailing(engine, hand_over_settings)


def expected(mailing: Mailing, number: int, rhythm: timedelta = RHYTHM) -> Expected | None:
    """When the campaign is over, as it is told; the next run comes right now."""
    with mailing.engine.connect() as connection:
        now = outbox.now(connection)
        return forecast.of_campaign(connection, campaigns.read(connection, number), SENDER, runs(now, rhythm))


def runs(now: datetime, rhythm: timedelta = RHYTHM) -> Iterator[datetime]:
    return (now + place * rhythm for place in count())


def minutes(mailing: Mailing, number: int) -> float | None:
    """The same in minutes from now, to the rhythm of the runs."""
    with mailing.engine.connect() as connection:
        now = outbox.now(connection)
    found = expected(mailing, number)
    if found is None:
        return None
    assert found.certainty is Certainty.AT
    return round((found.at - now) / MINUTE)


def played(mailing: Mailing, number: int, limit: int) -> float:
    """The minutes until the last of a campaign's messages has left, run by run."""
    channel = MemoryChannel()
    for place in range(200):
        mailing.drain(channel, limit=limit)
        if not mailing.progress(number).waiting:
            return place * RHYTHM / MINUTE
        for statement in _MOVE_ON.split(";")[:-1]:
            mailing.do(statement, by=RHYTHM)
    raise AssertionError("it does not come to an end")


def queue(mailing: Mailing, size: int, priority: str, **fields: object) -> None:
    """Hand messages over that have nothing to do with the campaign."""
    given = {"subject": "Hi", "message": "Hello", "priority": priority, **fields}
    with mailing.engine.begin() as connection:
        for place in range(size):
            hand_over(connection, {"recipient": f"q{place}@example.com", **given}, mailing.settings)


def set_limit(mailing: Mailing, limit: int) -> None:
    with mailing.engine.begin() as connection:
        drains.end(connection, drains.start(connection, SENDER, limit, worker="host:1"), "test")


@pytest.mark.parametrize("limit", [3, 10, 40])
@pytest.mark.parametrize("later", [0, 50])
def test_as_it_comes(mailing: Mailing, limit: int, later: int) -> None:
    """A campaign is over when it was told to be, whatever stands before it, behind it, and comes in between."""
    set_limit(mailing, limit)
    queue(mailing, 6, "bulk")
    number = mailing.write(csv=csv_of(15))
    mailing.generate(number)
    [[after]] = mailing.rows("select now() + make_interval(mins => :later)", later=later)
    mailing.tell("send", number, send_after=after if later else None)
    queue(mailing, 4, "normal"), queue(mailing, 2, "urgent"), queue(mailing, 5, "bulk")
    queue(mailing, 3, "normal", send_after="PT30M")
    told = minutes(mailing, number)
    assert told == played(mailing, number, limit)
    assert minutes(mailing, number) is None  # it is over


def test_for_the_same_moment(mailing: Mailing) -> None:
    """Of two campaigns for the same moment the first is over before the second, which stands behind it."""
    set_limit(mailing, 10)
    [[later]] = mailing.rows("select now() + interval '30 minutes'")
    numbers = [mailing.write(csv=csv_of(8, first=first)) for first in (1, 9)]
    for number in numbers:
        mailing.generate(number)
        mailing.tell("send", number, send_after=later)
    first, second = numbers
    told = minutes(mailing, first), minutes(mailing, second)
    assert told == (38, 38 + 76)
    assert played(mailing, first, 10) == 38


def test_as_if_sent_now(mailing: Mailing) -> None:
    """Of one that is generated the moment is told that it would have if it were sent now."""
    set_limit(mailing, 5)
    queue(mailing, 6, "bulk")
    number = mailing.write(csv=csv_of(10))
    mailing.generate(number)
    told = minutes(mailing, number)
    assert told
    mailing.tell("send", number)
    assert minutes(mailing, number) == told == played(mailing, number, 5)


def test_what_has_not_followed_yet(mailing: Mailing) -> None:
    """What a campaign still holds that is being sent counts as what is in the queue, from its time on."""
    set_limit(mailing, 5)
    number = mailing.write(csv=csv_of(10))
    mailing.generate(number)
    [[later]] = mailing.rows("select now() + interval '90 minutes'")
    mailing.do("update notify.campaigns set status = 'sending', send_after = :later", later=later)
    told = minutes(mailing, number)
    mailing.follow(number)
    assert minutes(mailing, number) == told == 95 + 2 * 76


def test_parts(mailing: Mailing) -> None:
    """Messages count their parts, as they do against the limit."""
    set_limit(mailing, 10)
    number = mailing.write(csv=csv_of(8))
    mailing.generate(number)
    mailing.do("update notify.messages set parts = 2")
    told = minutes(mailing, number)
    mailing.tell("send", number)
    assert minutes(mailing, number) == told == played(mailing, number, 10) == 76


def test_what_a_person_holds(mailing: Mailing) -> None:
    """What a person holds leaves when that person wants; it is nothing to wait for."""
    set_limit(mailing, 5)
    number = mailing.write(csv=csv_of(8))
    mailing.generate(number)
    mailing.tell("send", number)
    for [held] in mailing.rows("select id from notify.messages order by id limit 4"):
        with mailing.engine.begin() as connection:
            outbox.hold(connection, held)
    assert minutes(mailing, number) == 0
    mailing.drain(MemoryChannel())
    assert expected(mailing, number) is None


@pytest.mark.parametrize(("limit", "told"), [(0, False), (-1, True)])
def test_no_slots_and_no_limit(mailing: Mailing, limit: int, told: bool) -> None:
    """A pool without slots, and nobody can tell; without a limit it is over with the next run."""
    set_limit(mailing, limit)
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    assert minutes(mailing, number) == (0 if told else None)


def test_nothing_made(mailing: Mailing) -> None:
    """Of a draft, of which nothing is made, nothing is told."""
    assert expected(mailing, mailing.write(csv=csv_of(3))) is None


def test_beyond(mailing: Mailing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more stands before it than is counted, the moment is one after which it is over."""
    set_limit(mailing, 5)
    number = mailing.write(csv=csv_of(10))
    mailing.generate(number)
    mailing.tell("send", number)
    monkeypatch.setattr(forecast, "LOOK_AHEAD", 6)
    found = expected(mailing, number)
    assert found
    assert found.certainty is Certainty.AFTER


def test_it_reads_no_history(mailing: Mailing) -> None:
    """However long register and queue are, no table is read from its beginning."""
    with mailing.engine.begin() as filling:
        filling.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
    number = mailing.write(csv=csv_of(3))
    mailing.generate(number)
    mailing.tell("send", number)
    with mailing.engine.connect() as connection:
        plans = Plans(mailing.engine, connection)
        assert expected(mailing, number)
        slow = plans.reads(["messages", "attempts", "drains"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())
