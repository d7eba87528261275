"""The door of SMS: the text is made, counted in parts and stored as it will travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from notify.composing import TEXT_HEADERS
from notify.domain import sms
from notify.domain.channel import ChannelName
from notify.doors.base import PLAIN_KIND, Door, recipient_of
from notify.exceptions import InvalidText, TemplateError
from notify.rendering import mime
from notify.rendering.library import RenderedText, library
from notify.storage.outbox import NewMessage
from notify.storage.recipients import Receiver, resolve


@dataclass(frozen=True, slots=True)
class _Text:
    """What one reader, or several of them, will read.

    :param parts: how many of them it takes
    """

    text: str
    language: str | None
    parts: int


@dataclass(frozen=True, slots=True)
class _Common:
    """What all messages of one hand-over share."""

    sender: str
    domain: str
    suppressed: Mapping[str, str]
    not_before: datetime
    expires_at: datetime | None


class SmsDoor(Door):
    """Where an SMS is handed over: a message for each number."""

    def check(self) -> None:
        """Make the messages to store."""
        receivers = resolve(self.book, self.draft, self.faults)
        sender = self._sender()
        identity = self.settings.identity(sender)
        self._site_name = identity.name
        times = self._times()
        # Made even where nobody was found: a template's faults belong in the same error.
        texts = [self._text(receiver) for receiver in receivers] if receivers else [self._text(None)]
        self._raise_faults()
        common = _Common(sender, identity.domain, self._suppressed(), *times)
        self.new = [
            self._message(receiver, text, common)
            for receiver, text in zip(receivers, texts, strict=True)
            if text is not None
        ]

    def _text(self, receiver: Receiver | None) -> _Text | None:
        found = self._rendered(receiver)
        if found is None:
            return None
        try:
            content = sms.parse_text(found.text, transliterated=self.draft.transliterate)
            return _Text(content.text, found.language or None, content.size.parts)
        except InvalidText as error:
            self._fault("message" if self.draft.template is None else "data", str(error))
            return None

    def _rendered(self, receiver: Receiver | None) -> RenderedText | None:
        person = receiver.person if receiver else None
        if self.draft.template is None:  # where there is nothing either, that is told already
            return RenderedText(self.draft.message, self.draft.language or "") if self.draft.message else None
        try:
            return library(self.settings.templates).sms(
                self.draft.template,
                language=self.draft.language or (person.language if person else None),
                timezone=(person.timezone if person else None) or self.settings.timezone,
                data=self._fields(receiver),
                fallback=self.draft.language is None,
            )
        except TemplateError as error:
            self._template_fault(error)
            return None

    def _message(self, receiver: Receiver, text: _Text, common: _Common) -> NewMessage:
        body = text.text.encode()
        return NewMessage(
            message_id=mime.new_message_id(common.domain),
            channel=ChannelName.SMS,
            sender=common.sender,
            kind=self.draft.template or PLAIN_KIND,
            subject="SMS",  # the text itself is for whoever may read bodies
            headers=TEXT_HEADERS,
            body=body,
            recipients=(recipient_of(receiver, common.suppressed),),
            size=len(body),
            parts=text.parts,
            language=text.language,
            case_id=self.draft.case_id,
            site=self.draft.site,
            priority=self.draft.priority,
            guarantee=self.draft.promise,
            not_before=common.not_before,
            expires_at=common.expires_at,
        )
