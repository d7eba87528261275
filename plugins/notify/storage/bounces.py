"""What delivery reports say of messages: kept once each, and what follows for message, recipient and address.

Everything here happens in its caller's transaction, so a report has had all its effects or none. Who reads it again
finds its row, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.blame import LATEST
from notify.domain.bounce import Action, RecipientReport, Report
from notify.domain.comeback import Evidence, Match
from notify.domain.kind import UNDELIVERED
from notify.domain.return_path import fits
from notify.domain.status import Status
from notify.storage import outbox

#: The kind of the mail that tells of mails that came back; of that one nobody is told.
NOTICE_KIND = UNDELIVERED


# --- Finding the message ---------------------------------------------------------------------------------------------

# Without locks: whoever makes a report up may name any messages.
_BY_NUMBER = sa.text("""
    select m.id, m.message_id, i.bounce_secret from notify.messages m cross join notify.identity i
    where m.id = any(cast(:numbers as bigint[]))
""")
_BY_MESSAGE_ID = sa.text("""
    select id from notify.messages where message_id = any(cast(:ids as text[]))
    order by array_position(cast(:ids as text[]), message_id) limit 1
""")

# The row is locked: what a drain is settling at this moment is known before anything is decided. What was never sent
# cannot come back.
_LOCK = sa.text("""
    select m.id, m.status, m.kind, m.priority, m.recipients_erased,
           coalesce(now() < cast(:latest as interval) + greatest(m.sent_at, (
               select max(coalesce(a.ended_at, a.begun_at)) from notify.attempts a where a.message_id = m.id)), false)
               as recent
    from notify.messages m where m.id = :id for no key update of m
""")

_RECIPIENTS = sa.text("""
    select position, address, outcome from notify.recipients where message_id = :id order by position for no key update
""")


@dataclass(frozen=True, slots=True)
class KnownRecipient:
    """A recipient of the message that a report is about."""

    position: int
    address: str
    outcome: str


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """The message that a report is about, locked until the transaction ends.

    :param silent: nobody is told when it comes back: a notice about such mails, or bulk
    :param recipients: those that were not erased
    :param evidence: what speaks for the report
    :param erased: somebody else was a recipient, or is one under a stand-in
    """

    id: int
    status: Status
    silent: bool
    recipients: tuple[KnownRecipient, ...]
    evidence: Evidence
    erased: bool = False


def find(connection: Connection, report: Report) -> KnownMessage | None:
    """Find the message that a report is about, and lock it.

    By the address that the report came to, whose check must fit; else by the Message-ID, which proves less: see
    :class:`notify.domain.comeback.Evidence`.
    """
    number = _by_return_path(connection, report)
    proven = number is not None
    if number is None:
        number = connection.scalar(_BY_MESSAGE_ID, {"ids": list(report.message_ids)})
    row = connection.execute(_LOCK, {"id": number, "latest": LATEST}).one_or_none() if number else None
    if row is None:
        return None
    recipients = [KnownRecipient(*one) for one in connection.execute(_RECIPIENTS, {"id": row.id})]
    silent = row.kind == NOTICE_KIND or row.priority == "bulk"
    erased = row.recipients_erased is not None
    evidence = Evidence(recent=row.recent, proven=proven, alone=len(recipients) == 1 and not erased)
    return KnownMessage(row.id, Status(row.status), silent, tuple(recipients), evidence, erased)


def _by_return_path(connection: Connection, report: Report) -> int | None:
    numbers = {"numbers": [one.number for one in report.bounced]}
    for row in connection.execute(_BY_NUMBER, numbers) if report.bounced else ():
        if any(one.number == row.id and fits(one, row.message_id, row.bounce_secret) for one in report.bounced):
            number: int = row.id
            return number
    return None


_SECRET = sa.text("select bounce_secret from notify.identity")


def secret(connection: Connection) -> bytes:
    """What the addresses that mails come back to are made with."""
    found: bytes = connection.execute(_SECRET).scalar_one()
    return found


# --- Keeping the report ----------------------------------------------------------------------------------------------

_ADD = sa.text("""
    insert into notify.bounces
        (report, message_id, position, address, action, status, blame, counts, words, reporter, notice)
    select :report, :id, cast(:position as integer), :address, :action, :status, :blame, :counts, :words, :reporter,
           case when :tell and not exists (
               select from notify.bounces b
               where b.message_id = :id and b.position is not distinct from cast(:position as integer)
                 and b.notice <> 'none'
           ) then 'due' else 'none' end
    on conflict (report, address) do nothing
    returning id
""")


def add(connection: Connection, report: Report, one: RecipientReport, message: KnownMessage, match: Match) -> bool:
    """Keep what a report says of one recipient.

    The sender of the mail is to be told of a failure, unless that was done for an earlier report.

    :returns: whether it is new; if not, all that follows from it has happened
    """
    failed = one.action is Action.FAILED
    values = {
        "report": report.key,
        "id": message.id,
        "position": match.position,
        "address": one.address,
        "action": one.action.value,
        "status": one.status,
        "blame": one.blame.value if failed else None,
        "counts": match.counts(one, message.evidence),
        "words": one.words,
        "reporter": report.reporter,
        "tell": failed and not message.silent and not match.erased,
    }
    return connection.scalar(_ADD, values) is not None


# --- What follows for the message ------------------------------------------------------------------------------------

_FAIL = sa.text("""
    update notify.recipients
    set outcome = 'permanent', code = :code, response = :response, settled_at = clock_timestamp()
    where message_id = :id and position = :position
