"""The balance: every event has exactly one home for each of its recipients, or something is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.engine import Connection, Engine

from notify.domain.home import Home

#: Rows named of each thing that is wrong.
EXAMPLES = 5

#: What must never be found: each query gives the numbers of what is wrong.
INVARIANTS = {
    "events whose notifications are not as many as their recipients": """
        select e.id from notify.events e left join notify.notifications n on n.event_id = e.id
        group by e.id, e.recipients having count(n.id) <> e.recipients
    """,
    "notifications that wait, and are not put aside": """
        select n.id from notify.notifications n
        where n.home = 'waiting' and not exists (select from notify.deferred d where d.notification_id = n.id)
    """,
    "notifications put aside that have another home": """
        select n.id from notify.deferred d join notify.notifications n on n.id = d.notification_id
        where n.home <> 'waiting' or n.login <> d.login
    """,
    "notifications whose mail goes to somebody else": """
        select n.id from notify.notifications n
        where n.home in ('mail', 'digest')
          and not exists (select from notify.recipients r where r.message_id = n.message_id and r.address = n.address)
    """,
    "digests of fewer than two notifications, or of several people": """
        select n.message_id from notify.notifications n join notify.messages m on m.id = n.message_id
        where n.home = 'digest' group by n.message_id, m.notifications_removed
        having count(*) + coalesce(m.notifications_removed, 0) < 2 or count(distinct n.login) <> 1
    """,
    "messages that are both a mail of their own and a digest": """
        select n.message_id from notify.notifications n where n.home in ('mail', 'digest')
        group by n.message_id having count(distinct n.home) > 1
    """,
    "digests without notifications": """
        select m.id from notify.messages m where m.kind = 'digest' and m.idempotency_key is null
          and m.notifications_removed is null
          and m.created_at >= (select min(created_at) from notify.events)  -- a downgrade takes those of older ones away
          and not exists (select from notify.notifications n where n.message_id = m.id)
    """,
    "events told twice to the same address": """
        select n.event_id from notify.notifications n where n.home in ('mail', 'digest')
        group by n.event_id, lower(n.address) having count(*) > 1
    """,
    "messages being sent without an open attempt": """
        select m.id from notify.messages m where m.status = 'sending'
          and not exists (select from notify.attempts a where a.message_id = m.id and a.ended_at is null)
    """,
    "open attempts of messages that are not being sent": """
        select a.message_id from notify.attempts a join notify.messages m on m.id = a.message_id
        where a.ended_at is null and m.status <> 'sending'
    """,
    "closed deadlines with open steps": """
        select d.id from notify.deadlines d join notify.deadline_steps s on s.deadline_id = d.id
        where d.closed_at is not null and s.outcome is null group by d.id
    """,
    "open deadlines without an open step": """
        select d.id from notify.deadlines d where d.closed_at is null
          and not exists (select from notify.deadline_steps s where s.deadline_id = d.id and s.outcome is null)
    """,
}

_EVENTS = sa.text("""
    select now() as at, count(*) as events, coalesce(sum(recipients), 0) as expected from notify.events
""")
_HOMES = sa.text("select home, reason, count(*) as size from notify.notifications group by home, reason")
_DIGESTS = sa.text("select count(distinct message_id) from notify.notifications where home = 'digest'")
_STATUSES = sa.text("""
    select m.status, count(*) as size from notify.notifications n join notify.messages m on m.id = n.message_id
    group by m.status order by m.status
""")

# Who began earlier may come to an end later: what is of the later moment stays.
_KEEP = sa.text("""
    insert into notify.balance as b (at, result) values (:at, cast(:result as jsonb))
    on conflict (one) do update set at = excluded.at, result = excluded.result, created_by = excluded.created_by
    where b.at <= excluded.at
""")
_LAST = sa.text("select result, created_by from notify.balance")
_READ_ONLY = sa.text("select cast(current_setting('transaction_read_only') as boolean)")


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that must not be.

    :param what: in words
    :param count: how often
    :param examples: numbers of the first of them
    """

    what: str
    count: int
    examples: tuple[int, ...]


@dataclass(slots=True)
class Balance:
    """Events times recipients on one side, homes on the other.

    :param at: the moment that all of it is of, by the database's clock
    :param expected: notifications that the events must have
    :param refused: by reason
    :param statuses: the state of the messages that mails and digests are in, by notification
    :param wrong: what must not be; empty where all is well
    """

    at: datetime
    events: int
    expected: int
    mails: int = 0
    in_digests: int = 0
    digests: int = 0
    waiting: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()

    @property
    def found(self) -> int:
        """Notifications that have a home."""
        return self.mails + self.in_digests + self.waiting + sum(self.refused.values())

    @property
    def even(self) -> bool:
        """Whether every notification has exactly one home."""
        return self.found == self.expected and not self.wrong


#: As the database keeps it.
_KEPT = TypeAdapter(Balance)


@dataclass(frozen=True, slots=True)
class Last:
    """The balance that was drawn up last.

    :param created_by: who drew it up, and by what door
    """

    balance: Balance
    created_by: str | None


def check(engine: Engine) -> Balance:
    """Draw up the balance, at one moment of a database that goes on working."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        return draw_up(connection)


def draw_up(connection: Connection) -> Balance:
    """The same in a transaction of the caller's, which must look at one moment throughout: REPEATABLE READ."""
    balance = Balance(*connection.execute(_EVENTS).one())
    for row in connection.execute(_HOMES):
        if row.home == Home.MAIL:
            balance.mails += row.size
        elif row.home == Home.DIGEST:
            balance.in_digests += row.size
        elif row.home == Home.WAITING:
            balance.waiting += row.size
        else:
            balance.refused[row.reason] = row.size
    balance.digests = connection.scalar(_DIGESTS) or 0
    balance.statuses = {row.status: row.size for row in connection.execute(_STATUSES)}
    balance.wrong = tuple(found for what, query in INVARIANTS.items() if (found := _find(connection, what, query)))
    return balance


def _find(connection: Connection, what: str, query: str) -> Wrong | None:
    ids = list(connection.scalars(sa.text(query)))
    return Wrong(what, len(ids), tuple(sorted(ids)[:EXAMPLES])) if ids else None


def keep(connection: Connection, found: Balance) -> None:
    """Remember a balance as the last one; the transaction's actor has drawn it up.

    Where the database can only be read, as a standby, nothing is kept.
    """
    if not connection.scalar(_READ_ONLY):
        connection.execute(_KEEP, {"at": found.at, "result": _KEPT.dump_json(found).decode()})


def last(connection: Connection) -> Last | None:
    """The balance that somebody drew up last; None if nobody did yet."""
    row = connection.execute(_LAST).one_or_none()
    return None if row is None else Last(_KEPT.validate_python(row.result), row.created_by)
