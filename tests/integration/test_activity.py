"""The last day by outcome, on a real PostgreSQL."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.storage import activity
from tests.integration.test_plans import FILL, Plans

HOUR = timedelta(hours=1)

_MESSAGE = """
    insert into notify.senders (sender) values (:sender) on conflict do nothing;
    insert into notify.contents (body) values ('');
    insert into notify.drains (id, sender, worker, hourly_limit, lease_until)
    values ('00000000-0000-0000-0000-000000000001', 'one', 'w', 1, now()) on conflict do nothing;
    insert into notify.messages (message_id, sender, kind, subject, headers, content_id, size)
    select 'm' || max(id), :sender, 'k', 's', '', max(id), 1 from notify.contents;
    insert into notify.attempts (message_id, number, sender, bulk, drain_id, begun_at, ended_at, outcome)
    select max(id), 1, :sender, false, '00000000-0000-0000-0000-000000000001', cast(:at as timestamptz),
           cast(:at as timestamptz), cast(:outcome as text)
    from notify.messages
"""


def attempt(connection: Connection, at: datetime | None, outcome: str | None = "accepted", sender: str = "one") -> None:
    """One that ended then."""
    values = {"at": at, "outcome": outcome, "sender": sender}
    for statement in _MESSAGE.split(";\n"):
        connection.execute(sa.text(statement), {name: values[name] for name in values if f":{name}" in statement})


@pytest.fixture
def hour(connection: Connection) -> datetime:
    """The hour of the clock that runs."""
    found: datetime = connection.execute(sa.text("select date_trunc('hour', now())")).scalar_one()
    return found


def test_the_last_day(connection: Connection, hour: datetime) -> None:
    """Attempts of all senders are counted by the hour that they ended in and by their outcome; open ones are not."""
    attempt(connection, hour), attempt(connection, hour, "permanent"), attempt(connection, hour, sender="two")
    attempt(connection, hour - HOUR, "sender_fault")
    attempt(connection, hour - 23 * HOUR, "temporary")
    attempt(connection, hour - 23 * HOUR - timedelta(milliseconds=1))
    attempt(connection, None, None)
    found = activity.last_day(connection)
    assert [one.begins for one in found.hours] == [hour - back * HOUR for back in range(23, -1, -1)]
    assert found.hours[-1].ended == {"accepted": 2, "permanent": 1}
    assert found.hours[-2].ended == {"sender_fault": 1}
    assert found.hours[0].ended == {"temporary": 1}
    assert sum(one.total for one in found.hours) == 5
    assert (found.busiest, found.left_out) == (3, 0)


def test_nothing(connection: Connection) -> None:
    """A new outbox has a day of hours in which nothing happened."""
    found = activity.last_day(connection)
    assert (len(found.hours), found.busiest, found.left_out) == (24, 0, 0)


def test_more_than_is_counted(connection: Connection, hour: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sender has too many, the hours of which not all were counted are left out, and that is told."""
    for back in range(6):
        attempt(connection, hour - back * HOUR), attempt(connection, hour - back * HOUR, sender="two")
    attempt(connection, hour - 2 * HOUR)
    monkeypatch.setattr(activity, "MOST", 4)
    found = activity.last_day(connection)
    assert [one.total for one in found.hours] == [2, 2]
    assert found.left_out == 22


def test_the_largest_minute(connection: Connection, hour: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even the hour that runs can be counted, no hour is told."""
    attempt(connection, hour), attempt(connection, hour)
    monkeypatch.setattr(activity, "MOST", 2)
    assert activity.last_day(connection).hours == ()


def test_it_reads_no_history(connection: Connection, engine: Engine) -> None:
    """However long the register is, attempts are found by their index."""
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
        filling.execute(sa.text("insert into notify.senders (sender) values ('smtp_default')"))
        filling.execute(sa.text("analyze notify.senders"))
    plans = Plans(engine, connection)
    with engine.connect() as asked:
        found = activity.last_day(asked)
    assert 1380 <= sum(one.total for one in found.hours) <= 1440  # one a minute
    assert not plans.reads(["attempts"]), plans.found
