"""Hand-over: from a producer's fields to messages in the outbox.

Everything that can be wrong with a message is found here, before anything is stored, and told in one error. What
passes has been rendered and composed: sending it later needs no template, no lookup and no producer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from notify import garbage
from notify.domain.address import CONTROL, parse_address
from notify.domain.message import (
    MOST_RECIPIENTS_OF_ONE_MAIL,
    Draft,
    Priority,
    RecipientRole,
    faults_of_own_key,
    moment_after,
    read_draft,
)
from notify.exceptions import Fault, InvalidMessage, TemplateError, TemplateFieldMissing, TemplateNotFound
from notify.rendering import mime
from notify.rendering.library import Rendered, library
from notify.settings import HandOverSettings
from notify.storage import attachments, outbox, schema, unsubscriptions
from notify.storage.outbox import NewMessage, NewRecipient, Origin, Stored
from notify.storage.recipients import Book, Receiver, book_of, resolve
from notify.storage.sources import File, fetch

#: The kind of a message that brings its own text.
PLAIN_KIND = "send_message"


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
) -> list[_Door]:
    """A door for each; what is asked of the database is asked once for all of them."""
    book, now = book_of(connection, (draft for draft, _ in drafts)), outbox.now(connection)
    return [_Door(book, now, draft, settings, faults) for draft, faults in drafts]


def _check_all(doors: Mapping[int, _Door]) -> None:
    faults: list[Fault] = []
    for position, door in doors.items():
        try:
            door.check()
        except InvalidMessage as error:
            faults += [Fault(f"messages[{position}].{fault.field}", fault.problem) for fault in error.faults]
    if faults:
        raise InvalidMessage(faults)


def _stored(connection: Connection, doors: Sequence[_Door], origin: Origin | None) -> list[HandedOver]:
    for door in doors:
        for file in door.files:
            attachments.put(connection, file.content, store=door.settings.attachment_store)
    parts = [(door.new, door.draft.idempotency_key) for door in doors]
    return [
        HandedOver(tuple(stored), suppressed=door.suppressed)
        for door, stored in zip(doors, outbox.add_all(connection, parts, origin=origin), strict=True)
    ]


#: The receivers of one mail.
Envelope = Sequence[Receiver]


@dataclass(frozen=True, slots=True)
class _Common:
    """What all messages of one hand-over share."""

    sender: str
    domain: str
    reply_to: str | None
    files: Sequence[File]
    suppressed: Mapping[str, str]
    not_before: datetime
    expires_at: datetime | None


class _Door:
    """One hand-over at the door; faults gather here until there is nothing more to check."""

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
        self._rendered: dict[object, Rendered | None] = {}
        self._bodies: dict[Rendered, mime.Body] = {}

    def check(self) -> None:
        """Make the messages to store.

        :raises InvalidMessage: there is anything wrong with any of them
        """
        receivers = resolve(self.book, self.draft, self.faults)
        sender = self._sender()
        identity = self.settings.identity(sender)
        self._site_name = identity.name
        reply_to = self._reply_to()
        files = fetch(self.draft.attachments, self.settings.attachment_sources, self.settings.largest, self.faults)
        times = self._times()
        envelopes = self._envelopes(receivers)
        # Rendered even where nobody was found: a template's faults belong in the same error.
        letters = [self._render(envelope) for envelope in envelopes or [()]]
        self._raise_faults()
        common = _Common(sender, identity.domain, reply_to, files, self._suppressed(), *times)
        self.new = [
            self._message(envelope, letter, common)
            for envelope, letter in zip(envelopes, letters, strict=True)
            if letter is not None
        ]
        self._check_sizes(self.new, files)
        self._raise_faults()
        self.files = files

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
        if self.draft.sender is None:
            return self.settings.senders[0]
        if self.draft.sender not in self.settings.senders:
            known = ", ".join(self.settings.senders)
            self._fault(
                "sender",
                f"{self.draft.sender!r} is not among the senders ({known}); see Variable notify_senders",
            )
            return self.settings.senders[0]  # no producer makes us look up connections that are no senders
        return self.draft.sender

    def _suppressed(self) -> Mapping[str, str]:
        """Who gets nothing, and why."""
        if self.draft.priority is not Priority.BULK:
            return self.book.suppressed
        return dict.fromkeys(self.book.unsubscribed, unsubscriptions.UNSUBSCRIBED) | self.book.suppressed

    def _reply_to(self) -> str | None:
        if self.draft.reply_to is None:
            return None
        try:
            address = parse_address(self.draft.reply_to)
        except ValueError as error:
            self._fault("reply_to", str(error))
            return None
        return str(address)  # encoded when it leaves, as the sender's own is

    def _times(self) -> tuple[datetime, datetime | None]:
        not_before = max(self.now, moment_after(self.draft.send_after, self.now) or self.now)
        expires_at = moment_after(self.draft.expires_after, self.now)
        if expires_at and expires_at <= not_before:
            self._fault("expires_after", "lies before the message could be sent; choose a later moment")
        return not_before, expires_at

    def _envelopes(self, receivers: Sequence[Receiver]) -> list[Envelope]:
        if not self.draft.to_all:
            return [(receiver,) for receiver in receivers]
        if len(receivers) > MOST_RECIPIENTS_OF_ONE_MAIL:
            self._fault(
                "one_mail",
                f"{len(receivers)} recipients are more than the {MOST_RECIPIENTS_OF_ONE_MAIL} that every server takes "
                "in one mail (RFC 5321, 4.5.3.1.8); send one mail per recipient",
            )
        return [receivers] if receivers else []

    # --- Rendering ---------------------------------------------------------------------------------------------------

    def _render(self, envelope: Envelope) -> Rendered | None:
        """The text for an envelope; readers of the same language and zone share one where it cannot tell them apart."""
        person = envelope[0].person if envelope else None
        language = self.draft.language or (person.language if person else None)
        timezone = (person.timezone if person else None) or self.settings.timezone
        personal = self.draft.template is not None and not self.draft.to_all
        key = (language, timezone, envelope[0].address if personal and envelope else None)
        if key not in self._rendered:
            # A link that is somebody's own stands in no mail that others get as well.
            link = self.settings.settings_link if len(envelope) == 1 else None
            self._rendered[key] = self._render_anew(language, timezone, envelope[0] if envelope else None, link)
        return self._rendered[key]

    def _render_anew(
        self, language: str | None, timezone: str, reader: Receiver | None, link: str | None
    ) -> Rendered | None:
        try:
            letter = library(self.settings.templates).render(
                self.draft.template or PLAIN_KIND,
                language=language,
                timezone=timezone,
                data=self._data(reader),
                house=self.draft.add_template,
                settings_link=link,
                fallback=self.draft.language is None,
            )
        except TemplateError as error:
            fault = Fault(self._field_of(error), str(error))
            if fault not in self.faults:
                self.faults.append(fault)
            return None
        if not CONTROL.search(letter.subject):
            return letter
        self._fault("subject" if self.draft.template is None else "data", "puts a control character into the subject")
        return None

    def _field_of(self, error: TemplateError) -> str:
        if isinstance(error, TemplateFieldMissing):
            return "data"
        if isinstance(error, TemplateNotFound) and self.draft.language is not None:
            kinds = library(self.settings.templates).kinds()
            return "language" if (self.draft.template or PLAIN_KIND) in kinds else "template"
        return "template" if self.draft.template is not None else "message"

    def _data(self, reader: Receiver | None) -> dict[str, Any]:
        case = {"id": self.draft.case_id, "url": self._case_url()} if self.draft.case_id else None
        if self.draft.template is None:
            return {
                "subject": self.draft.subject or "",
                "message": self.draft.message or "",
                "html": self.draft.html,
                "case": case,
                "site_name": self._site_name,
            }
        recipient = None
        if reader is not None and not self.draft.to_all:
            name = reader.person.name if reader.person else reader.address.name
            recipient = {
                "name": name,
                "address": reader.address.mailbox,
                "login": reader.person.login if reader.person else None,
            }
        return {"case": case, "recipient": recipient, "site_name": self._site_name, **self.draft.data}

    def _case_url(self) -> str | None:
        if not self.draft.add_url or self.draft.case_id is None:
            return None
        return self.draft.case_url or self.settings.url_of_case(self.draft.case_id)

    # --- Composing ---------------------------------------------------------------------------------------------------

    def _message(self, envelope: Envelope, letter: Rendered, common: _Common) -> NewMessage:
        subject = self._subject(letter)
        body = self._body(letter)
        boundary = mime.new_boundary() if common.files else None
        message_id = mime.new_message_id(common.domain)
        headers = mime.compose_headers(
            message_id=message_id,
            subject=subject,
            to=[receiver.address for receiver in envelope if receiver.role is RecipientRole.TO],
            cc=[receiver.address for receiver in envelope if receiver.role is RecipientRole.CC],
            body=body,
            boundary=boundary,
            unsubscribe=self.settings.unsubscribe_link if self._may_unsubscribe(envelope) else None,
        )
        content = mime.as_first_part(body) if common.files else body.content
        return NewMessage(
            message_id=message_id,
            sender=common.sender,
            kind=self.draft.template or PLAIN_KIND,
            subject=subject,
            headers=headers,
            body=content,
            recipients=tuple(_recipient(receiver, common.suppressed) for receiver in envelope),
            size=len(headers) + len(content) + sum(file.encoded_size for file in common.files),
            boundary=boundary,
            language=letter.language,
            reply_to=common.reply_to,
            case_id=self.draft.case_id,
            priority=self.draft.priority,
            guarantee=self.draft.guarantee,
            not_before=common.not_before,
            expires_at=common.expires_at,
            attachments=tuple(file.stored for file in common.files),
        )

    def _may_unsubscribe(self, envelope: Envelope) -> bool:
        """Whether whoever gets it can say that they want no more: of bulk mail, where theirs is their own."""
        return self.draft.priority is Priority.BULK and len(envelope) == 1

    def _subject(self, letter: Rendered) -> str:
        subject = self.draft.subject or letter.subject
        if self.draft.case_id and self.draft.add_case_id_to_subject:
            return f"[{self.draft.case_id}] {subject}"
        return subject

    def _body(self, letter: Rendered) -> mime.Body:
        if letter not in self._bodies:
            self._bodies[letter] = mime.compose_body(letter.text, letter.html)
        return self._bodies[letter]

    def _check_sizes(self, new: Iterable[NewMessage], files: Sequence[File]) -> None:
        largest = max((message.size for message in new), default=0)
        if largest > self.settings.largest:
            self._fault(
                "attachments" if files else "message",
                f"the message would have {largest:,} bytes, more than the {self.settings.largest:,} that most servers "
                "take; send a link instead",
            )


def _recipient(receiver: Receiver, suppressed: Mapping[str, str]) -> NewRecipient:
    address, login = receiver.address, receiver.person.login if receiver.person else None
    return NewRecipient(receiver.role, address.mailbox, address.name, login, suppressed.get(address.key))
