"""Events, and for each of their recipients a notification with its one home."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName
from notify.domain.event import Case
from notify.domain.home import Home, NotBySms, Reason
from notify.exceptions import TransitionError
from notify.storage.models import deferred, events, notifications
from notify.storage.outbox import Origin


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event, checked.

    :param recipients: how many notifications it makes: one for each recipient, two where one is told by mail and SMS
    :param data: as JSON has it
    """

    kind: str
    occurred_at: datetime
    recipients: int
    case: Case | None = None
    actor: str | None = None
    data: Mapping[str, Any] | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class NewNotification:
    """An event for one recipient through one channel, and its home.

    :param address: where it goes: a mailbox, or a telephone number
    :param message_id: the number of the mail or SMS, where it has one
    :param not_by_sms: why it is a mail where its recipient chose SMS
    :param sms_text: of one that waits for its time to be an SMS
    :param due_at: until when it waits, where it does; then all that follows is needed
    :param subject: as the mail would have it
    :param summary: one line for a digest
    :param content_id: the mail's text, see :func:`notify.storage.outbox.add_contents`
    :param content_fields: the header lines that belong to the text, see :class:`notify.rendering.mime.Body`
    """

    home: Home
    login: str | None
    name: str = ""
    address: str | None = None
    reason: Reason | None = None
    message_id: int | None = None
    due_at: datetime | None = None
    language: str | None = None
    subject: str | None = None
    summary: str | None = None
    content_id: int | None = None
    content_fields: bytes | None = None
    channel: ChannelName = ChannelName.EMAIL
    not_by_sms: NotBySms | None = None
    sms_text: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """An event and how many of its notifications have which home.

    :param refused: by reason
    """

    event_id: int
    mails: int
    waiting: int
    refused: dict[str, int]


_LOCK_KEY = sa.text("select pg_advisory_xact_lock(hashtextextended('event:' || :key, 0))")
_IDS = sa.text("select nextval(pg_get_serial_sequence('notify.notifications', 'id')) from generate_series(1, :count)")


def find_by_key(connection: Connection, key: str) -> Counted | None:
    """The event published under an idempotency key; waits for one of the same key that is under way."""
    connection.execute(_LOCK_KEY, {"key": key})
    number = connection.scalar(sa.select(events.c.id).where(events.c.idempotency_key == key))
    return None if number is None else count(connection, number)


def count(connection: Connection, event_id: int) -> Counted:
    """Where the notifications of an event are."""
    rows = connection.execute(
        sa.select(notifications.c.home, notifications.c.reason, sa.func.count().label("size"))
        .where(notifications.c.event_id == event_id)
        .group_by(notifications.c.home, notifications.c.reason)
    ).all()
    return Counted(
        event_id,
        mails=sum(row.size for row in rows if row.home in {Home.MAIL, Home.DIGEST}),
        waiting=sum(row.size for row in rows if row.home == Home.WAITING),
        refused={row.reason: row.size for row in rows if row.home == Home.REFUSED},
    )


def read(connection: Connection, event_id: int) -> Mapping[str, Any] | None:
    """An event's own row, what it told aside; None if there is none of that number."""
    columns = [column for column in events.c if column is not events.c.data]
    row = connection.execute(sa.select(*columns).where(events.c.id == event_id)).mappings().one_or_none()
    return None if row is None else dict(row)


def add(
    connection: Connection, event: NewEvent, homes: Sequence[NewNotification], *, origin: Origin | None = None
) -> int:
    """Store an event with all its notifications, in the caller's transaction.

    :param homes: in the order of the recipients; at least one
    :returns: the event's number
    """
    number: int = connection.scalar(sa.insert(events).values(_event_row(event, origin)).returning(events.c.id))  # type: ignore[assignment]  # an insert returns its row
    ids = list(connection.scalars(_IDS, {"count": len(homes)}))
    connection.execute(
        sa.insert(notifications),
        [
            _notification_row(one, position) | {"id": identity, "event_id": number}
            for position, (identity, one) in enumerate(zip(ids, homes, strict=True))
        ],
    )
    waiting = [
        {
            "notification_id": identity,
            "login": one.login,
            "kind": event.kind,
            "due_at": one.due_at,
            "look_at": one.due_at,
        }
        for identity, one in zip(ids, homes, strict=True)
        if one.home is Home.WAITING
    ]
    if waiting:
        connection.execute(sa.insert(deferred), waiting)
    return number


def _event_row(event: NewEvent, origin: Origin | None) -> dict[str, object]:
    case = event.case
    return {
        "kind": event.kind,
        "idempotency_key": event.idempotency_key,
        "case_id": case and case.id,
        "case_title": case.title if case else "",
        "case_url": case and case.url,
        "process": case and case.process,
        "stage": case and case.stage,
        "owner": case and case.owner,
        "site": case and case.site,
        "actor": event.actor,
        "data": dict(event.data or {}),
        "recipients": event.recipients,
        "occurred_at": event.occurred_at,
        "origin_dag_id": origin and origin.dag_id,
        "origin_run_id": origin and origin.run_id,
        "origin_task_id": origin and origin.task_id,
        "origin_map_index": origin and origin.map_index,
    }


