"""What waits in a sender's queue, and until when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.drain import Drain
from notify.domain.forecast import Due
from notify.domain.limit import bulk_limit, slots_of
from notify.domain.message import Priority
from notify.storage import limits

# What a person is moving at this moment is theirs: waiting for them would hold the drain up, or end in a deadlock.
_EXPIRE = sa.text("""
    with late as (
        select id from notify.messages
        where status = 'queued' and expires_at <= now() and sender = :sender
        for update skip locked
    )
    update notify.messages m set status = 'expired', status_reason = 'its expires_after has passed'
    from late where m.id = late.id
""")

_QUEUE = sa.text("""
    select count(*) filter (where not_before <= now()) as due, count(*) filter (where not_before > now()) as later,
           min(not_before) filter (where not_before <= now()) as since,
           min(not_before) filter (where not_before > now()) as next,
           count(*) filter (where not_before <= now() and priority = 'bulk') as due_bulk,
           coalesce(sum(parts) filter (where not_before <= now() and priority <> 'bulk'), 0) as parts_first,
           coalesce(sum(parts) filter (where not_before <= now() and priority = 'bulk'), 0) as parts_bulk
    from notify.messages where status = 'queued' and sender = :sender
""")

_OLDEST = sa.text("""
    select due.id from unnest(cast(:priorities as text[])) as wanted (priority) cross join lateral (
        select m.id, m.not_before from notify.messages m
        where m.status = 'queued' and m.sender = :sender and m.priority = wanted.priority and m.not_before <= now()
        order by m.not_before, m.id limit 1) due
    order by due.not_before, due.id limit 1
""")

_LEAVES = sa.text("""
    select ended_at + :window from (
        select ended_at, sum(slots) over (order by ended_at, id) as gone from notify.attempts
        where sender = :sender and ended_at > now() - :window and outcome <> 'sender_fault' and (bulk or not :bulk)
    ) leaving where gone >= :needed order by ended_at limit 1
""")

# In the order of the index, and one at a time: a plain EXISTS over a long queue makes PostgreSQL expect that any row
# will do, and read the register from its beginning.
_FIRST_DUE = sa.text("""
    select wanted.priority, due.parts
    from unnest(cast(:priorities as text[])) as wanted (priority) cross join lateral (
        select m.parts from notify.messages m
        where m.status = 'queued' and m.sender = :sender and m.priority = wanted.priority
          and m.not_before <= now() and (m.expires_at is null or m.expires_at > now())
          and (m.campaign_id is null or m.campaign_id <> all(array(
              select c.id from notify.campaigns c
              where c.status = 'paused' or c.status = 'cancelled' and c.unsettled)))
        order by m.not_before, m.id limit 1) due
""")

# From one sender in the index to the next, so that a long queue of a sender that is served costs nothing.
_UNSERVED = sa.text("""
    with recursive found (sender) as (
        (select sender from notify.messages where status = 'queued' order by sender limit 1)
        union all
        select (select m.sender from notify.messages m where m.status = 'queued' and m.sender > found.sender
                order by m.sender limit 1)
        from found where found.sender is not null
    )
    select sender,
           (select count(*) from notify.messages m where m.status = 'queued' and m.sender = found.sender) as size
    from found where sender is not null and sender <> all(cast(:served as text[])) order by sender
""")


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for a sender.

    :param due: could leave now, if the limit allowed it
    :param later: waits for its time or its next try
    :param due_since: since when the first of it is due
    :param next_at: when the next of it will be due
    :param due_bulk: how much of what is due is bulk
    :param parts: what is due in slots of the limit: bulk, and what leaves before any of it
    """

    due: int
    later: int
    due_since: datetime | None
    next_at: datetime | None
    due_bulk: int
    parts: Due


def expire(connection: Connection, sender: str) -> int:
    """Mark what may no longer be sent.

    :returns: how many
    """
    return connection.execute(_EXPIRE, {"sender": sender}).rowcount


def ready(connection: Connection, drain: Drain) -> bool:
    """Whether anything is due that the limit allows; costs little more than a look at an index."""
    allowed = limits.allowed(connection, drain)
    return any(
        allowed.cap(slots, bulk=priority is Priority.BULK) == slots
        for priority, slots in _first_due(connection, drain).items()
    )


def held_back(connection: Connection, drain: Drain) -> bool:
    """Whether anything is due, and the limit allows none of it; what its campaign keeps back is not."""
    return bool(_first_due(connection, drain)) and not ready(connection, drain)


def _first_due(connection: Connection, drain: Drain) -> dict[Priority, int]:
    """Of each priority of which anything is due, the slots that the first of it takes."""
    rows = connection.execute(_FIRST_DUE, {"sender": drain.sender, "priorities": [one.value for one in Priority]})
    parts = {Priority(row.priority): row.parts for row in rows}
    return {
        priority: slots_of(parts[priority], drain.limit, bulk=priority is Priority.BULK)
        for priority in Priority
        if priority in parts
    }


def queue(connection: Connection, sender: str) -> Queue:
    """Count what waits for a sender."""
    row = connection.execute(_QUEUE, {"sender": sender}).one()
    parts = Due(int(row.parts_first), int(row.parts_bulk))
    return Queue(row.due, row.later, row.since, row.next, row.due_bulk, parts)


def oldest(connection: Connection, sender: str) -> int | None:
    """The number of the message that has been due for longest, None where none is."""
    number: int | None = connection.scalar(_OLDEST, {"sender": sender, "priorities": [one.value for one in Priority]})
    return number


def unserved(connection: Connection, served: Iterable[str]) -> dict[str, int]:
    """How many messages wait for each sender that no run serves.

    :param served: the senders that runs serve
    """
    return {row.sender: row.size for row in connection.execute(_UNSERVED, {"served": list(served)})}


def next_slot(connection: Connection, drain: Drain) -> datetime | None:
    """When the limit lets the next of the waiting messages through; None if no time can be told.

    It is let through when so much has left the window that what counts and what it takes are within the limit. Where
    only bulk waits, its share must have room as well.
    """
    if drain.limit <= 0:
        return None
    used, first = limits.usage(connection, drain.sender, drain.window), _first_due(connection, drain)
    only_bulk = not first.keys() - {Priority.BULK}
    slots = next(iter(first.values()), 1)
    moments = [_leaves(connection, drain, used.total - drain.limit + slots, bulk=False)]
    if only_bulk:
        moments.append(_leaves(connection, drain, used.bulk - bulk_limit(drain.limit) + slots, bulk=True))
    return max(filter(None, moments), default=None)


def _leaves(connection: Connection, drain: Drain, needed: int, *, bulk: bool) -> datetime | None:
    """When so many slots have come free; None where none needs to."""
    if needed <= 0:
        return None
    values = {"sender": drain.sender, "window": drain.window, "bulk": bulk, "needed": needed}
    moment: datetime | None = connection.scalar(_LEAVES, values)
    return moment
