"""The queries that every run asks: what they cost depends on the queue, never on the register's length."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import drain
from notify.storage import (
    attempts,
    campaign_messages,
    campaign_recipients,
    drains,
    explanation,
    limits,
    senders,
    waiting,
)
from tests.newsroom import Newsroom, settings_of, write_templates

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
    insert into notify.campaigns (description, channel, status, ended_at)
        select 'c', 'email', case when n % 50 = 0 then 'cancelled' else 'done' end, now()
        from generate_series(1, 5000) n;
    insert into notify.campaigns (description, channel, status)
        values ('c', 'email', 'paused'), ('c', 'email', 'sending');
    analyze
"""

QUERIES = {
    "claim": (
        attempts._CLAIM,
        {"sender": SENDER, "drain": DRAIN, "priority": "bulk", "wanted": 8, "room": 8, "most": 10},
    ),
    "usage": (limits._USAGE, {"sender": SENDER, "window": HOUR}),
    "first due": (waiting._FIRST_DUE, {"sender": SENDER, "priorities": ["urgent", "normal", "bulk"]}),
    "expire": (waiting._EXPIRE, {"sender": SENDER}),
    "queue": (waiting._QUEUE, {"sender": SENDER}),
    "taken": (limits._TAKEN, {"sender": SENDER, "window": HOUR}),
    "oldest": (waiting._OLDEST, {"sender": SENDER, "priorities": ["urgent", "normal", "bulk"]}),
    "next slot": (waiting._LEAVES, {"sender": SENDER, "window": HOUR, "bulk": False, "needed": 3}),
    "unserved": (waiting._UNSERVED, {"served": [SENDER]}),
    "held": (senders._HELD, {"sender": SENDER}),
    "last run": (senders._LAST_RUN, {"sender": SENDER}),
    "abandoned": (drains._ABANDONED, {"sender": SENDER}),
    "lost drains": (drains._LOST_DRAINS, {"sender": SENDER}),
    "in doubt": (attempts._IN_DOUBT, {"drain": DRAIN}),
    "release": (attempts._RELEASE, {"drain": DRAIN, "reason": "r"}),
}


def test_no_run_reads_the_register(connection: Connection) -> None:
    """No query of a run, or of `senders`, reads a table from its beginning, however long register and queue are."""
    connection.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # several statements at once
    slow = {}
    for name, (query, values) in QUERIES.items():
        plan = "\n".join(connection.scalars(sa.text(f"explain {query.text}"), values))
        if "Seq Scan" in plan:
            slow[name] = plan
    assert not slow, "\n\n".join(f"{name}:\n{plan}" for name, plan in slow.items())


#: Campaigns, of which each has a small part of the register; what lies before them has no end.
FILL_CAMPAIGNS = f"""
    {FILL};
    insert into notify.campaigns (description, channel, status)
        select 'c', 'email', 'sending' from generate_series(1, 2);
    insert into notify.messages (message_id, sender, kind, priority, subject, headers, content_id, size, campaign_id,
                                 status, parked)
        select 'c' || n, 'smtp_default', 'k', 'bulk', 's', repeat('h', 300)::bytea, 1, 1,
               (select max(id) from notify.campaigns) - n % 2, case n % 9 when 0 then 'queued' else 'held' end,
               n % 9 <> 0
        from generate_series(1, 40000) n;
    insert into notify.campaigns (description, channel, status) values ('small', 'email', 'generated');
    insert into notify.messages (message_id, sender, kind, priority, subject, headers, content_id, size, campaign_id,
                                 status, parked)
        select 's' || n, 'smtp_default', 'k', 'bulk', 's', repeat('h', 300)::bytea, 1, 1,
               (select max(id) from notify.campaigns), 'held', true
        from generate_series(1, 1000) n;
    insert into notify.campaign_recipients (campaign_id, key, pass, fate, place, message_id)
        select campaign_id, sha256(message_id::bytea), 1, 'created', 'row 1', id from notify.messages
        where campaign_id is not null;
    analyze
"""

OF_CAMPAIGNS = {
    "release": (campaign_messages._RELEASE, {"send_after": None}),
    "park": (campaign_messages._PARK, {}),
    "cancel": (campaign_messages._CANCEL, {}),
    "throw away": (campaign_messages._THROW_AWAY, {}),
    "sender": (campaign_messages._SENDER, {}),
    "settled": (campaign_messages._SETTLED, {"unsettled": ["held", "queued"]}),
    "refresh": (campaign_messages._REFRESH, {"after": 0, "growth": 1, "digests": [], "names": [], "types": []}),
    "refresh what is reserved": (
        campaign_messages._REFRESH_RESERVED,
        {"growth": 1, "digests": [], "names": [], "types": []},
    ),
    "left": (campaign_recipients._LEFT, {"pass": 2}),
}


#: These read all of a campaign.
WHOLE = {
    "unmet": (campaign_recipients._UNMET, {"pass": 2}),
    "progress": (campaign_messages._PROGRESS, {}),
}


