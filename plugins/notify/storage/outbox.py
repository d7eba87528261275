"""The outbox: messages come in, and people move them. What a drain does: :mod:`notify.storage.attempts`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.campaign import NOT_SENT
from notify.domain.channel import ChannelName
from notify.domain.message import Guarantee, Priority, RecipientRole
from notify.domain.outcome import Verdict
from notify.domain.status import RESENDABLE, Status, may_become
from notify.exceptions import NoSuchMessage, TransitionError
from notify.storage import bulk, suppressions, unsubscriptions
from notify.storage.attachments import StoredFile
from notify.storage.models import campaigns, contents, message_attachments, messages, recipients


@dataclass(frozen=True, slots=True)
class Origin:
    """The task that handed a message over."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class NewRecipient:
    """Whom a new message is for.

    :param address: checked mailbox
    :param login: the person's, where they are known
    :param suppressed: why the address gets nothing, None where it does
    """

    role: RecipientRole
    address: str
    name: str = ""
    login: str | None = None
    suppressed: str | None = None


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A composed message, ready to be stored.

    :param message_id: RFC 5322 Message-ID with its angle brackets
    :param headers: what never changes; see :class:`notify.domain.parcel.Parcel`
    :param body: MIME body; messages handed over together with the same body share its storage
    :param content_id: instead of a body, one that is stored already, see :func:`add_contents`
    :param not_before: when it may leave; by the database's clock, see :func:`now`
    :param site: the branch that it was handed over for
    :param parts: what it counts against the limit: of an SMS its parts, of a mail 1
    :param campaign_id: the campaign that it is made for, which holds it until that is sent
    """

    message_id: str
    sender: str
    kind: str
    subject: str
    headers: bytes
    recipients: tuple[NewRecipient, ...]
    size: int
    not_before: datetime
    body: bytes = b""
    content_id: int | None = None
    boundary: str | None = None
    language: str | None = None
    reply_to: str | None = None
    case_id: str | None = None
    site: str | None = None
    priority: Priority = Priority.NORMAL
    guarantee: Guarantee = Guarantee.AT_LEAST_ONCE
    expires_at: datetime | None = None
    attachments: tuple[StoredFile, ...] = ()
    channel: ChannelName = ChannelName.EMAIL
    parts: int = 1
    campaign_id: int | None = None

    @property
    def parked(self) -> bool:
        """Whether its campaign holds it; what would go to nobody is made for none."""
        return self.campaign_id is not None

    @property
    def suppressed(self) -> str | None:
        """Why none of its recipients gets anything, None if one of them does."""
        reasons = [recipient.suppressed for recipient in self.recipients]
        return reasons[0] if all(reasons) else None


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the outbox.

    :param id: its number in the register
    :param message_id: its Message-ID
    """

    id: int
    message_id: str


# --- In --------------------------------------------------------------------------------------------------------------

_LOCK_KEY = sa.text("select pg_advisory_xact_lock(hashtextextended(:key, 0))")
# In the order given, which is the same in all transactions.
_LOCK_KEYS = sa.text("""
    select count(pg_advisory_xact_lock(hashtextextended(key, 0))) from unnest(cast(:keys as text[])) as k (key)
""")
_NOW = sa.text("select now()")
_IDS = sa.text("select nextval(pg_get_serial_sequence('notify.messages', 'id')) from generate_series(1, :count)")
# Each body is a parameter of its own: those travel as they are, while the driver writes an array of them as text.
_ADD_CONTENTS = sa.insert(contents).returning(contents.c.id, sort_by_parameter_order=True)


def now(connection: Connection) -> datetime:
    """The database's clock: the start of this transaction."""
    moment: datetime = connection.scalar(_NOW)
    return moment


def find_by_key(connection: Connection, key: str) -> list[Stored]:
    """What was handed over under an idempotency key; waits for a hand-over of the same key that is under way."""
    connection.execute(_LOCK_KEY, {"key": key})
    return _under_keys(connection, [key]).get(key, [])


