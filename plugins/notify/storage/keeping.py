"""What Housekeeping removes: walked in small windows along the primary keys, oldest first.

A row is touched only once it has come to rest: its message is in a final state and nothing has happened to it since.
What somebody else has locked is left to them. What goes is gone from the front, so the next run begins where there is
something left; no index is needed for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.keeping import Keep
from notify.domain.status import FINAL
from notify.storage import attachments, campaign_keeping, requests

#: Keys that are looked at together, and rows that one transaction removes at most, of each table.
WINDOW = 500
SIZE = 1_000

#: Events may have many recipients each; files are deleted one by one, maybe far away.
EVENTS = 100
FILES = 10

_LOCK_TIMEOUT = sa.text("set local lock_timeout = '1s'")
_SENDING = sa.text("select exists (select from notify.drains where ended_at is null and lease_until >= now())")

# In all of these, "offset 0" makes PostgreSQL ask for each key by itself: there are few keys, and a join could read a
# table with the history of years to find those that belong to them.

# A receipt, a bounce or a resend brings a message back to life: what counts is the last thing that happened to it.
_AT_REST = """
    m.status = any(cast(:final as text[])) and m.created_at < now() - cast(:keep as interval)
    and not exists (
        select from notify.message_events h
        where h.message_id = m.id and h.at >= now() - cast(:keep as interval) offset 0)
"""

#: The number of what was removed, by what it is; and whether the same window has more.
Swept = tuple[Counter[str], bool]


@dataclass(frozen=True, slots=True)
class Window:
    """Keys that lie together.

    :param keys: of those that are old enough to be looked at
    :param last: where to go on, None if there is nothing more
    """

    keys: list[Any]
    last: Any


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of thing that is removed.

    :param query: keys after ``:after`` in their order, ``:size`` of them, each with whether it may be old enough
    :param sweep: removes what it may of some keys
    :param first: where the keys begin; before the smallest
    :param ordered: whether keys come in the order of time, so that nothing follows young ones
    :param size: keys that are looked at together
    """

    query: sa.TextClause
    sweep: Callable[[Connection, Sequence[Any], Keep], Swept]
    first: Any = 0
    ordered: bool = True
    size: int = WINDOW

    def window(self, connection: Connection, after: Any, keep: Keep) -> Window:
        """The next keys."""
        values = {"after": after, "size": self.size, "bodies": keep.bodies, "rows": keep.rows}
        rows = connection.execute(self.query, values).all()
        old = [row.key for row in rows if row.old]
        at_end = len(rows) < self.size or (self.ordered and not old)
        return Window(old, None if at_end else rows[-1].key)


def patient(connection: Connection) -> None:
    """Let the transaction give up soon rather than wait for somebody's lock."""
    connection.execute(_LOCK_TIMEOUT)


def sending(connection: Connection) -> bool:
    """Whether anybody sends at this moment."""
    return bool(connection.scalar(_SENDING))


def _final() -> list[str]:
    return sorted(status.value for status in FINAL)


# --- Bodies ----------------------------------------------------------------------------------------------------------

# The headers go with the body: they are of use for sending alone, and what a person looks for has columns of its own.
_EMPTY_MESSAGES = sa.text(f"""
    with picked as (
        select m.id from notify.messages m
        where m.content_id = any(cast(:keys as bigint[])) and {_AT_REST}
        order by m.id limit :size for update skip locked
    ), emptied as (
        update notify.messages m set content_id = null, headers = '' from picked where m.id = picked.id returning m.id
    ), detached as (
        update notify.message_attachments a set sha256 = null
        from picked where a.message_id = picked.id and a.sha256 is not null
    )
    select count(*) from emptied
""")  # noqa: S608 - made of constants
_EMPTY_NOTIFICATIONS = sa.text("""
    with picked as (
        select n.id from notify.notifications n
        where n.content_id = any(cast(:keys as bigint[])) and n.home <> 'waiting'
          and coalesce(n.moved_at, n.routed_at) < now() - cast(:keep as interval)
        order by n.id limit :size for update skip locked
    )
    update notify.notifications n set content_id = null, content_fields = null, summary = null
    from picked where n.id = picked.id
""")
_DROP_CONTENTS = sa.text("""
    with picked as (
        select c.id from notify.contents c
        where c.id = any(cast(:keys as bigint[]))
          and not exists (select from notify.messages m where m.content_id = c.id offset 0)
          and not exists (select from notify.notifications n where n.content_id = c.id offset 0)
        for update skip locked
    )
    delete from notify.contents c using picked where c.id = picked.id
""")


