"""When what waits leaves: what :mod:`notify.domain.forecast` goes by, read at a cost that has a bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.forecast import Certainty, Due, Expected, last_leaves
from notify.domain.limit import DEFAULT_LIMIT
from notify.domain.message import Priority
from notify.storage import limits
from notify.storage.senders import Standing

#: Of what leaves before a message, no more than this is counted, of each priority.
LOOK_AHEAD = 10_000

_DUE = sa.text("""
    select m.id, m.sender, m.priority, m.parts, m.not_before, now() as at, s.hourly_limit
    from notify.messages m left join notify.senders s on s.sender = m.sender
    where m.id = :id and m.status = 'queued' and m.not_before <= now()
""")

# What leaves before a message: of each higher priority all that is due, of its own what stands before it.
_BEFORE = sa.text("""
    select wanted.priority, (
        select jsonb_build_array(count(*), coalesce(sum(before.parts), 0)) from (
            select m.parts from notify.messages m
            where m.status = 'queued' and m.sender = :sender and m.priority = wanted.priority
              and (m.not_before, m.id) < (wanted.not_before, wanted.id)
            limit :most) before) as size
    from unnest(cast(:priorities as text[]), cast(:moments as timestamptz[]), cast(:ids as bigint[]))
        as wanted (priority, not_before, id)
""")

_AT_WORK = sa.text("""
    select exists (select from notify.drains where sender = :sender and ended_at is null and lease_until >= now())
""")

_LAST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a message stands in its sender's queue.

    :param due: it, and what leaves before it
    :param whole: whether all of that was counted
    """

    due: Due
    whole: bool


def of_sender(connection: Connection, standing: Standing, runs: Iterable[datetime]) -> Expected | None:
    """When a sender's queue is empty, if nothing more comes in.

    :param runs: of Notifications, from now on; endless or not
    :returns: None where nothing is due, or where that cannot be told: there are no runs, the pool has no slots, or it
        is more than a year away
    """
    due = standing.queue.parts
    if not due.total:
        return None
    taken = limits.taken(connection, standing.sender) if standing.limit > 0 else []
    return last_leaves(standing.limit, taken, due, _runs(connection, standing.sender, standing.at, runs))


def of_message(connection: Connection, number: int, runs: Iterable[datetime]) -> Expected | None:
    """When a message leaves that is due, and waits for its turn.

    Where more than :data:`LOOK_AHEAD` stand before it, it is told when these have left.

    :param runs: of Notifications, from now on; endless or not
    :returns: None where it is not due, or where that cannot be told, see :func:`of_sender`
    """
    row = connection.execute(_DUE, {"id": number}).one_or_none()
    if row is None:
        return None
    limit = DEFAULT_LIMIT if row.hourly_limit is None else row.hourly_limit
    place = _place(connection, row)
    taken = limits.taken(connection, row.sender) if limit > 0 else []
    found = last_leaves(limit, taken, place.due, _runs(connection, row.sender, row.at, runs))
    return found if found is None or place.whole else replace(found, certainty=Certainty.AFTER)


def _runs(connection: Connection, sender: str, now: datetime, runs: Iterable[datetime]) -> Iterable[datetime]:
    """The runs to come, and the one that is at the queue at this moment."""
    return chain([now], runs) if connection.scalar(_AT_WORK, {"sender": sender}) else runs


def _place(connection: Connection, row: sa.Row[tuple[object, ...]]) -> _Place:
    before = _before(Priority(row.priority))
    values = {
        "sender": row.sender,
        "most": LOOK_AHEAD,
        "priorities": [one.value for one in before],
        "moments": [row.at] * (len(before) - 1) + [row.not_before],
        "ids": [_LAST_ID] * (len(before) - 1) + [row.id],
    }
    found = {one.priority: one.size for one in connection.execute(_BEFORE, values)}
    whole = max(size for size, _ in found.values()) < LOOK_AHEAD
    parts = {priority: int(slots) for priority, (_, slots) in found.items()}
    parts[row.priority] += row.parts
    bulk = parts.pop(Priority.BULK, 0)
    return _Place(Due(sum(parts.values()), bulk), whole)


def _before(priority: Priority) -> Sequence[Priority]:
    """The priorities that leave before this one, and it."""
    everything = list(Priority)
    return everything[: everything.index(priority) + 1]
