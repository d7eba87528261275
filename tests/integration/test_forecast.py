"""The forecast of a real queue: what of the database it goes by, and that it costs little."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.channels.memory import MemoryChannel
from notify.domain.forecast import Certainty, Expected
from notify.drain import Drainer
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import drains, forecast, limits, outbox, senders
from tests.integration.test_plans import FILL, Plans

SENDER = "smtp_default"
MINUTE = timedelta(minutes=1)

#: How many, and with what priority; their numbers.
Queue = Callable[..., list[int]]


@pytest.fixture
def queue(connection: Connection, hand_over_settings: HandOverSettings) -> Queue:
    """Hand messages over, one moment after the other, and commit."""

    def call(size: int, priority: str = "normal", **fields: Any) -> list[int]:
        numbers = []
        for _ in range(size):
            given = {"recipient": "anna@example.com", "subject": "Hi", "message": "Hello", "priority": priority}
            numbers += [one.id for one in hand_over(connection, given | fields, hand_over_settings).messages]
            connection.commit()
        return numbers

    return call


@pytest.fixture
def limited(engine: Engine, connection: Connection, queue: Queue) -> datetime:
    """A limit of five, four of which were sent, a bulk one among them: 50, 40, 30 and 20 minutes ago; now."""
    queue(3), queue(1, "bulk")
    Drainer(engine, MemoryChannel(), SENDER, limit=5).run()
    connection.execute(
        sa.text("""
            update notify.attempts a set ended_at = now() - (60 - 10 * place) * interval '1 minute',
                   begun_at = now() - interval '1 day'
            from (select id, row_number() over (order by id) as place from notify.attempts) numbered
            where numbered.id = a.id
        """)
    )
    now = outbox.now(connection)
    connection.commit()
    return now


def runs(now: datetime) -> Any:
    """Every three minutes from now on."""
    return (now + number * 3 * MINUTE for number in count())


def at(found: Expected | None, now: datetime) -> float:
    """Minutes from now, to the rhythm of the runs."""
    assert found
    assert found.certainty is Certainty.AT
    return round((found.at - now) / MINUTE)


def test_places(connection: Connection, queue: Queue, limited: datetime) -> None:
    """Each message is told when it leaves: urgent, then normal, then bulk by its share, as slots come free."""
    bulk, normal, urgent = queue(2, "bulk"), queue(2), queue(2, "urgent")
    numbers = urgent + normal + bulk
    found = [at(forecast.of_message(connection, number, runs(limited)), limited) for number in numbers]
    assert found == [0, 12, 21, 30, 42, 63]


def test_empty(connection: Connection, queue: Queue, limited: datetime) -> None:
    """The queue is empty when the last of it leaves."""
    [*_, last] = queue(2) + queue(2, "bulk")
    standing = senders.standing(connection, SENDER)
    assert (standing.queue.due, standing.queue.due_bulk) == (4, 2)
    found = forecast.of_sender(connection, standing, runs(limited))
    assert found == forecast.of_message(connection, last, runs(limited))
    assert at(found, limited) == 30
    assert forecast.of_sender(connection, standing, ()) is None


def test_what_counts(connection: Connection, limited: datetime) -> None:
    """What counts against the limit is told with when it leaves the window; together it is what the claim counts."""
    found = limits.taken(connection, SENDER)
    assert [(round((one.until - limited) / MINUTE), one.total, one.bulk) for one in found] == [
        (10, 1, 0),
        (20, 1, 0),
        (30, 1, 0),
        (40, 1, 1),
    ]
    connection.execute(sa.text("update notify.attempts set outcome = 'sender_fault' where bulk"))
    found = limits.taken(connection, SENDER)
    used = limits.usage(connection, SENDER)
    assert (used.total, used.bulk) == (3, 0)
    assert (sum(one.total for one in found), sum(one.bulk for one in found)) == (used.total, used.bulk)


def test_what_is_not_due(connection: Connection, queue: Queue, limited: datetime) -> None:
    """What waits for its time, is held or was sent is told nothing; it stands in nobody's way either."""
    [later] = queue(1, "urgent", send_after="2041-05-06T07:08:00Z")
    [held] = queue(1, "urgent")
    outbox.hold(connection, held)
    [mine] = queue(1)
    assert at(forecast.of_message(connection, mine, runs(limited)), limited) == 0
    for number in (later, held, 1, 4711):
        assert forecast.of_message(connection, number, runs(limited)) is None


def test_no_limit_and_no_slots(connection: Connection, queue: Queue) -> None:
    """Without a limit, everything leaves with the next run; a pool without slots, and nobody can tell."""
    [*_, last] = queue(3)
    now = outbox.now(connection)
    for limit, expected in ((-1, now), (0, None)):
        connection.execute(
            sa.text("""
                insert into notify.senders (sender, hourly_limit) values (:sender, :limit)
                on conflict (sender) do update set hourly_limit = :limit
            """),
            {"sender": SENDER, "limit": limit},
        )
        found = forecast.of_message(connection, last, runs(now))
        assert (found.at if found else None) == expected
        assert forecast.of_sender(connection, senders.standing(connection, SENDER), runs(now)) == found


def test_beyond(connection: Connection, queue: Queue, limited: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more is in front than is looked at, the moment is told as one after which it leaves."""
    numbers = queue(12)
    exact = forecast.of_message(connection, numbers[3], runs(limited))
    monkeypatch.setattr(forecast, "LOOK_AHEAD", 3)
    found = forecast.of_message(connection, numbers[11], runs(limited))
    assert exact
    assert found == Expected(exact.at, Certainty.AFTER)
    before = forecast.of_message(connection, numbers[2], runs(limited))
    assert before
    assert before.certainty is Certainty.AT


def test_a_run_is_at_it(connection: Connection, queue: Queue, limited: datetime) -> None:
    """A run that is at the queue now is one that takes from it."""
    [number] = queue(1)
    tomorrow = [limited + timedelta(days=1)]
    assert at(forecast.of_message(connection, number, tomorrow), limited) == 24 * 60
    drains.start(connection, SENDER, 5, worker="host:1")
    assert at(forecast.of_message(connection, number, tomorrow), limited) == 0


def test_it_reads_no_history(connection: Connection, engine: Engine) -> None:
    """However long register and queue are, no table is read from its beginning."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
        last = filling.scalar(sa.text("select max(id) from notify.messages"))
    plans = Plans(engine, connection)
    with engine.connect() as asked:
        now = outbox.now(asked)
        assert forecast.of_message(asked, last, runs(now))
        assert forecast.of_sender(asked, senders.standing(asked, SENDER), runs(now))
    assert len(plans.found) >= 10
    slow = plans.reads(["messages", "attempts", "drains"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())