def find_by_keys(connection: Connection, keys: Collection[str]) -> dict[str, list[Stored]]:
    """The same for many keys; what was handed over under none of them is left out."""
    if not keys:
        return {}
    connection.execute(_LOCK_KEYS, {"keys": sorted(set(keys))})
    return _under_keys(connection, keys)


def _under_keys(connection: Connection, keys: Collection[str]) -> dict[str, list[Stored]]:
    found: dict[str, list[Stored]] = {}
    query = (
        sa.select(messages.c.idempotency_key, messages.c.id, messages.c.message_id)
        .where(messages.c.idempotency_key == sa.any_(sa.literal(list(keys), ARRAY(sa.Text))))
        .order_by(messages.c.idempotency_key, messages.c.idempotency_index)
    )
    for key, number, message_id in connection.execute(query):
        found.setdefault(key, []).append(Stored(number, message_id))
    return found


def add(
    connection: Connection,
    new: Sequence[NewMessage],
    *,
    idempotency_key: str | None = None,
    origin: Origin | None = None,
) -> list[Stored]:
    """Store messages in the caller's transaction; they are in the outbox once it commits.

    :param idempotency_key: shared by all of them; ask :func:`find_by_key` first
    """
    return add_all(connection, [(new, idempotency_key)], origin=origin)[0]


def add_all(
    connection: Connection, given: Sequence[tuple[Sequence[NewMessage], str | None]], *, origin: Origin | None = None
) -> list[list[Stored]]:
    """Store what was handed over in several parts, as :func:`add` does each.

    :param given: of each part its messages, and the idempotency key that they share
    :returns: the messages of each part
    """
    new = [message for part, _ in given for message in part]
    if not new:
        return [[] for _ in given]
    keys = [(index if key else None, key) for part, key in given for index, _ in enumerate(part)]
    ids = list(connection.scalars(_IDS, {"count": len(new)}))
    bodies = add_contents(connection, (message.body for message in new if message.content_id is None))
    bulk.insert(
        connection,
        messages,
        _MESSAGE,
        [
            (number, message.content_id or bodies[message.body], *key, *_origin(origin), *_row(message))
            for message, number, key in zip(new, ids, keys, strict=True)
        ],
    )
    bulk.insert(
        connection,
        recipients,
        _RECIPIENT,
        [
            (number, position, one.role.value, one.address, one.name, one.login, *_heard(one))
            for message, number in zip(new, ids, strict=True)
            for position, one in enumerate(message.recipients)
        ],
    )
    _add_attachments(connection, new, ids)
    stored = iter([Stored(number, message.message_id) for message, number in zip(new, ids, strict=True)])
    return [list(islice(stored, len(part))) for part, _ in given]


def add_contents(connection: Connection, bodies: Iterable[bytes]) -> dict[bytes, int]:
    """Store MIME bodies, equal ones once.

    :returns: the number of each
    """
    different = list(dict.fromkeys(bodies))
    if not different:
        return {}
    ids = connection.scalars(_ADD_CONTENTS, [{"body": body} for body in different])
    return dict(zip(different, ids, strict=True))


def content(connection: Connection, number: int) -> bytes:
    """A MIME body that is stored."""
    body: bytes = connection.execute(sa.select(contents.c.body).where(contents.c.id == number)).scalar_one()
    return body


_MESSAGE = (
    *("id", "content_id", "idempotency_index", "idempotency_key"),
    *("origin_dag_id", "origin_run_id", "origin_task_id", "origin_map_index"),
    *("message_id", "status", "status_reason", "sender", "kind", "priority", "guarantee", "language", "subject"),
    *("case_id", "headers", "boundary", "reply_to", "size", "expires_at", "not_before", "channel", "parts", "site"),
    *("campaign_id", "parked"),
)
_PARKED = "its campaign is not sent yet"
_RECIPIENT = ("message_id", "position", "role", "address", "name", "login", "outcome", "response")