@pytest.mark.parametrize(
    ("which", "queries"), [("c", OF_CAMPAIGNS), ("small", WHOLE)], ids=["step of a large one", "all of a small one"]
)
def test_campaigns_go_by_their_index(connection: Connection, which: str, queries: Mapping[str, Any]) -> None:
    """Neither a step of a campaign, nor what reads all of a small one, walks through the messages or recipients of
    others, however many lie before its own."""
    connection.connection.driver_connection.execute(FILL_CAMPAIGNS)  # type: ignore[union-attr]  # as above
    number = connection.scalar(
        sa.text("select max(id) from notify.campaigns where description = :which"), {"which": which}
    )
    slow = {}
    for name, (query, values) in queries.items():
        given = {"campaign": number, "most": 500, **values}
        plan = "\n".join(connection.scalars(sa.text(f"explain {query.text}"), given))
        # An alias follows where rows are fetched by keys that were found before.
        if re.search(r"Seq Scan on (?:messages|campaign_recipients)  |messages_pkey on messages  ", plan):
            slow[name] = plan
    assert not slow, "\n\n".join(f"{name}:\n{plan}" for name, plan in slow.items())


@pytest.mark.parametrize("fresh", [True, False], ids=["statistics", "statistics_of_an_empty_outbox"])
def test_a_turn_goes_by_keys(connection: Connection, fresh: bool) -> None:
    """A turn finds all its rows by their keys, whatever PostgreSQL believes about them, and is planned once."""
    driver = connection.connection.dbapi_connection
    if not fresh:
        driver.execute("analyze")  # type: ignore[union-attr]  # it is psycopg's
    fill = FILL if fresh else FILL.replace("analyze", "")
    driver.execute(fill)  # type: ignore[union-attr]  # as above
    driver.execute(f"prepare turn as {attempts._TURN.text}")  # type: ignore[union-attr]  # as above
    driver.execute("set plan_cache_mode = force_generic_plan")  # type: ignore[union-attr]  # as above
    values = f"'{DRAIN}', true, '{{1}}', '{{1}}', '[]', '[]', '{{2}}'"
    plan = "\n".join(connection.scalars(sa.text(f"explain execute turn ({values})".replace(":", "\\:"))))
    scans = set(re.findall(r"(?:Seq Scan on|Index Scan using|Bitmap Index Scan on) (\w+)", plan))
    assert not scans & {"messages", "attempts", "recipients", "contents"}, plan
    assert not [scan for scan in scans if scan.endswith("_idx")], plan


def test_a_turn_planned_over_an_empty_outbox(engine: Engine) -> None:
    """A turn that a run plans when no attempt is there yet still goes by keys when there are thousands."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze"))
        connection.execute(drain._PLAN_ONCE)
        driver = connection.connection.dbapi_connection
        driver.execute(f"prepare turn as {attempts._TURN.text}")  # type: ignore[union-attr]  # it is psycopg's
        values = f"'{DRAIN}', true, '{{1}}', '{{1}}', '[]', '[]', '{{2}}'"
        plan = "\n".join(connection.scalars(sa.text(f"explain execute turn ({values})".replace(":", "\\:"))))
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("table", ["messages", "attempts"])
def test_the_plans_would_tell(connection: Connection, table: str) -> None:
    """The register of this test is long enough for PostgreSQL to read it from its beginning where it may."""
    connection.connection.driver_connection.execute(FILL)  # type: ignore[union-attr]  # as above
    plan = "\n".join(connection.scalars(sa.text(f"explain select count(sender) from notify.{table} where id % 2 = 0")))
    assert f"Seq Scan on {table}" in plan


# --- Events ----------------------------------------------------------------------------------------------------------

#: What may be as long as a firm's memory.
HISTORY = ("events", "notifications", "messages", "contents", "recipients")

#: Years of events, each a mail or in a digest, and what is put aside for two thousand people.
EVENTS = """
    insert into notify.people (login, name, email)
        select 'p' || lpad(n::text, 5, '0'), 'P', 'p' || n || '@example.com' from generate_series(1, 2000) n;
    insert into notify.preferences (login, kind, frequency) select login, '*', 'daily' from notify.people;
    insert into notify.events (kind, case_id, recipients, occurred_at)
        select 'news', 'C' || n % 5000, 1, now() - make_interval(mins => 60000 - n) from generate_series(1, 60000) n;
    insert into notify.contents (body) select 'text' from generate_series(1, 60000);
    insert into notify.messages
            (message_id, status, sender, kind, subject, headers, content_id, size, sent_at, created_at)
        select 'e' || id, 'sent', 'smtp_default', 'news', 's', repeat('h', 300)::bytea, id, 1, now(),
               now() - make_interval(mins => 60000 - id::int)
        from notify.contents order by id desc limit 50000;
    insert into notify.recipients (message_id, position, role, address, outcome)
        select id, 0, 'to', 'p' || id % 2000 + 1 || '@example.com', 'accepted' from notify.messages
        where message_id like 'e%';
    insert into notify.notifications (event_id, position, login, address, home, message_id, routed_at)
        select e.id, 0, 'p' || lpad((m.id % 2000 + 1)::text, 5, '0'), 'p' || m.id % 2000 + 1 || '@example.com', 'mail',
               m.id, m.created_at
        from notify.messages m join notify.events e on e.id = substr(m.message_id, 2)::bigint
        where m.message_id like 'e%';
    insert into notify.notifications
            (event_id, position, login, address, home, subject, summary, content_id, content_fields)
        select id, 0, 'p' || lpad((id % 2000 + 1)::text, 5, '0'), 'p' || id % 2000 + 1 || '@example.com', 'waiting',
               's', 's', id, convert_to('Content-Type: text/plain' || chr(13) || chr(10), 'UTF8')
        from notify.events where id <= 10000;
    insert into notify.deferred (notification_id, login, kind, due_at, look_at)
        select id, login, 'news', now() + (event_id % 3) * interval '1 day', now() + (event_id % 3) * interval '1 day'
        from notify.notifications where home = 'waiting';
    analyze
