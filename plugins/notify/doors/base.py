"""What every hand-over has in common, whatever channel the message takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from notify.domain.message import Draft, Priority, moment_after
from notify.doors.sender import choose_sender
from notify.exceptions import Fault, InvalidMessage, TemplateError, TemplateFieldMissing, TemplateNotFound
from notify.rendering.library import library
from notify.settings import HandOverSettings
from notify.storage import unsubscriptions
from notify.storage.outbox import NewMessage, NewRecipient
from notify.storage.recipients import Book, Receiver
from notify.storage.sources import File

#: The kind of a message that brings its own text.
PLAIN_KIND = "send_message"


class Door(ABC):
    """One hand-over at the door; faults gather here until there is nothing more to check.

    :param book: who is behind the names in the draft
    :param now: by the database's clock
    :param faults: those found already
    :ivar new: the messages to store, once it is checked
    :ivar files: their attachments
    """

    def __init__(
        self, book: Book, now: datetime, draft: Draft, settings: HandOverSettings, faults: list[Fault]
    ) -> None:
        self.book = book
        self.now = now
        self.draft = draft
        self.settings = settings
        self.faults = faults
        self.new: list[NewMessage] = []
        self.files: Sequence[File] = ()
        self._site_name: str | None = None

    @abstractmethod
    def check(self) -> None:
        """Make the messages to store.

        :raises InvalidMessage: there is anything wrong with any of them
        """

    @property
    def suppressed(self) -> int:
        """How many of the recipients get nothing."""
        return sum(recipient.suppressed is not None for message in self.new for recipient in message.recipients)

    def _raise_faults(self) -> None:
        if self.faults:
            raise InvalidMessage(self.faults)

    def _fault(self, field: str, problem: str) -> None:
        self.faults.append(Fault(field, problem))

    def _sender(self) -> str:
        """The sender that was named, else that of the site, else the first one of the channel."""
        draft = self.draft
        return choose_sender(draft.channel, draft.sender, draft.site, self.settings, self.faults)

    def _suppressed(self) -> Mapping[str, str]:
        """Who gets nothing, and why."""
        if self.draft.priority is not Priority.BULK:
            return self.book.suppressed
        return dict.fromkeys(self.book.unsubscribed, unsubscriptions.UNSUBSCRIBED) | self.book.suppressed

    def _times(self) -> tuple[datetime, datetime | None]:
        not_before = max(self.now, moment_after(self.draft.send_after, self.now) or self.now)
        expires_at = moment_after(self.draft.expires_after, self.now)
        if expires_at and expires_at <= not_before:
            self._fault("expires_after", "lies before the message could be sent; choose a later moment")
        return not_before, expires_at

    def _template_fault(self, error: TemplateError) -> None:
        fault = Fault(self._field_of(error), str(error))
        if fault not in self.faults:
            self.faults.append(fault)

    def _field_of(self, error: TemplateError) -> str:
        if isinstance(error, TemplateFieldMissing):
            return "data"
        if isinstance(error, TemplateNotFound) and self.draft.language is not None:
            kinds = library(self.settings.templates).kinds()
            return "language" if (self.draft.template or PLAIN_KIND) in kinds else "template"
        return "template" if self.draft.template is not None else "message"

    def _fields(self, reader: Receiver | None) -> dict[str, Any]:
        """What a template sees."""
        recipient = None
        if reader is not None and not self.draft.to_all:
            name = reader.person.name if reader.person else reader.address.name
            recipient = {
                "name": name,
                "address": reader.address.destination,
                "login": reader.person.login if reader.person else None,
            }
        return {"case": self._case(), "recipient": recipient, "site_name": self._site_name, **self.draft.data}

    def _case(self) -> dict[str, str | None] | None:
        return {"id": self.draft.case_id, "url": self._case_url()} if self.draft.case_id else None

    def _case_url(self) -> str | None:
        if not self.draft.add_url or self.draft.case_id is None:
            return None
        return self.draft.case_url or self.settings.url_of_case(self.draft.case_id)


def recipient_of(receiver: Receiver, suppressed: Mapping[str, str]) -> NewRecipient:
    """A receiver, as the outbox keeps them.

    :param suppressed: who gets nothing, and why
    """
    address, login = receiver.address, receiver.person.login if receiver.person else None
    return NewRecipient(receiver.role, address.destination, address.name, login, suppressed.get(address.key))
