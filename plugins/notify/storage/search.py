"""Searching the register: a page at a time, in a bounded time, however long it is.

Pages go by the messages' numbers, newest first (*keyset*): a deep page costs what the first one does, and nothing is
counted. A filter that an index serves is followed through it. For all others a page looks at no more than
:data:`WINDOW` messages; where it has found too few by then, it says how far back it looked, and the next page goes on
from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName
from notify.domain.status import Status
from notify.storage import register
from notify.storage.models import attempts, drains, messages, recipients

#: The most messages that one page looks at, where no index serves its filter.
WINDOW = 50_000

#: States of which an index knows the messages, see ``messages_open_idx``.
INDEXED = frozenset(Status) - {Status.QUEUED, Status.SENDING, Status.SENT, Status.DELIVERED}

#: Numbers are given out in order, and yet a long transaction's messages are older than their neighbours.
_SLACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for; what is None or empty does not matter.

    :param statuses: one of them
    :param campaign: that it was made for
    :param address: of a recipient, in whatever case
    :param dag_id: with ``run_id``: handed over by that run, or sent by it
    :param task_id: of such a run, the task; a task of Notifications is named as its sender
    :param map_index: of such a task, the mapped one; what is negative is none
    :param since: handed over at this moment or later, aware
    :param until: handed over before this moment, aware
    """

    statuses: frozenset[Status] = frozenset()
    channel: ChannelName | None = None
    sender: str | None = None
    site: str | None = None
    kind: str | None = None
    campaign: int | None = None
    address: str | None = None
    case_id: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    since: datetime | None = None
    until: datetime | None = None


def told(wanted: Search) -> dict[str, object]:
    """What is looked for, in values that JSON has; without what does not matter."""
    given = asdict(wanted) | {"statuses": sorted(wanted.statuses)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
        if value not in (None, [])
    }


@dataclass(frozen=True, slots=True)
class Found:
    """A message in a page.

    :param parts: of an SMS; of a mail 1
    :param delivered_at: when it had arrived, where that is known, see :func:`notify.storage.register.arrivals`
    """

    id: int
    status: Status
    status_reason: str | None
    channel: ChannelName
    parts: int
    sender: str
    site: str | None
    kind: str
    priority: str
    subject: str
    case_id: str | None
    campaign_id: int | None
    created_at: datetime
    not_before: datetime
    sent_at: datetime | None
    address: str | None
    recipients: int
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, newest first.

    :param next_before: where the next page begins, None at the end of the register
    :param searched_to: how far back this page looked, where it has fewer messages than it may have, and is not the last
    """

    found: tuple[Found, ...]
    next_before: int | None
    searched_to: datetime | None = None


def search(connection: Connection, wanted: Search, *, before: int | None = None, limit: int = 50) -> Page:
    """Find messages.

    :param before: only those with smaller numbers: a page's ``next_before``
    :param limit: the most to return
    """
    top = before
    if wanted.until is not None:
        end = _number_at(connection, wanted.until + _SLACK)
        top = min(top, end) if top is not None and end is not None else (end if top is None else top)
    bottom = _number_at(connection, wanted.since - _SLACK) if wanted.since is not None else None
    floor = None if _indexed(wanted) else _floor(connection, top, bottom)
    query = _query(wanted, top, max(filter(None, (floor, bottom)), default=None)).limit(limit + 1)
    rows = connection.execute(query).all()
    found = tuple(_found(connection, rows[:limit]))
    if len(rows) > limit:
        return Page(found, found[-1].id)
    if floor is None:
        return Page(found, None)
    return Page(found, floor, connection.scalar(sa.select(messages.c.created_at).where(messages.c.id == floor)))


def lines(connection: Connection, numbers: Collection[int]) -> list[Found]:
    """Certain messages as a page has them, newest first; without those that there are not."""
    query = sa.select(*(messages.c[name] for name in _COLUMNS)).where(messages.c.id.in_(numbers))
    return list(_found(connection, connection.execute(query.order_by(messages.c.id.desc())).all()))


def _indexed(wanted: Search) -> bool:
    """Whether an index serves a filter, so that no message is looked at in vain."""
    statuses = wanted.statuses
    narrow = wanted.address or wanted.run_id or wanted.case_id or wanted.campaign is not None
    return bool(narrow or (statuses and statuses <= INDEXED))


def _floor(connection: Connection, top: int | None, bottom: int | None) -> int | None:
    """The smallest number that this page looks at; None where there are none below."""
    window = sa.select(messages.c.id).order_by(messages.c.id.desc()).offset(WINDOW).limit(1)
    if top is not None:
        window = window.where(messages.c.id < top)
    floor = connection.scalar(window)
    return None if floor is None or (bottom is not None and floor <= bottom) else floor


# By halving: from the oldest and the newest number on, each time the message in the middle is looked at.
_NUMBER_AT = sa.text("""
    with recursive halved (low, high, first) as (
        select (select id from notify.messages order by id limit 1),
               (select id from notify.messages order by id desc limit 1), cast(null as bigint)
        union all
        select case when found.late then h.low else found.id + 1 end,
               case when found.late then (h.low + h.high) / 2 - 1 else h.high end,
               case when found.late then found.id else h.first end
        from halved h cross join lateral (
            select m.id, m.created_at >= :moment as late from notify.messages m
            where m.id >= (h.low + h.high) / 2 order by m.id limit 1) found
        where h.low <= h.high
    )
    select first from halved where low > high
