"""Hand-over: from a producer's fields to messages in the outbox.

Everything that can be wrong with a message is found here, before anything is stored, and told in one error. What
passes has been rendered and composed: sending it later needs no template, no lookup and no producer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from notify import garbage
from notify.domain.channel import ChannelName
from notify.domain.message import Draft, faults_of_own_key, read_draft
from notify.doors.base import Door
from notify.doors.mail import MailDoor
from notify.doors.sms import SmsDoor
from notify.exceptions import Fault, InvalidMessage
from notify.settings import HandOverSettings
from notify.storage import attachments, outbox, schema
from notify.storage.outbox import NewMessage, Origin, Stored
from notify.storage.recipients import book_of

#: Where a message of each channel is handed over.
_DOORS: Mapping[ChannelName, type[Door]] = {ChannelName.EMAIL: MailDoor, ChannelName.SMS: SmsDoor}


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The answer to a hand-over.

    :param messages: in the outbox now, or already there under the same idempotency key
    :param duplicate: whether they were there already
    :param suppressed: how many of the recipients get nothing, because they are on the suppression list; a message
        of which that is true for all is in the register, as ``suppressed``
    """

    messages: tuple[Stored, ...]
    duplicate: bool = False
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a hand-over would come to.

    :param messages: that it would put into the outbox
    :param duplicate: whether it would put none there, since there are some under the same idempotency key
    :param suppressed: how many of the recipients would get nothing
    """

    messages: tuple[NewMessage, ...]
    duplicate: bool
    suppressed: int


@garbage.paused()
def preview(connection: Connection, fields: Mapping[str, Any], settings: HandOverSettings) -> Previewed:
    """Check, render and compose a message, as :func:`hand_over` does, and store nothing.

    :raises InvalidMessage: something is wrong with it; the error names every fault
    :raises SchemaError: the database is not ready
    """
    schema.require(connection)
    draft, faults = _read(fields, None)
    [door] = _doors(connection, [(draft, faults)], settings)
    door.check()
    known = bool(draft.idempotency_key and outbox.find_by_key(connection, draft.idempotency_key))
    return Previewed(tuple(door.new), known, door.suppressed)


@garbage.paused()
def hand_over(
    connection: Connection,
    fields: Mapping[str, Any],
    settings: HandOverSettings,
    *,
    origin: Origin | None = None,
) -> HandedOver:
    """Check, render, compose and store a message, in the caller's transaction.

    :param connection: of the outbox database; nothing is committed here
    :param fields: those of SendMessage, see :class:`notify.domain.message.Draft`
    :param origin: the task that hands it over
    :raises InvalidMessage: something is wrong with it; the error names every fault
    :raises SchemaError: the database is not ready
    """
    schema.require(connection)
    draft, faults = _read(fields, origin)
    if draft.idempotency_key and not faults:
        found = outbox.find_by_key(connection, draft.idempotency_key)
        if found:
            return HandedOver(tuple(found), duplicate=True)
    [door] = _doors(connection, [(draft, faults)], settings)
    door.check()
    return _stored(connection, [door], origin)[0]


@garbage.paused()
def hand_over_all(
    connection: Connection, given: Sequence[Mapping[str, Any]], settings: HandOverSettings
) -> list[HandedOver]:
    """Check, render, compose and store several messages, each with its own fields: all of them, or none.

    :param given: of each its fields, as for :func:`hand_over`
    :returns: the answer to each
    :raises InvalidMessage: something is wrong with one of them; each fault says which, as in ``messages[17].recipient``
    """
    schema.require(connection)
    drafts = [_read(fields, None) for fields in given]
    keys = [None if faults else draft.idempotency_key for draft, faults in drafts]
    known = outbox.find_by_keys(connection, [key for key in keys if key])
    # Of several with the same key the first one counts, as if they had come one after another.
    first = {key: position for position, key in reversed([*enumerate(keys)]) if key and key not in known}
    new = [position for position, key in enumerate(keys) if not key or first.get(key) == position]
    doors = dict(zip(new, _doors(connection, [drafts[position] for position in new], settings), strict=True))
    _check_all(doors)
    stored = dict(zip(doors, _stored(connection, list(doors.values()), None), strict=True))
    again = {key: known.get(key) or stored[first[key]].messages for key in keys if key}
    return [
        stored[position] if position in stored else HandedOver(tuple(again[key]), duplicate=True)
        for position, key in enumerate(map(str, keys))
    ]


def _read(fields: Mapping[str, Any], origin: Origin | None) -> tuple[Draft, list[Fault]]:
    draft, faults = read_draft(fields)
    if origin is None:
        faults += faults_of_own_key(draft.idempotency_key)
    return draft, faults


def _doors(
    connection: Connection, drafts: Sequence[tuple[Draft, list[Fault]]], settings: HandOverSettings
) -> list[Door]:
    """A door for each; what is asked of the database is asked once for all of them."""
    book, now = book_of(connection, (draft for draft, _ in drafts), settings.region), outbox.now(connection)
    return [_DOORS[draft.channel](book, now, draft, settings, faults) for draft, faults in drafts]


def _check_all(doors: Mapping[int, Door]) -> None:
    faults: list[Fault] = []
    for position, door in doors.items():
        try:
            door.check()
        except InvalidMessage as error:
            faults += [Fault(f"messages[{position}].{fault.field}", fault.problem) for fault in error.faults]
    if faults:
        raise InvalidMessage(faults)


def _stored(connection: Connection, doors: Sequence[Door], origin: Origin | None) -> list[HandedOver]:
    for door in doors:
        for file in door.files:
            attachments.put(connection, file.content, store=door.settings.attachment_store)
    parts = [(door.new, door.draft.idempotency_key) for door in doors]
    return [
        HandedOver(tuple(stored), suppressed=door.suppressed)
        for door, stored in zip(doors, outbox.add_all(connection, parts, origin=origin), strict=True)
    ]
