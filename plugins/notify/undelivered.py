"""Tells the senders of mails that these came back: one mail to each of them, however many came back in a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from notify.domain.address import parse_address
from notify.domain.person import Person
from notify.exceptions import InvalidMessage
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import bounces, people, suppressions
from notify.storage.bounces import NOTICE_KIND, Due
from notify.storage.outbox import Origin
from notify.storage.suppressions import Suppression

log = logging.getLogger(__name__)

#: Mails that are told of in one transaction, and of those the ones that one notice names; it counts the others.
MOST = 5000
NAMED = 50


@dataclass(slots=True)
class Telling:
    """What was told.

    :param notices: mails handed over
    :param told: mails that came back and that these tell of
    :param untold: mails that came back and that there is nobody to tell of
    :param waiting: mails that came back and that could not be told of; the next run tries again
    """

    notices: int = 0
    told: int = 0
    untold: int = 0
    waiting: int = 0


@dataclass(slots=True)
class _Reader:
    """Somebody to be told.

    :param recipient: as hand-over takes it
    """

    recipient: str
    mails: list[Due] = field(default_factory=list)


def tell_senders(
    connection: Connection, settings: HandOverSettings, contact: str, *, origin: Origin | None = None
) -> Telling:
    """Hand over what senders are to be told, in the caller's transaction, which marks it as told as well.

    :param contact: address, login or group to be told where no sender is known; empty: nobody
    """
    telling = Telling()
    seen: set[str] = set()
    refused: set[str] = set()
    last = 0
    # What cannot be told stays due, and must not stand before the rest for ever.
    while telling.told + telling.untold < MOST and (found := bounces.due(connection, MOST, after=last)):
        last = found[-1].id
        book = _Book(connection, found, contact)
        for key, reader in _readers(found, book).items():
            ids = [one.id for one in reader.mails]
            if not key:
                bounces.settle(connection, ids, told=False)
                telling.untold += len(ids)
            elif key not in seen and _told(connection, reader, book, settings, origin):
                bounces.settle(connection, ids, told=True)
                telling.notices += 1
                telling.told += len(ids)
            elif key not in seen or key in refused:
                refused.add(key)
                telling.waiting += len(ids)
            seen.add(key)  # one notice a run; the next tells of more
    return telling


def _readers(found: Iterable[Due], book: _Book) -> dict[str, _Reader]:
    readers: dict[str, _Reader] = {}
    for one in found:
        recipient = book.reader_of(one)
        readers.setdefault(recipient.lower(), _Reader(recipient)).mails.append(one)
    return readers


def _told(
    connection: Connection, reader: _Reader, book: _Book, settings: HandOverSettings, origin: Origin | None
) -> bool:
    fields = {
        "recipient": [reader.recipient],
        "template": NOTICE_KIND,
        "data": {
            "mails": [_line(one, book.suppressed.get(one.address.lower())) for one in reader.mails[:NAMED]],
            "more": max(0, len(reader.mails) - NAMED),
        },
    }
    try:
        with connection.begin_nested():
            hand_over(connection, fields, settings, origin=origin)
    except InvalidMessage as error:
        # Whoever reads the log learns no address.
        faults = ("the recipient" if "recipient" in one.field else str(one) for one in error.faults)
        remedy = " Correct the Variable notify_bounce_contact." if reader.recipient == book.contact else ""
        told = "; ".join(dict.fromkeys(faults))
        log.warning("of mails that came back nobody could be told: refused was %s.%s", told, remedy)
        return False
    return True


def _line(one: Due, suppression: Suppression | None) -> dict[str, Any]:
    """A mail that came back, as the template sees it."""
    return {
        "number": one.message_id,
        "subject": one.subject,
        "case_id": one.case_id,
        "written_at": one.created_at.isoformat(),
        "name": one.name,
        "address": one.address,
        "words": one.words or one.status,
        "suppressed": suppression is not None,
        "suppressed_until": suppression.expires_at.isoformat() if suppression and suppression.expires_at else None,
    }


class _Book:
    """Who can be told, read at once."""

    def __init__(self, connection: Connection, found: Sequence[Due], contact: str) -> None:
        self.contact = contact
        self.actors = people.find(connection, {one.actor for one in found if one.actor})
        self.suppressed = suppressions.find(connection, {one.address for one in found} | set(self._addresses(found)))

    def _addresses(self, found: Iterable[Due]) -> Iterator[str]:
        yield from (person.email for person in self.actors.values() if person.email)
        yield from (address for one in found if (address := _mailbox(one.reply_to)))
        yield from filter(None, [_mailbox(self.contact)])

    def reader_of(self, one: Due) -> str:
        """Who is told: where answers to the mail go; else who did what it tells of; else the contact.

        :returns: as hand-over takes it; empty for nobody
        """
        if (answers := _mailbox(one.reply_to)) and self._reachable(answers, one):
            return answers
        actor = self.actors.get(one.actor or "")
        if actor is not None and actor.active and actor.email and self._reachable(actor.email, one):
            return _named(actor)
        address = _mailbox(self.contact)
        return "" if address and not self._reachable(address, one) else self.contact

    def _reachable(self, address: str, one: Due) -> bool:
        """Whether a mail may reach them; whose own mail came back is told nothing by another."""
        return address.lower() not in self.suppressed and address.lower() != one.address.lower()


def _named(person: Person) -> str:
    """A person by their login, so that they get their language."""
    return person.login


def _mailbox(text: str | None) -> str:
    """An address without its name, empty if it is none."""
    try:
        return parse_address(text).mailbox if text else ""
    except ValueError:
        return ""