def _row(message: NewMessage) -> tuple[object, ...]:
    refused = message.suppressed
    status = Status.HELD if message.parked else Status.SUPPRESSED if refused else Status.QUEUED
    return (
        message.message_id,
        status.value,
        _PARKED if message.parked else f"on the suppression list: {refused}" if refused else None,
        message.sender,
        message.kind,
        message.priority.value,
        message.guarantee.value,
        message.language,
        message.subject,
        message.case_id,
        message.headers,
        message.boundary,
        message.reply_to,
        message.size,
        message.expires_at,
        message.not_before,
        message.channel.value,
        message.parts,
        message.site,
        message.campaign_id,
        message.parked,
    )


def _heard(recipient: NewRecipient) -> tuple[str, str | None]:
    """What is known of a recipient before anything is sent: its outcome, and in whose words."""
    if recipient.suppressed is None:
        return "pending", None
    return Verdict.PERMANENT.value, f"on the suppression list: {recipient.suppressed}"


def _origin(origin: Origin | None) -> tuple[object, ...]:
    return (origin.dag_id, origin.run_id, origin.task_id, origin.map_index) if origin else (None,) * 4


def _add_attachments(connection: Connection, new: Sequence[NewMessage], ids: Sequence[int]) -> None:
    rows = [
        {
            "message_id": number,
            "position": position,
            "sha256": file.sha256,
            "filename": file.filename,
            "content_type": file.content_type,
        }
        for message, number in zip(new, ids, strict=True)
        for position, file in enumerate(message.attachments)
    ]
    if rows:
        connection.execute(sa.insert(message_attachments), rows)


# --- Moved by people -------------------------------------------------------------------------------------------------

#: Addresses that an error names; of one mail to many, the others are counted.
_NAMED = 5

#: What can be done with a message in each state, for people who wanted something else.
_INSTEAD: dict[Status, str] = {
    Status.QUEUED: "To keep it from being sent: python -m notify messages hold {number}",
    Status.SENDING: "Try again in a few minutes; if a run has died, the next one takes the message over.",
    Status.HELD: "To have it sent, release it first: python -m notify messages release {number}",
    Status.DELIVERED: "It has arrived. To send it once more, hand over a new message.",
    **dict.fromkeys(RESENDABLE - {Status.HELD}, "To have it sent again: python -m notify messages resend {number}"),
    Status.UNCERTAIN: "Nobody knows whether it arrived. If it did: python -m notify messages arrived {number}; "
    "if not: python -m notify messages resend {number}",
}


def move(connection: Connection, number: int, before: frozenset[Status], after: Status, reason: str) -> Status:
    """Put a message from one of the expected states into another.

    :param number: the message's number in the register
    :returns: the state it was in
    :raises TransitionError: there is no such message, or it is in none of these states
    """
    status = _expect(connection, number, before, after)
    _put(connection, number, status, after, reason)
    return status


def _put(connection: Connection, number: int, before: Status, after: Status, reason: str) -> None:
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == number, messages.c.status == before.value)
        .values(status=after.value, status_reason=reason, parked=False)  # what a person moves is in no campaign's hands
    )


def _expect(
    connection: Connection, number: int, before: frozenset[Status], after: Status, *, lock: bool = True
) -> Status:
    """Lock a message that is in one of the expected states; the state it is in."""
    query = sa.select(messages.c.status).where(messages.c.id == number)
    status = connection.scalar(query.with_for_update() if lock else query)
    if status is None:
        raise NoSuchMessage(f"There is no message {number} in the register.")
    if Status(status) not in before or not may_become(Status(status), after):
        expected = ", ".join(sorted(before))
        raise TransitionError(
            f"Message {number} is {status}; only {expected} can become {after}. "
            + _INSTEAD[Status(status)].format(number=number)
        )
    return Status(status)


