"""Why somebody did, or did not, get a mail: each notification with its event and its home."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.home import Home


@dataclass(frozen=True, slots=True)
class Told:
    """A notification: what happened, whom it concerns, and where it is.

    :param due_at: until when it waits
    :param message_id: number of the mail or the digest
    :param in_message: how many notifications that message has
    :param channel: through which it goes
    :param not_by_sms: why it is no SMS, where the person chose that
    """

    event_id: int
    kind: str
    occurred_at: datetime
    case_id: str | None
    case_title: str
    actor: str | None
    origin_dag_id: str | None
    origin_run_id: str | None
    login: str | None
    name: str
    address: str | None
    home: Home
    reason: str | None
    due_at: datetime | None
    message_id: int | None
    status: str | None
    status_reason: str | None
    attempts: int | None
    sent_at: datetime | None
    in_message: int
    channel: str
    not_by_sms: str | None


_TOLD = """
    select e.id as event_id, e.kind, e.occurred_at, e.case_id, e.case_title, e.actor,
           e.origin_dag_id, e.origin_run_id,
           n.login, n.name, n.address, n.home, n.reason, d.due_at,
           m.id as message_id, m.status, m.status_reason, m.attempts, m.sent_at,
           (select count(*) from notify.notifications other where other.message_id = n.message_id) as in_message,
           n.channel, n.not_by_sms
    from notify.notifications n
    join notify.events e on e.id = n.event_id
    left join notify.deferred d on d.notification_id = n.id
    left join notify.messages m on m.id = n.message_id
"""
_OF_EVENT = sa.text(f"{_TOLD} where n.event_id = :event_id order by n.position limit :most")
_OF_EVENTS = sa.text(
    f"{_TOLD} where n.event_id = any(cast(:event_ids as bigint[])) order by n.event_id, n.position limit :most"
)
_OF_CASE = sa.text(f"{_TOLD} where e.case_id = :case_id order by e.id desc, n.position limit :most")
_IN_MESSAGE = sa.text(f"{_TOLD} where n.message_id = :message_id order by e.occurred_at, n.id limit :most")
_OF_PERSON = sa.text(
    f"{_TOLD} where n.login = :login and n.routed_at >= :since order by n.routed_at desc, n.id desc limit :most"
)


def of_event(connection: Connection, event_id: int, *, most: int) -> Sequence[Told]:
    """Where an event's notifications are."""
    return _told(connection, _OF_EVENT, event_id=event_id, most=most)


def of_events(connection: Connection, event_ids: Iterable[int], *, most: int) -> Sequence[Told]:
    """Where the notifications of several events are, by event."""
    return _told(connection, _OF_EVENTS, event_ids=list(event_ids), most=most)


def of_case(connection: Connection, case_id: str, *, most: int) -> Sequence[Told]:
    """Where the notifications about a case are, newest event first."""
    return _told(connection, _OF_CASE, case_id=case_id, most=most)


def in_message(connection: Connection, message_id: int, *, most: int) -> Sequence[Told]:
    """What a mail or a digest tells of."""
    return _told(connection, _IN_MESSAGE, message_id=message_id, most=most)


def of_person(connection: Connection, login: str, *, since: datetime, most: int) -> Sequence[Told]:
    """Where a person's notifications are, newest first.

    :param since: of those published from then on
    """
    return _told(connection, _OF_PERSON, login=login, since=since, most=most)


def _told(connection: Connection, query: sa.TextClause, **values: object) -> Sequence[Told]:
    return [Told(**{**row, "home": Home(row["home"])}) for row in connection.execute(query, values).mappings()]


@dataclass(frozen=True, slots=True)
class Direct:
    """A message that no event made: somebody wrote to the person."""

    message_id: int
    kind: str
    subject: str
    created_at: datetime
    status: str
    status_reason: str | None
    attempts: int
    origin_dag_id: str | None
    origin_run_id: str | None


_DIRECT = sa.text("""
    select m.id as message_id, m.kind, m.subject, m.created_at, m.status, m.status_reason, m.attempts,
           m.origin_dag_id, m.origin_run_id
    from notify.messages m
    where m.created_at >= :since
      and m.id in (
          select r.message_id from notify.recipients r where lower(r.address) = any(cast(:addresses as text[])))
      and not exists (select from notify.notifications n where n.message_id = m.id)
    order by m.id desc limit :most
""")


def direct(connection: Connection, addresses: Iterable[str], *, since: datetime, most: int) -> Sequence[Direct]:
    """What was written to somebody's addresses directly, newest first; a telephone number is one, too."""
    lower = [address.lower() for address in addresses]
    rows = connection.execute(_DIRECT, {"addresses": lower, "since": since, "most": most})
    return [Direct(**row) for row in rows.mappings()]
