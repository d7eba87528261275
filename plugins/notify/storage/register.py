"""The register: reading what became of messages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName
from notify.domain.status import Status
from notify.exceptions import NoSuchMessage
from notify.storage.models import attempts, contents, message_events, messages, recipients

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class RegisteredRecipient:
    """A recipient and what came of them."""

    position: int
    role: str
    address: str
    name: str
    login: str | None
    outcome: str
    code: int | None
    response: str | None


@dataclass(frozen=True, slots=True)
class RegisteredAttempt:
    """A try to send."""

    number: int
    claimed_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    code: int | None
    response: str | None


@dataclass(frozen=True, slots=True)
class RegisteredEvent:
    """A change of state."""

    at: datetime
    from_status: str
    to_status: str
    attempt: int
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class RegisteredMessage:
    """A message with all that is known of it, its text aside.

    :param created_by: who handed it over, and by what door; None where that is a task, or Python code
    :param delivered_at: when it had arrived, where that is known, see :func:`arrivals`
    :param has_body: whether its text is still kept
    """

    id: int
    message_id: str
    status: Status
    status_reason: str | None
    sender: str
    site: str | None
    channel: ChannelName
    parts: int
    kind: str
    priority: str
    guarantee: str
    subject: str
    case_id: str | None
    campaign_id: int | None
    origin_dag_id: str | None
    origin_run_id: str | None
    created_by: str | None
    created_at: datetime
    not_before: datetime
    expires_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    has_body: bool
    recipients: tuple[RegisteredRecipient, ...]
    tries: tuple[RegisteredAttempt, ...]
    events: tuple[RegisteredEvent, ...]


_HEAD = (
    "id", "message_id", "status_reason", "sender", "site", "parts", "kind", "priority", "guarantee", "subject",
    "case_id", "campaign_id", "origin_dag_id", "origin_run_id", "created_by", "created_at", "not_before", "expires_at",
    "sent_at",
)  # fmt: skip


def read(connection: Connection, number: int) -> RegisteredMessage:
    """Read one message.

    :raises NoSuchMessage: there is no such message
    """
    head = connection.execute(sa.select(messages).where(messages.c.id == number)).one_or_none()
    if head is None:
        raise NoSuchMessage(f"There is no message {number} in the register.")
    return RegisteredMessage(
        **{name: getattr(head, name) for name in _HEAD},
        status=Status(head.status),
        channel=ChannelName(head.channel),
        has_body=head.content_id is not None,
        delivered_at=_arrival(connection, head),
        recipients=_rows(connection, RegisteredRecipient, recipients, number, recipients.c.position),
        tries=_rows(connection, RegisteredAttempt, attempts, number, attempts.c.number),
        events=_rows(connection, RegisteredEvent, message_events, number, message_events.c.id),
    )


def _arrival(connection: Connection, head: sa.Row[Any]) -> datetime | None:
    return arrivals(connection, [head.id]).get(head.id) if head.status == Status.DELIVERED else None


# By the clock of who delivered the last part; where no receipt says when, by ours, when that was noted.
_ARRIVALS = sa.text("""
    select m.id, coalesce(
        (select max(p.reported_at) from notify.sms_parts p where p.message_id = m.id and p.arrival = 'delivered'),
        (select max(e.at) from notify.message_events e where e.message_id = m.id and e.to_status = 'delivered')) as at
    from unnest(cast(:numbers as bigint[])) m (id)
""")


def arrivals(connection: Connection, numbers: Collection[int]) -> dict[int, datetime]:
    """When messages had arrived that are delivered, by their numbers."""
    if not numbers:
        return {}
    return {row.id: row.at for row in connection.execute(_ARRIVALS, {"numbers": list(numbers)}) if row.at is not None}


def texts_of_sms(connection: Connection, numbers: Collection[int]) -> dict[int, str]:
    """What those of these messages say that are SMS, by their numbers; without those whose text is gone."""
    query = (
        sa.select(messages.c.id, contents.c.body)
        .join(contents, contents.c.id == messages.c.content_id)
        .where(messages.c.id.in_(numbers), messages.c.channel == ChannelName.SMS.value)
    )
    return {row.id: row.body.decode() for row in connection.execute(query)} if numbers else {}


def statuses(connection: Connection, numbers: Collection[int]) -> dict[int, Status]:
    """The state of messages, by their numbers."""
    wanted = sa.any_(sa.literal(list(numbers), ARRAY(sa.BigInteger)))
    query = sa.select(messages.c.id, messages.c.status).where(messages.c.id == wanted).order_by(messages.c.id)
    return {row.id: Status(row.status) for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class StoredText:
    """What a message says, as it is stored.

    :param headers: header lines, each with its CRLF
    :param body: MIME; where it is ``mixed``, the first part of it, with fields of its own
    :param mixed: whether attachments come behind it
    """

    headers: bytes
    body: bytes
    mixed: bool


def text(connection: Connection, number: int) -> StoredText | None:
    """What a message says; None where nothing is kept of it any more."""
    query = (
        sa.select(messages.c.headers, contents.c.body, messages.c.boundary.is_not(None))
        .join(contents, contents.c.id == messages.c.content_id)
        .where(messages.c.id == number)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredText(*row)


def _rows(
    connection: Connection, kind: type[Row], table: sa.Table, number: int, order: sa.Column[int]
) -> tuple[Row, ...]:
    names = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]  # each kind is a dataclass
    query = sa.select(*(table.c[name] for name in names)).where(table.c.message_id == number).order_by(order)
    return tuple(kind(*row) for row in connection.execute(query))


@dataclass(frozen=True, slots=True)
class Line:
    """A message in a list.

    :param parts: of an SMS; of a mail 1
    """

    id: int
    status: str
    created_at: datetime
    subject: str
    channel: ChannelName
    parts: int


def newest(
    connection: Connection,
    *,
    status: Status | None = None,
    address: str | None = None,
    site: str | None = None,
    channel: ChannelName | None = None,
    limit: int = 20,
) -> Sequence[Line]:
    """The newest messages, by number.

    :param address: of one of its recipients
    :param site: the branch that it was handed over for
    """
    query = sa.select(*(messages.c[name] for name in Line.__dataclass_fields__))
    if status is not None:
        query = query.where(messages.c.status == status.value)
    if status is Status.SENDING:  # found by their open attempts: an index of their own would cost each claim
        query = query.where(messages.c.id.in_(sa.select(attempts.c.message_id).where(attempts.c.ended_at.is_(None))))
    if site is not None:
        query = query.where(messages.c.site == site)
    if channel is not None:
        query = query.where(messages.c.channel == channel.value)
    if address is not None:
        mine = sa.select(recipients.c.message_id).where(sa.func.lower(recipients.c.address) == address.lower())
        query = query.where(messages.c.id.in_(mine))
    rows = connection.execute(query.order_by(messages.c.id.desc()).limit(limit))
    return [Line(**row._asdict() | {"channel": ChannelName(row.channel)}) for row in rows]
