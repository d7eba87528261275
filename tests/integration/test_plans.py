"""The queries that every run asks: what they cost depends on the queue, never on the register's length."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.storage import attempts, drains, limits, waiting

DRAIN = UUID(int=1)
SENDER = "smtp_default"
HOUR = timedelta(hours=1)

#: A register with a long past and a long queue behind it, as the planner sees it.
FILL = """
    insert into notify.contents (body) values ('');
    insert into notify.drains (id, sender, worker, hourly_limit, started_at, lease_until, ended_at)
        select gen_random_uuid(), 'smtp_default', 'w', 1, now(), now(), now() from generate_series(1, 2000);
    insert into notify.drains (id, sender, worker, hourly_limit, lease_until)
        values ('00000000-0000-0000-0000-000000000001', 'smtp_default', 'w', 1, now() + interval '1 hour');
    insert into notify.messages
            (message_id, status, sender, kind, priority, subject, headers, content_id, size, not_before, sent_at)
        select n, 'sent', 'smtp_default', 'k', 'bulk', 's', repeat('h', 300)::bytea, 1, 1, at, at
        from (select n, now() - make_interval(mins => 40000 - n) as at from generate_series(1, 40000) n) past;
    insert into notify.messages (message_id, sender, kind, priority, subject, headers, content_id, size, expires_at)
        select 'q' || n, 'smtp_default', 'k', 'bulk', 's', repeat('h', 300)::bytea, 1, 1,
               case when n % 5 = 0 then now() + interval '1 day' end
        from generate_series(1, 8000) n;
    insert into notify.recipients (message_id, position, role, address, outcome)
        select id, 0, 'to', 'a@example.com', case status when 'sent' then 'accepted' else 'pending' end
        from notify.messages;
    insert into notify.attempts
            (message_id, number, sender, bulk, drain_id, claimed_at, begun_at, ended_at, outcome)
        select id, 1, sender, true, (select id from notify.drains limit 1), sent_at, sent_at, sent_at, 'accepted'
        from notify.messages where status = 'sent';
    analyze
"""

QUERIES = {
    "claim": (attempts._CLAIM, {"sender": SENDER, "drain": DRAIN, "priority": "bulk", "wanted": 8}),
    "usage": (limits._USAGE, {"sender": SENDER, "window": HOUR}),
    "any due": (waiting._ANY_DUE, {"sender": SENDER, "priorities": ["urgent", "normal", "bulk"]}),
    "expire": (waiting._EXPIRE, {"sender": SENDER}),
    "queue": (waiting._QUEUE, {"sender": SENDER}),
    "next slot": (waiting._LEAVES, {"sender": SENDER, "window": HOUR, "bulk": False, "before": 3}),
    "unserved": (waiting._UNSERVED, {"served": [SENDER]}),
    "abandoned": (drains._ABANDONED, {"sender": SENDER}),
    "lost drains": (drains._LOST_DRAINS, {"sender": SENDER}),
    "in doubt": (attempts._IN_DOUBT, {"drain": DRAIN}),
    "release": (attempts._RELEASE, {"drain": DRAIN, "reason": "r"}),
}


def test_no_run_reads_the_register(connection: Connection) -> None:
    """No query of a run reads a table from its beginning, however long the register and the queue are."""
    connection.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
    slow = {}
    for name, (query, values) in QUERIES.items():
        plan = "\n".join(connection.scalars(sa.text(f"explain {query.text}"), values))
        if "Seq Scan" in plan:
            slow[name] = plan
    assert not slow, "\n\n".join(f"{name}:\n{plan}" for name, plan in slow.items())


@pytest.mark.parametrize("table", ["messages", "attempts"])
def test_the_plans_would_tell(connection: Connection, table: str) -> None:
    """The register of this test is long enough for PostgreSQL to read it from its beginning where it may."""
    connection.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # as above
    plan = "\n".join(connection.scalars(sa.text(f"explain select count(sender) from notify.{table} where id % 2 = 0")))
    assert f"Seq Scan on {table}" in plan