def hold(connection: Connection, number: int, reason: str = "held by a person") -> None:
    """Keep a queued message from being sent, until it is released."""
    _step(connection, Action.HOLD, number, reason)


def release(connection: Connection, number: int, reason: str = "released by a person") -> None:
    """Put a held message back in the queue.

    :raises TransitionError: it is not held, or it would go to somebody who is on the suppression list by now
    """
    _step(connection, Action.RELEASE, number, reason)


def cancel(connection: Connection, number: int, reason: str = "cancelled by a person") -> None:
    """Take a queued or held message back; it stays in the register and can be sent again."""
    _step(connection, Action.CANCEL, number, reason)


def arrived(connection: Connection, number: int, reason: str = "a person says that it arrived") -> None:
    """Settle the doubt about a message of which nobody knew whether it was sent: it was, and it arrived."""
    _expect(connection, number, *_WAYS[Action.ARRIVED])
    receipt(connection, number, delivered=True, reason=reason)


def suppress(connection: Connection, number: int, reason: str) -> None:
    """Keep a queued message back because its addresses are on the suppression list."""
    move(connection, number, frozenset({Status.QUEUED}), Status.SUPPRESSED, reason)


_SENT_AFTER_ALL = sa.text("""
    update notify.messages set sent_at = coalesce(sent_at, first_tried_at, now())
    where id = :id and status = 'uncertain'
""")


def receipt(connection: Connection, number: int, *, delivered: bool, reason: str) -> None:
    """Note what a receipt or a bounce says of a message that was sent, or that nobody knew whether it was."""
    after = Status.DELIVERED if delivered else Status.UNDELIVERED
    connection.execute(_SENT_AFTER_ALL, {"id": number})
    move(connection, number, frozenset(one for one in Status if may_become(one, after)), after, reason)


def resend(connection: Connection, number: int, reason: str = "put back by a person") -> None:
    """Send a message again, as a new attempt of the same message with the same Message-ID.

    It goes to those whom it has not reached; where it has reached everybody, to everybody.

    :raises TransitionError: its state does not allow it, its body is no longer kept, or it would go to somebody who is
        on the suppression list
    """
    _step(connection, Action.RESEND, number, reason)
    mine, whom = recipients.c.message_id == number, _whom_again(connection, number)
    connection.execute(
        sa.update(recipients).where(mine, whom).values(outcome="pending", code=None, response=None, settled_at=None)
    )
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == number)
        .values(not_before=sa.func.now(), expires_at=None, refusals=0, first_tried_at=None)
    )


class Action(StrEnum):
    """What a person may do to a message; each is a function here."""

    RESEND = "resend"  #: send it again
    HOLD = "hold"  #: keep it from being sent
    RELEASE = "release"  #: let it go on
    CANCEL = "cancel"  #: take it back
    ARRIVED = "arrived"  #: say that it arrived, where nobody knew


#: From which states, and to which one.
_WAYS: dict[Action, tuple[frozenset[Status], Status]] = {
    Action.RESEND: (RESENDABLE, Status.QUEUED),
    Action.HOLD: (frozenset({Status.QUEUED}), Status.HELD),
    Action.RELEASE: (frozenset({Status.HELD}), Status.QUEUED),
    Action.CANCEL: (frozenset({Status.QUEUED, Status.HELD}), Status.CANCELLED),
    Action.ARRIVED: (frozenset({Status.UNCERTAIN}), Status.DELIVERED),
}


def act(connection: Connection, action: Action, number: int) -> None:
    """Do something to a message, for a person.

    :raises TransitionError: it cannot be done, see :func:`obstacle`
    """
    does: dict[Action, Callable[[Connection, int], None]] = {
        Action.RESEND: resend,
        Action.HOLD: hold,
        Action.RELEASE: release,
        Action.CANCEL: cancel,
        Action.ARRIVED: arrived,
    }
    does[action](connection, number)