"""


class Plans:
    """The plans of all that an engine is asked, made on another connection just before."""

    def __init__(self, engine: Engine, aside: Connection) -> None:
        self._aside = aside
        self.found: dict[str, str] = {}
        sa.event.listen(engine, "before_cursor_execute", self._explain)

    def _explain(self, _connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        if statement.split(maxsplit=1)[0].lower() not in {"select", "update", "delete", "insert", "with"}:
            return
        one = values[0] if isinstance(values, list) else values
        plan = "\n".join(row[0] for row in self._aside.exec_driver_sql(f"explain {statement}", one))
        self.found[statement] = plan

    def reads(self, tables: Iterable[str]) -> dict[str, str]:
        """The plans that read one of these tables from its beginning."""
        return {text: plan for text, plan in self.found.items() for table in tables if f"Seq Scan on {table}" in plan}


def filled(connection: Connection, engine: Engine) -> Plans:
    with engine.begin() as filling:
        filling.connection.driver_connection.execute(EVENTS)  # type: ignore[union-attr]  # several statements at once
    return Plans(engine, connection)


def test_no_merge_reads_the_past(connection: Connection, engine: Engine, tmp_path: Path) -> None:
    """No query of a merge reads events, notifications or messages from their beginning, however long the past is."""
    room = Newsroom(engine, settings_of(write_templates(tmp_path)))
    plans = filled(connection, engine)
    stop = threading.Event()
    sa.event.listen(engine, "commit", lambda _connection: stop.set() if len(plans.found) > 10 else None)
    result = room.merge(people=20, notifications=100, stop=stop)
    assert result.digests + result.moved > 10
    [told] = [plan for statement, plan in plans.found.items() if "lower(n.address) = lower(w.address)" in statement]
    assert "(event_id = w.event_id) AND (lower(address) = lower(w.address))" in told  # not all whom the event concerns
    assert any("for update of d" in statement for statement in plans.found)
    slow = plans.reads(HISTORY)
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


def test_no_event_reads_the_past(connection: Connection, engine: Engine, tmp_path: Path) -> None:
    """No query of publishing reads events, notifications or messages from their beginning, nor everybody there is."""
    room = Newsroom(engine, settings_of(write_templates(tmp_path)))
    plans = filled(connection, engine)
    room.publish("p00001; p00002; x@example.org", case="C7", actor="p00003", idempotency_key="k")
    slow = plans.reads([*HISTORY, "deferred", "people", "preferences"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


def test_no_explanation_reads_the_past(connection: Connection, engine: Engine) -> None:
    """To explain an event, a person, a case or a message, nothing is read from its beginning."""
    plans = filled(connection, engine)
    with engine.connect() as asked:
        since = datetime.now(UTC) - timedelta(days=7)
        assert len(explanation.of_event(asked, 7, most=200)) == 1
        assert explanation.of_person(asked, "p00007", since=since, most=200)
        assert explanation.of_case(asked, "C7", most=200)
        assert explanation.in_message(asked, 20000, most=200)
        explanation.direct(asked, "P7@example.com", since=since, most=200)
    assert len(plans.found) == 5
    slow = plans.reads([*HISTORY, "deferred"])
    assert not slow, "\n\n".join(f"{text}:\n{plan}" for text, plan in slow.items())


def test_plans_of_events_would_tell(connection: Connection, engine: Engine) -> None:
    """The past of these tests is long enough for PostgreSQL to read it from its beginning where it may."""
    plans = filled(connection, engine)
    with engine.connect() as asked:
        for table in HISTORY:
            asked.execute(sa.text(f"select count(*) from notify.{table} t where t::text like '%x%'"))
    assert len(plans.reads(HISTORY)) == len(HISTORY)