def _notification_row(one: NewNotification, position: int) -> dict[str, object]:
    return {
        "position": position,
        "login": one.login,
        "name": one.name,
        "address": one.address,
        "home": one.home.value,
        "reason": one.reason and one.reason.value,
        "message_id": one.message_id,
        "language": one.language,
        "subject": one.subject,
        "summary": one.summary,
        "content_id": one.content_id,
        "content_fields": one.content_fields,
        "channel": one.channel.value,
        "not_by_sms": one.not_by_sms and one.not_by_sms.value,
        "sms_text": one.sms_text,
    }


# --- What waits finds its home ---------------------------------------------------------------------------------------

# In the order given, which is the same in all runs.
_LOCK_ADDRESSES = sa.text("""
    select count(pg_advisory_xact_lock(hashtextextended('address:' || address, 0)))
    from unnest(cast(:addresses as text[])) as a (address)
""")
_TOLD = sa.text("""
    select w.id from unnest(cast(:ids as bigint[]), cast(:events as bigint[]), cast(:addresses as text[]))
        as w (id, event_id, address)
    where exists (
        select from notify.notifications n
        where n.event_id = w.event_id and lower(n.address) = lower(w.address) and n.home in ('mail', 'digest')
    )
""")


def told(connection: Connection, waiting: Iterable[tuple[int, int, str]], *, lock: bool = True) -> set[int]:
    """Which notifications are of an event that their address was told of already.

    Two people may have one address by now, and had two when the event was published. Until the transaction ends,
    nobody else finds this out for the same addresses: of two runs that have one of these people each, one waits.

    :param waiting: of each, its number, that of its event, and the address that it would go to by now
    :param lock: False: only to look; others may find it out as well
    :returns: their numbers
    """
    given = list(waiting)
    if not given:
        return set()
    ids, numbers, addresses = (list(column) for column in zip(*given, strict=True))
    if lock:
        connection.execute(_LOCK_ADDRESSES, {"addresses": sorted({address.lower() for _, _, address in given})})
    return set(connection.scalars(_TOLD, {"ids": ids, "events": numbers, "addresses": addresses}))


@dataclass(frozen=True, slots=True)
class Arrival:
    """The home that a waiting notification has found.

    :param notification_id: its number
    :param address: where the mail goes, by now
    :param not_by_sms: why it is a mail after all, where it was to be an SMS
    """

    notification_id: int
    home: Home
    message_id: int | None = None
    reason: Reason | None = None
    address: str | None = None
    not_by_sms: NotBySms | None = None


# Where the mail beside an SMS was refused, and the SMS goes by mail after all, it stays the one that was to be an SMS:
# of an event there is one of each channel for a person.
_SETTLE = sa.text("""
    with arrivals as (
        select * from unnest(cast(:ids as bigint[]), cast(:homes as text[]), cast(:messages as bigint[]),
                             cast(:reasons as text[]), cast(:addresses as text[]), cast(:not_by_sms as text[]))
            as a (id, home, message_id, reason, address, not_by_sms)
    )
    update notify.notifications n
    set home = a.home, message_id = a.message_id, reason = a.reason, address = coalesce(a.address, n.address),
        channel = case when a.home <> 'refused' and a.not_by_sms is not null and not exists (
            select from notify.notifications o
            where o.event_id = n.event_id and o.login = n.login and o.channel = 'email'
        ) then 'email' else n.channel end,
        not_by_sms = coalesce(a.not_by_sms, n.not_by_sms), sms_text = null, moved_at = now()
    from arrivals a where n.id = a.id and n.home = 'waiting'
""")
_LEAVE = sa.text("delete from notify.deferred where notification_id = any(cast(:ids as bigint[]))")


def arrive(connection: Connection, arrivals: Iterable[Arrival]) -> None:
    """Give waiting notifications their home, and take them out of what is put aside: both or neither.

    :raises TransitionError: one of them waits no longer
    """
    given = list(arrivals)
    if not given:
        return
    ids = [one.notification_id for one in given]
    values = {
        "ids": ids,
        "homes": [one.home.value for one in given],
        "messages": [one.message_id for one in given],
        "reasons": [one.reason and one.reason.value for one in given],
        "addresses": [one.address for one in given],
        "not_by_sms": [one.not_by_sms and one.not_by_sms.value for one in given],
    }
    settled = connection.execute(_SETTLE, values).rowcount
    left = connection.execute(_LEAVE, {"ids": ids}).rowcount
    if not settled == left == len(given):
        raise TransitionError(
            f"Of {len(given)} notifications that were to find their home, {settled} were waiting and {left} put aside; "
            "somebody else moved them first. Run python -m notify check, and let the next run go on."
        )