def _bodies(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    values = {"keys": keys, "keep": keep.bodies, "final": _final(), "size": SIZE}
    messages = connection.scalar(_EMPTY_MESSAGES, values) or 0
    notifications = connection.execute(_EMPTY_NOTIFICATIONS, values).rowcount
    connection.execute(_DROP_CONTENTS, {"keys": keys})
    return Counter(bodies=messages), SIZE in {messages, notifications}


# --- Files -----------------------------------------------------------------------------------------------------------


def _unused(connection: Connection, keys: Sequence[Any], _keep: Keep) -> Swept:
    return Counter(files=attachments.drop_unused(connection, keys)), False


def _doomed(connection: Connection, keys: Sequence[Any], _keep: Keep) -> Swept:
    dropped, failed = attachments.drop_doomed(connection, keys)
    return Counter(files=dropped, files_failed=failed), False


# --- Rows ------------------------------------------------------------------------------------------------------------

_DROP_DEADLINES = sa.text("""
    with picked as (
        select id from notify.deadlines
        where id = any(cast(:keys as bigint[])) and closed_at < now() - cast(:keep as interval)
        for update skip locked
    )
    delete from notify.deadlines d using picked where d.id = picked.id
""")


def _deadlines(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    return Counter(deadlines=connection.execute(_DROP_DEADLINES, {"keys": keys, "keep": keep.rows}).rowcount), False


# An event goes with all that it made. A large one goes in parts: with each part it has fewer recipients, and a digest
# knows how many of its notifications are gone; so the balance is even at any moment.
_DROP_NOTIFICATIONS = sa.text(f"""
    with due as materialized (
        select e.id from notify.events e
        where e.id = any(cast(:keys as bigint[]))
          and not exists (select from notify.deadline_steps s where s.event_id = e.id offset 0)
          and not exists (
              select from notify.notifications n
              where n.event_id = e.id
                and (n.home = 'waiting' or coalesce(n.moved_at, n.routed_at) >= now() - cast(:keep as interval)
                     or n.message_id is not null and not exists (
                         select from notify.messages m where m.id = n.message_id and {_AT_REST} offset 0)) offset 0)
        order by e.id for update skip locked
    ), picked as (
        select n.id, n.event_id, n.message_id, n.home
        from due join notify.notifications n on n.event_id = due.id order by n.event_id, n.id limit :size
    ), gone as (
        delete from notify.notifications n using picked where n.id = picked.id
    ), digests as (
        update notify.messages m set notifications_removed = coalesce(m.notifications_removed, 0) + g.size
        from (select message_id, count(*) as size from picked where home = 'digest' group by message_id) g
        where m.id = g.message_id
    ), sizes as (
        select event_id, count(*) as size from picked group by event_id
    ), parted as (
        update notify.events e set recipients = e.recipients - sizes.size
        from sizes where e.id = sizes.event_id and e.recipients > sizes.size
    ), dropped as (
        delete from notify.events e using sizes where e.id = sizes.event_id and e.recipients <= sizes.size returning 1
    )
    select (select count(*) from dropped) as events, (select count(*) from picked) as notifications
""")  # noqa: S608 - made of constants


def _events(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    values = {"keys": keys, "keep": keep.rows, "final": _final(), "size": SIZE}
    row = connection.execute(_DROP_NOTIFICATIONS, values).one()
    return Counter(events=row.events, notifications=row.notifications), row.notifications == SIZE


# An attempt of the last hour is a token of the hourly limit, whatever else is so old.
_DROP_MESSAGES = sa.text(f"""
    with picked as (
        select m.id from notify.messages m
        where m.id = any(cast(:keys as bigint[])) and {_AT_REST}
          and not exists (select from notify.notifications n where n.message_id = m.id offset 0)
          and not exists (
              select from notify.attempts a
              where a.message_id = m.id and (a.ended_at is null or a.ended_at >= now() - interval '2 hours') offset 0)
        for update skip locked
    )
    delete from notify.messages m using picked where m.id = picked.id
""")  # noqa: S608 - made of constants


def _messages(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    values = {"keys": keys, "keep": keep.rows, "final": _final()}
    return Counter(messages=connection.execute(_DROP_MESSAGES, values).rowcount), False


_DROP_CASES = sa.text("""
    with picked as (
        select c.id from notify.cases c
        where c.id = any(cast(:keys as text[])) and c.seen_at < now() - cast(:keep as interval)
          and not exists (select from notify.deadlines d where d.case_id = c.id offset 0)
          and not exists (select from notify.events e where e.case_id = c.id offset 0)
        for update skip locked
    )
    delete from notify.cases c using picked where c.id = picked.id
""")


def _cases(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    return Counter(cases=connection.execute(_DROP_CASES, {"keys": keys, "keep": keep.rows}).rowcount), False


_DROP_DRAINS = sa.text("""
    with picked as (
        select d.id from notify.drains d
        where d.id = any(cast(:keys as uuid[])) and d.ended_at < now() - cast(:keep as interval)
          and not exists (select from notify.attempts a where a.drain_id = d.id offset 0)
        for update skip locked
    )
    delete from notify.drains d using picked where d.id = picked.id
""")


def _drains(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    return Counter(drains=connection.execute(_DROP_DRAINS, {"keys": keys, "keep": keep.rows}).rowcount), False


_DROP_SUPPRESSIONS = sa.text("""
    with picked as (
        select address from notify.suppressions
        where address = any(cast(:keys as text[])) and expires_at < now() - cast(:keep as interval)
        for update skip locked
    )
    delete from notify.suppressions s using picked where s.address = picked.address
""")


def _suppressions(connection: Connection, keys: Sequence[Any], keep: Keep) -> Swept:
    gone = connection.execute(_DROP_SUPPRESSIONS, {"keys": keys, "keep": keep.bodies}).rowcount
    return Counter(suppressions=gone), False


_DROP_REQUESTS = sa.text("""
    with picked as (
        select key from notify.api_requests
        where key = any(cast(:keys as bytea[])) and created_at < now() - cast(:keep as interval)
        for update skip locked
    )
    delete from notify.api_requests r using picked where r.key = picked.key
""")


def _requests(connection: Connection, keys: Sequence[Any], _keep: Keep) -> Swept:
    gone = connection.execute(_DROP_REQUESTS, {"keys": list(keys), "keep": requests.KEPT}).rowcount
    return Counter(requests=gone), False


#: In this order: what is removed later may be needed by what comes before.
STEPS: Mapping[str, Step] = {
    "bodies": Step(
        sa.text("""
            select id as key, created_at < now() - cast(:bodies as interval) as old from notify.contents
            where id > :after order by id limit :size
        """),
        _bodies,
    ),
    "files that no message needs": Step(
        sa.text("""
            select sha256 as key, doomed_at is null as old from notify.attachments
            where sha256 > :after order by sha256 limit :size
        """),
        _unused,
        first=b"",
        ordered=False,
    ),
    "files in object storage": Step(
        sa.text("""
            select sha256 as key, true as old from notify.attachments
            where sha256 > :after and doomed_at is not null order by sha256 limit :size
        """),
        _doomed,
        first=b"",
        ordered=False,
        size=FILES,
    ),
    "deadlines": Step(
        sa.text("""
            select id as key, created_at < now() - cast(:rows as interval) as old from notify.deadlines
            where id > :after order by id limit :size
        """),
        _deadlines,
    ),
    "events": Step(
        sa.text("""
            select id as key, created_at < now() - cast(:rows as interval) as old from notify.events
            where id > :after order by id limit :size
        """),
        _events,
        size=EVENTS,
    ),
    "messages": Step(
        sa.text("""
            select id as key, created_at < now() - cast(:rows as interval) as old from notify.messages
            where id > :after order by id limit :size
        """),
        _messages,
    ),
    "recipients of campaigns": Step(
        sa.text("""
            select id as key, coalesce(ended_at < now() - cast(:bodies as interval), false) as old
            from notify.campaigns where id > :after order by id limit :size
        """),
        campaign_keeping.drop_rows,
        ordered=False,
    ),
    "campaigns": Step(
        sa.text("""
            select id as key, coalesce(ended_at < now() - cast(:rows as interval), false) as old
            from notify.campaigns where id > :after order by id limit :size
        """),
        campaign_keeping.drop_campaigns,
        ordered=False,
    ),
    "cases": Step(
        sa.text("""
            select id as key, seen_at < now() - cast(:rows as interval) as old from notify.cases
            where id > :after order by id limit :size
        """),
        _cases,
        first="",
        ordered=False,
    ),
    "runs": Step(
        sa.text("""
            select id as key, coalesce(ended_at < now() - cast(:rows as interval), false) as old from notify.drains
            where id > :after order by id limit :size
        """),
        _drains,
        first=UUID(int=0),
        ordered=False,
    ),
    "suppressions": Step(
        sa.text("""
            select address as key, coalesce(expires_at < now() - cast(:bodies as interval), false) as old
            from notify.suppressions where address > :after order by address limit :size
        """),
        _suppressions,
        first="",
        ordered=False,
    ),
    "answers to the API": Step(
        sa.text(f"""
            select key, created_at < now() - interval '{requests.KEPT.total_seconds():.0f} seconds' as old
            from notify.api_requests where key > :after order by key limit :size
        """),  # noqa: S608 - made of constants
        _requests,
        first=b"",
        ordered=False,
    ),
}
