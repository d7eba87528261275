"""The door of mails: rendered, composed and weighed before they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notify.domain.address import CONTROL, Address, parse_address
from notify.domain.message import MOST_RECIPIENTS_OF_ONE_MAIL, Draft, Priority, RecipientRole
from notify.doors.base import PLAIN_KIND, Door, recipient_of
from notify.exceptions import Fault, TemplateError
from notify.rendering import mime
from notify.rendering.library import Rendered, library
from notify.settings import HandOverSettings
from notify.storage.outbox import NewMessage
from notify.storage.recipients import Book, Receiver, resolve
from notify.storage.sources import File, fetch

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


class MailDoor(Door):
    """Where a mail is handed over."""

    def __init__(
        self, book: Book, now: datetime, draft: Draft, settings: HandOverSettings, faults: list[Fault]
    ) -> None:
        super().__init__(book, now, draft, settings, faults)
        self._rendered: dict[object, Rendered | None] = {}
        self._bodies: dict[Rendered, mime.Body] = {}

    def check(self) -> None:
        """Make the messages to store."""
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

    def _reply_to(self) -> str | None:
        if self.draft.reply_to is None:
            return None
        try:
            address = parse_address(self.draft.reply_to)
        except ValueError as error:
            self._fault("reply_to", str(error))
            return None
        return str(address)  # encoded when it leaves, as the sender's own is

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
            self._template_fault(error)
            return None
        if not CONTROL.search(letter.subject):
            return letter
        self._fault("subject" if self.draft.template is None else "data", "puts a control character into the subject")
        return None

    def _data(self, reader: Receiver | None) -> dict[str, Any]:
        if self.draft.template is not None:
            return self._fields(reader)
        return {
            "subject": self.draft.subject or "",
            "message": self.draft.message or "",
            "html": self.draft.html,
            "case": self._case(),
            "site_name": self._site_name,
        }

    # --- Composing ---------------------------------------------------------------------------------------------------

    def _message(self, envelope: Envelope, letter: Rendered, common: _Common) -> NewMessage:
        subject = self._subject(letter)
        body = self._body(letter)
        boundary = mime.new_boundary() if common.files else None
        message_id = mime.new_message_id(common.domain)
        headers = mime.compose_headers(
            message_id=message_id,
            subject=subject,
            to=_addresses(envelope, RecipientRole.TO),
            cc=_addresses(envelope, RecipientRole.CC),
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
            recipients=tuple(recipient_of(receiver, common.suppressed) for receiver in envelope),
            size=len(headers) + len(content) + sum(file.encoded_size for file in common.files),
            boundary=boundary,
            language=letter.language,
            reply_to=common.reply_to,
            case_id=self.draft.case_id,
            site=self.draft.site,
            priority=self.draft.priority,
            guarantee=self.draft.promise,
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


def _addresses(envelope: Envelope, role: RecipientRole) -> list[Address]:
    return [one.address for one in envelope if one.role is role and isinstance(one.address, Address)]
