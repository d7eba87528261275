"""Recipients that are taken together: who they are, who gets no message, and the messages of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection

from notify.domain.address import Address
from notify.domain.campaign import Campaign, Fate, Row, key_of
from notify.domain.channel import ChannelName
from notify.domain.message import RecipientRole
from notify.domain.person import Person
from notify.doors.campaign import CampaignDoor
from notify.exceptions import (
    InvalidNumber,
    InvalidText,
    TemplateBroken,
    TemplateError,
    TemplateNotFound,
    TemplateTooSlow,
)
from notify.settings import HandOverSettings
from notify.storage import campaign_recipients, outbox
from notify.storage.campaign_recipients import Known, Met
from notify.storage.outbox import NewMessage
from notify.storage.recipients import Book, Phone, Receiver

#: A template that fails the first so many recipients of a stretch would fail them all.
MOST_BROKEN = 20

#: A recipient as they were named, and who that is; or why nobody can be reached so.
_Found = tuple[Row, Receiver | Fate]


@dataclass(frozen=True, slots=True)
class Made:
    """A message, and whom it is for."""

    key: bytes
    place: str
    message: NewMessage

    def met(self, message_id: int) -> Met:
        """What is kept of them."""
        return Met(self.key, Fate.CREATED, self.place, message_id)


class Stretch:
    """Recipients that are taken together.

    :ivar others: those who get no message now, or have theirs
    :ivar doubled: how many were met before in this pass
    :ivar kept: how many have their message from an earlier pass
    :ivar left_out: how many get none, by the reason
    :ivar problem: why the first of those whose text cannot be made has none
    :ivar broken: how many a template failed that may be at fault itself
    """

    def __init__(self, connection: Connection, campaign: Campaign, settings: HandOverSettings) -> None:
        self.connection = connection
        self.campaign = campaign
        self.settings = settings
        self.others: list[Met] = []
        self.doubled = 0
        self.kept = 0
        self.left_out: Counter[Fate] = Counter()
        self.problem: str | None = None
        self.broken = 0

    def make(self, door: CampaignDoor[Any], rows: Sequence[Row]) -> list[Made]:
        """Make the messages of those who get one."""
        book = self._book(rows)
        met = self._once(self._resolved(book, rows))
        wanted = self._wanted(book, self._new(met))
        now = outbox.now(self.connection)
        made = []
        for key, (row, receiver) in wanted.items():
            try:
                made.append(Made(key, row.place, self._message(door.message(receiver, row.fields, now))))
            except TemplateTooSlow:
                raise  # so it would be for all
            except (InvalidText, TemplateError, ValueError) as error:
                self._require_usable(error, row, any_made=bool(made))
                self.problem = self.problem or f"{row.place}: {error}"
                self._leave_out(key, row, Fate.INCOMPLETE)
        return made

    def _require_usable(self, error: Exception, row: Row, *, any_made: bool) -> None:
        """One recipient whose fields or language a template cannot take keeps no others from theirs.

        :raises TemplateError: it can take none of the first ones, and is at fault itself
        """
        if not isinstance(error, TemplateBroken | TemplateNotFound):
            return
        self.broken += 1
        if self.broken >= MOST_BROKEN and not any_made and not self.kept:
            raise type(error)(f"{row.place}: {error}") from error

    def _book(self, rows: Sequence[Row]) -> Book:
        names = [row.recipient for row in rows]
        by_mail = self.campaign.channel is ChannelName.EMAIL
        return Book(
            self.connection,
            names if by_mail else [],
            numbers=[] if by_mail else names,
            region=self.settings.region,
        )

    def _resolved(self, book: Book, rows: Sequence[Row]) -> Iterator[tuple[bytes, Row, Receiver | Fate]]:
        for row in rows:
            name = row.recipient
            if row.is_login and name in book.people:  # there may be a group of that name, too
                yield self._found(book, row, name, partial(book.reach, book.people[name], self.campaign.channel))
                continue
            # One by one: who of a group cannot be reached keeps nobody else from their message.
            members = book.groups.get(name, []) if name not in book.people else []
            for person in members:
                yield self._found(book, row, person.login, partial(book.reach, person, self.campaign.channel))
            if not members:
                yield self._found(book, row, name, partial(self._look_up, book, name))

    def _look_up(self, book: Book, name: str) -> tuple[Address | Phone, Person | None]:
        return next(book.look_up(name, self.campaign.channel))

    def _found(
        self, book: Book, row: Row, name: str, ask: Callable[[], tuple[Address | Phone, Person | None]]
    ) -> tuple[bytes, Row, Receiver | Fate]:
        try:
            address, person = ask()
        except (ValueError, InvalidNumber):
            is_known = name != row.recipient or name in book.people or name in book.groups
            fate = Fate.UNREACHABLE if is_known else Fate.INVALID
            return key_of(f"{fate} {name.lower()}"), row, fate
        reader = person or book.readers.get(address.key)
        return key_of(address.key), row, Receiver(RecipientRole.TO, address, reader)

    def _once(self, found: Iterable[tuple[bytes, Row, Receiver | Fate]]) -> dict[bytes, tuple[Row, Receiver | Fate]]:
        met: dict[bytes, tuple[Row, Receiver | Fate]] = {}
        for key, row, one in found:
            if key in met:
                self.doubled += 1
            else:
                met[key] = (row, one)
        return met

    def _new(self, met: Mapping[bytes, _Found]) -> dict[bytes, _Found]:
        """Those who have no message yet."""
        known = campaign_recipients.known(self.connection, self.campaign, list(met))
        return {key: found for key, found in met.items() if not self._is_settled(key, found, known.get(key))}

    def _is_settled(self, key: bytes, found: _Found, known: Known | None) -> bool:
        if known is None:
            return False
        if known.number_of_pass == self.campaign.number_of_pass:
            self.doubled += 1
            return True
        if known.fate is not Fate.CREATED:
            return False
        self.kept += 1
        self.others.append(Met(key, Fate.CREATED, found[0].place, known.message_id))
        return True

    def _wanted(self, book: Book, new: Mapping[bytes, _Found]) -> dict[bytes, tuple[Row, Receiver]]:
        """Those of them who can be reached, and want it."""
        wanted = {}
        for key, (row, receiver) in new.items():
            fate = receiver if isinstance(receiver, Fate) else _unwanted(book, receiver.address.key)
            if isinstance(receiver, Receiver) and fate is None:
                wanted[key] = row, receiver
            elif fate is not None:
                self._leave_out(key, row, fate)
        return wanted

    def _leave_out(self, key: bytes, row: Row, fate: Fate) -> None:
        self.left_out[fate] += 1
        self.others.append(Met(key, fate, row.place))

    def _message(self, message: NewMessage) -> NewMessage:
        if message.size > self.settings.largest:
            raise InvalidText(
                f"the message would have {message.size:,} bytes, more than the {self.settings.largest:,} that most "
                "servers take; attach less"
            )
        return message


def _unwanted(book: Book, key: str) -> Fate | None:
    if key in book.suppressed:
        return Fate.SUPPRESSED
    return Fate.UNSUBSCRIBED if key in book.unsubscribed else None