""")

_TELL = sa.text("update notify.messages set status_reason = :reason where id = :id")

_ALL_DELIVERED = sa.text("""
    select not exists (
        select from notify.recipients r where r.message_id = :id and not exists (
            select from notify.bounces b
            where b.message_id = r.message_id and b.position = r.position and b.action = 'delivered'))
""")


def fail(connection: Connection, message: KnownMessage, position: int, one: RecipientReport) -> None:
    """Note that the mail did not reach this recipient; a resend goes to them again."""
    values = {"id": message.id, "position": position, "code": one.code, "response": f"came back: {one.said}"}
    connection.execute(_FAIL, values)


def tell(connection: Connection, message: KnownMessage, reason: str) -> None:
    """Say of a message what became of it, where its state stays as it is."""
    connection.execute(_TELL, {"id": message.id, "reason": reason})


def move(connection: Connection, message: KnownMessage, status: Status, reason: str) -> None:
    """Put a message into the state that a report has shown it to be in."""
    if status is Status.SUPPRESSED:
        outbox.suppress(connection, message.id, reason)
    else:
        outbox.receipt(connection, message.id, delivered=status is Status.DELIVERED, reason=reason)


def all_delivered(connection: Connection, message: KnownMessage) -> bool:
    """Whether reports say of each recipient that the message was delivered."""
    return bool(connection.scalar(_ALL_DELIVERED, {"id": message.id}))


# --- What follows for the address ------------------------------------------------------------------------------------

_COUNT = sa.text("""
    select count(distinct message_id) from notify.bounces
    where address = :address and counts and received_at > now() - cast(:window as interval)
""")


def count(connection: Connection, address: str, window: timedelta) -> int:
    """How many different messages to an address have lately come back, of those that are held against it."""
    found: int = connection.scalar(_COUNT, {"address": address, "window": window})
    return found


# --- Telling the sender of the mail ----------------------------------------------------------------------------------

_DUE = sa.text("""
    select b.id, b.message_id, b.address as reported, b.status, b.words, b.received_at,
           r.address, r.name, m.subject, m.case_id, m.reply_to, m.created_at, m.origin_dag_id, e.actor
    from notify.bounces b
    join notify.messages m on m.id = b.message_id
    left join notify.recipients r on r.message_id = b.message_id and r.position = b.position
    left join notify.notifications n on n.message_id = m.id and n.home = 'mail'
    left join notify.events e on e.id = n.event_id
    where b.notice = 'due' and b.id > :after order by b.id limit :most
    for update of b skip locked
""")

_SETTLE = sa.text("update notify.bounces set notice = :notice where id = any(cast(:ids as bigint[]))")


@dataclass(frozen=True, slots=True)
class Due:
    """A mail that came back, of which somebody is to be told.

    :param address: of the recipient; the one in the report where the recipient was erased
    :param actor: login of whoever did what the mail tells of
    """

    id: int
    message_id: int
    address: str
    name: str
    status: str
    words: str
    received_at: datetime
    subject: str
    case_id: str | None
    reply_to: str | None
    created_at: datetime
    actor: str | None


def due(connection: Connection, most: int, *, after: int = 0) -> list[Due]:
    """The mails of whose return nobody was told yet, locked; those that another run is telling of are its own.

    :param after: only what came later than this one
    """
    return [
        Due(
            id=row.id,
            message_id=row.message_id,
            address=row.address or row.reported,
            name=row.name or "",
            status=row.status,
            words=row.words,
            received_at=row.received_at,
            subject=row.subject,
            case_id=row.case_id,
            reply_to=row.reply_to,
            created_at=row.created_at,
            actor=row.actor,
        )
        for row in connection.execute(_DUE, {"most": most, "after": after})
    ]


def settle(connection: Connection, ids: Iterable[int], *, told: bool) -> None:
    """Note that somebody is told of these, or that there is nobody to tell."""
    connection.execute(_SETTLE, {"ids": list(ids), "notice": "told" if told else "none"})


# --- Looking them up -------------------------------------------------------------------------------------------------

_OF_MESSAGE = sa.text("""
    select received_at, action, status, blame, counts, address, words, reporter, notice
    from notify.bounces where message_id = :id order by id
""")


@dataclass(frozen=True, slots=True)
class Told:
    """What a report said, for people who ask."""

    received_at: datetime
    action: str
    status: str
    blame: str | None
    counts: bool
    address: str
    words: str
    reporter: str
    notice: str


def of_message(connection: Connection, number: int) -> Sequence[Told]:
    """What reports said of a message, in the order in which they came."""
    return [Told(*row) for row in connection.execute(_OF_MESSAGE, {"id": number})]