""")


def _number_at(connection: Connection, moment: datetime) -> int | None:
    """The first number of a message that was handed over at this moment or later; None where none was."""
    number: int | None = connection.scalar(_NUMBER_AT, {"moment": moment})
    return number


_COLUMNS = (
    "id", "status", "status_reason", "channel", "parts", "sender", "site", "kind", "priority", "subject", "case_id",
    "campaign_id", "created_at", "not_before", "sent_at",
)  # fmt: skip


def _query(wanted: Search, top: int | None, bottom: int | None) -> sa.Select[tuple[object, ...]]:
    columns = (messages.c[name] for name in _COLUMNS)
    query = sa.select(*columns).order_by(messages.c.id.desc()).where(*_between(wanted, top, bottom))
    if wanted.statuses:
        query = query.where(messages.c.status.in_([status.value for status in wanted.statuses]))
    for column, value in (
        (messages.c.channel, wanted.channel),
        (messages.c.sender, wanted.sender),
        (messages.c.site, wanted.site),
        (messages.c.kind, wanted.kind),
        (messages.c.case_id, wanted.case_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.address is not None:
        mine = sa.select(recipients.c.message_id).where(sa.func.lower(recipients.c.address) == wanted.address.lower())
        query = query.where(messages.c.id.in_(mine))
    if wanted.run_id is not None:
        query = query.where(messages.c.id.in_(_of_run(wanted)))
    if wanted.campaign is not None:
        query = query.where(messages.c.id == sa.any_(_of_campaign(wanted.campaign)))
    return query


def _between(wanted: Search, top: int | None, bottom: int | None) -> Iterator[sa.ColumnElement[bool]]:
    if top is not None:
        yield messages.c.id < top
    if bottom is not None:
        yield messages.c.id >= bottom
    if wanted.since is not None:
        yield messages.c.created_at >= wanted.since
    if wanted.until is not None:
        yield messages.c.created_at < wanted.until


def _of_campaign(number: int) -> sa.ColumnElement[list[int]]:
    """Its messages, from their index alone. PostgreSQL would look for an old campaign's from the newest message on."""
    return sa.func.array(sa.select(messages.c.id).where(messages.c.campaign_id == number).scalar_subquery())


def _of_run(wanted: Search) -> sa.CompoundSelect[tuple[int]]:
    handed_over = sa.select(messages.c.id).where(
        messages.c.origin_dag_id == wanted.dag_id, messages.c.origin_run_id == wanted.run_id
    )
    sent = (
        sa.select(attempts.c.message_id)
        .join(drains, drains.c.id == attempts.c.drain_id)
        .where(drains.c.dag_id == wanted.dag_id, drains.c.run_id == wanted.run_id, attempts.c.begun_at.is_not(None))
    )
    if wanted.task_id is not None:
        handed_over = handed_over.where(messages.c.origin_task_id == wanted.task_id)
        sent = sent.where(drains.c.sender == wanted.task_id)
    if wanted.map_index is not None and wanted.map_index >= 0:
        handed_over = handed_over.where(messages.c.origin_map_index == wanted.map_index)
    return sa.union(handed_over, sent)


def _found(connection: Connection, rows: Sequence[sa.Row[Any]]) -> Iterator[Found]:
    """Add each message's first recipient, how many it has, and when it had arrived."""
    numbers = [row.id for row in rows]
    whom = (
        sa.select(
            recipients.c.message_id, sa.func.count().label("size"), sa.func.min(recipients.c.position).label("first")
        )
        .where(recipients.c.message_id.in_(numbers))
        .group_by(recipients.c.message_id)
        .subquery()
    )
    query = sa.select(whom.c.message_id, whom.c.size, recipients.c.address).join(
        recipients, (recipients.c.message_id == whom.c.message_id) & (recipients.c.position == whom.c.first)
    )
    known = {row.message_id: row for row in connection.execute(query)} if numbers else {}
    arrived = register.arrivals(connection, [row.id for row in rows if row.status == Status.DELIVERED])
    for row in rows:
        one = known.get(row.id)
        values = row._asdict() | {"status": Status(row.status), "channel": ChannelName(row.channel)}
        values |= {"address": one.address if one else None, "recipients": one.size if one else 0}
        yield Found(**values, delivered_at=arrived.get(row.id))
