"""When what waits leaves: what :mod:`notify.domain.forecast` goes by, read at a cost that has a bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, groupby
from operator import attrgetter

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.campaign import Campaign, CampaignStatus
from notify.domain.forecast import HORIZON, Certainty, Due, Expected, Later, last_leaves
from notify.domain.limit import DEFAULT_LIMIT
from notify.domain.message import Priority
from notify.storage import limits
from notify.storage.senders import Standing

#: Of what leaves before a message, no more than this is counted, of each priority: more than a campaign to a hundred
#: thousand, and yet counted from the index in a moment.
LOOK_AHEAD = 250_000

#: Of what a campaign has in the queue, the last is looked for among so many; they stand there in their own order, but
#: for those that were refused for the time being.
LAST_ONES = 10_000

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

# Where the last of a campaign stands in a sender's queue, and what it holds of its own.
_LAST = sa.text("""
    select now() as at, s.hourly_limit, last.not_before, last.id, (
        select coalesce(sum(parts), 0) from notify.messages
        where campaign_id = :campaign and status = 'held' and parked) as parked
    from (select) one
    left join notify.senders s on s.sender = :sender
    left join lateral (
        select not_before, id from (
            select m.not_before, m.id from notify.messages m
            where m.campaign_id = :campaign and m.status = 'queued' order by m.id desc limit :most) newest
        order by not_before desc, id desc limit 1) last on true
""")

# The same as before a message, up to a place that is not due yet: by the minute at whose end it will be.
_UP_TO = sa.text("""
    select wanted.priority, found.at, found.size, found.parts
    from unnest(cast(:priorities as text[]), cast(:moments as timestamptz[]), cast(:ids as bigint[]))
        as wanted (priority, not_before, id)
    cross join lateral (
        select case when not_before <= :at then :at
                    else date_trunc('minute', not_before + interval '59.999999 seconds') end as at,
               count(*) as size, sum(parts) as parts
        from (
            select m.not_before, m.parts from notify.messages m
            where m.status = 'queued' and m.sender = :sender and m.priority = wanted.priority
              and (m.not_before, m.id) <= (wanted.not_before, wanted.id)
            order by m.not_before, m.id limit :most) before
        group by 1) found
    order by found.at
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


def of_campaign(connection: Connection, campaign: Campaign, sender: str, runs: Iterable[datetime]) -> Expected | None:
    """When the last message of a campaign leaves; of one that is generated, if it were sent at this moment.

    :param sender: that its messages leave through
    :param runs: of Notifications, from now on; endless or not
    :returns: None where nothing of it waits, or where that cannot be told, see :func:`of_sender`
    """
    last = connection.execute(_LAST, {"campaign": campaign.id, "sender": sender, "most": LAST_ONES}).one()
    queued = (last.not_before, last.id) if last.id else None
    held = _when_sent(campaign, last.at) if last.parked else None
    if queued is None and held is None:
        return None
    end = max(place for place in (queued, (held, _LAST_ID) if held else None) if place)
    limit = DEFAULT_LIMIT if last.hourly_limit is None else last.hourly_limit
    groups, whole = _up_to(connection, sender, last.at, end)
    if held:
        groups = sorted([*groups, Later(held, Due(0, int(last.parked)))], key=attrgetter("at"))
    due = sum((one.due for one in groups if one.at <= last.at), Due(0))
    later = [one for one in groups if one.at > last.at]
    taken = limits.taken(connection, sender) if limit > 0 else []
    found = last_leaves(limit, taken, due, _runs(connection, sender, last.at, runs), later=later)
    return found if found is None or whole else replace(found, certainty=Certainty.AFTER)


def _when_sent(campaign: Campaign, now: datetime) -> datetime:
    """When what a campaign still holds is due: of one that is being sent, at its time, else at once."""
    if campaign.status is CampaignStatus.SENDING and campaign.send_after is not None:
        return max(now, campaign.send_after)
    return now


def _up_to(connection: Connection, sender: str, now: datetime, end: tuple[datetime, int]) -> tuple[list[Later], bool]:
    """What leaves up to a bulk message's place, by when it is due; and whether all of it was counted.

    Urgent and normal ones that are due only then come in between.
    """
    values = {
        "sender": sender,
        "at": now,
        "most": LOOK_AHEAD,
        "priorities": [one.value for one in Priority],
        "moments": [now + HORIZON] * (len(Priority) - 1) + [end[0]],
        "ids": [_LAST_ID] * (len(Priority) - 1) + [end[1]],
    }
    rows = connection.execute(_UP_TO, values).all()
    groups = []
    for at, some in groupby(rows, attrgetter("at")):
        parts = {row.priority: int(row.parts) for row in some}
        bulk = parts.pop(Priority.BULK, 0)
        groups.append(Later(at, Due(sum(parts.values()), bulk)))
    sizes = [sum(row.size for row in rows if row.priority == one.value) for one in Priority]
    return groups, max(sizes) < LOOK_AHEAD


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