def obstacle(connection: Connection, action: Action, number: int) -> str | None:
    """Why something cannot be done to a message, None where it can; nothing is changed, and nothing locked."""
    try:
        _expect(connection, number, *_WAYS[action], lock=False)
        _check(connection, action, number)
    except TransitionError as error:
        return str(error)
    return None


def _step(connection: Connection, action: Action, number: int, reason: str) -> None:
    """Lock a message, see that nothing speaks against an action, and put it into its new state."""
    status = _expect(connection, number, *_WAYS[action])
    _check(connection, action, number)
    _put(connection, number, status, _WAYS[action][1], reason)


def _check(connection: Connection, action: Action, number: int) -> None:
    """What must be, beside the state."""
    if action in {Action.RESEND, Action.RELEASE}:
        _require_let_go(connection, number)
    if action is Action.RESEND:
        _require_body(connection, number)
        _require_wanted(connection, number, _whom_again(connection, number))
    elif action is Action.RELEASE:
        _require_wanted(connection, number, recipients.c.outcome.not_in(("accepted", "permanent")))


def _require_let_go(connection: Connection, number: int) -> None:
    """A message of a campaign waits for it; one that was sent once is never unsent, so nothing has to be locked."""
    query = (
        sa.select(campaigns.c.id)
        .join(messages, messages.c.campaign_id == campaigns.c.id)
        .where(messages.c.id == number, messages.c.parked | campaigns.c.status.in_(NOT_SENT))
    )
    campaign = connection.scalar(query)
    if campaign is not None:
        raise TransitionError(
            f"Message {number} belongs to a campaign, which is not sent yet, or is paused. Let the whole go first: "
            f"python -m notify campaigns show {campaign} tells what can be done."
        )


def _whom_again(connection: Connection, number: int) -> sa.ColumnElement[bool]:
    """To whom a message goes that is sent again: those whom it has not reached, or else everybody."""
    missed = recipients.c.outcome != "accepted"
    query = sa.select(sa.literal(1)).where(recipients.c.message_id == number, missed).exists()
    return missed if connection.scalar(sa.select(query)) else sa.true()


def _require_body(connection: Connection, number: int) -> None:
    if connection.scalar(sa.select(messages.c.content_id.is_(None)).where(messages.c.id == number)):
        raise TransitionError(
            f"Message {number} has no body any more: Housekeeping has removed it after the time in notify_keep_bodies, "
            "or a person was erased. It cannot be sent again; hand over a new message instead."
        )


def _require_wanted(connection: Connection, number: int, whom: sa.ColumnElement[bool]) -> None:
    """Make sure that nobody to whom a message would go is on the suppression list."""
    query = sa.select(recipients.c.address).where(recipients.c.message_id == number, whom)
    addresses = connection.scalars(query).all()
    unwanted = suppressions.among(connection, addresses)
    if not unwanted:
        _require_subscribed(connection, number, addresses)
        return
    named = "; ".join(f"{address} ({reason})" for address, reason in sorted(unwanted.items())[:_NAMED])
    more = f"; and {len(unwanted) - _NAMED} more" if len(unwanted) > _NAMED else ""
    raise TransitionError(
        f"Message {number} was not put in the queue: on the suppression list is {named}{more}. "
        f"If they want mail again, first: python -m notify suppressions lift {min(unwanted)}"
    )


def _require_subscribed(connection: Connection, number: int, addresses: Iterable[str]) -> None:
    """Make sure that bulk mail goes to nobody who wants none any more."""
    if connection.scalar(sa.select(messages.c.priority).where(messages.c.id == number)) != Priority.BULK:
        return
    if gone := unsubscriptions.among(connection, addresses, unsubscriptions.BULK):
        raise TransitionError(
            f"Message {number} was not put in the queue: {min(gone)} has unsubscribed from bulk mail. If they want "
            f"it again, first: python -m notify suppressions lift {min(gone)} --scope {unsubscriptions.BULK}"
        )
