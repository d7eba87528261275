"""The door of campaigns: a message for each recipient, with their own fields in it, composed as it is made."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from notify.composing import TEXT_HEADERS
from notify.domain import sms
from notify.domain.address import CONTROL, LONGEST_NAME, Address, parse_address
from notify.domain.campaign import Campaign, CampaignDraft
from notify.domain.channel import ChannelName
from notify.domain.message import Priority, RecipientRole
from notify.doors.base import PLAIN_KIND
from notify.exceptions import TemplateError
from notify.rendering import mime
from notify.rendering.library import Filled, Rendered, Typed, library
from notify.settings import HandOverSettings
from notify.storage.attachments import StoredFile
from notify.storage.outbox import NewMessage, NewRecipient
from notify.storage.recipients import Receiver

#: How the fields are called in faults; what ends in ``.html.j2`` is escaped.
_SUBJECT, _TEXT, _HTML = "subject", "message", "message.html.j2"

#: Texts that are remembered for others; a list may have a language of its own in each row.
MOST_SHARED = 1_000

#: What one reader's text is made of, beside their address.
Text = TypeVar("Text")

#: What the field ``language`` has to be, to count as the reader's.
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True)
class Files:
    """The files that all messages of a campaign carry.

    :param size: their bytes on the wire
    """

    stored: tuple[StoredFile, ...] = ()
    size: int = 0


_NO_FILES = Files()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whom a text is for, as far as it can tell readers apart."""

    language: str | None
    timezone: str
    fields: Mapping[str, Any]
    recipient: Mapping[str, Any]

    @property
    def group(self) -> tuple[object, ...]:
        """Who is in one gets the same, unless a template asks for what is their own."""
        return (self.language, self.timezone, *self.fields)

    def is_asked_for(self, asked: frozenset[str]) -> bool:
        """Whether a template that asked for this has asked for anything of the reader's own."""
        return "recipient" in asked or not asked.isdisjoint(self.fields)


class CampaignDoor(ABC, Generic[Text]):
    """Makes the messages of one campaign.

    Texts in which nothing is personal are made once for all who can share them.

    :param sender: that they leave through
    :param campaign_id: which holds them until it is sent; None: nobody does
    """

    def __init__(
        self,
        campaign: Campaign | CampaignDraft,
        settings: HandOverSettings,
        sender: str,
        files: Files = _NO_FILES,
        campaign_id: int | None = None,
    ) -> None:
        identity = settings.identity(sender)
        self.campaign = campaign
        self.settings = settings
        self.sender = sender
        self.campaign_id = campaign_id
        self.domain = identity.domain
        self.site_name = identity.name
        self.files = files
        self.library = library(settings.templates)
        self._shared: dict[tuple[object, ...], Text] = {}
        self._compile()

    @abstractmethod
    def message(self, receiver: Receiver, fields: Mapping[str, Any], now: datetime, mark: str = "") -> NewMessage:
        """Make somebody's message.

        :param fields: their own, by name
        :param now: by the database's clock
        :param mark: in front of its subject; an SMS has none
        :raises TemplateError: it cannot be made of them
        :raises InvalidText: no SMS can hold it
        """

    @abstractmethod
    def _compile(self) -> None:
        """Read what the author typed.

        :raises TemplateBroken: it is no template
        """

    @abstractmethod
    def _make(self, reader: _Reader) -> tuple[Text, frozenset[str]]:
        """Make a reader's text; and what its templates asked for."""

    def _text(self, reader: _Reader) -> Text:
        """A reader's text, which others may have had made."""
        if (shared := self._shared.get(reader.group)) is not None:
            return shared
        made, asked = self._make(reader)
        if not reader.is_asked_for(asked) and len(self._shared) < MOST_SHARED:
            self._shared[reader.group] = made
        return made

    @property
    def kind(self) -> str:
        """What the register calls the kind."""
        return self.campaign.template or PLAIN_KIND

    def _reader(self, receiver: Receiver, fields: Mapping[str, Any]) -> _Reader:
        person = receiver.person
        given = fields.get("language")
        is_one = isinstance(given, str) and _LANGUAGE.fullmatch(given)
        theirs = str(given) if is_one else person.language if person else None
        name = receiver.address.name or (person.name if person else "") or _name(fields.get("name"))
        return _Reader(
            self.campaign.language or theirs,
            (person.timezone if person else None) or self.settings.timezone,
            fields,
            {"name": name, "address": receiver.address.destination, "login": person.login if person else None},
        )

    def _data(self, reader: _Reader) -> dict[str, Any]:
        own = {"recipient": reader.recipient, "site_name": self.site_name, "case": None}
        return {**self.campaign.data, **reader.fields, **own}

    def _typed(self, name: str, source: str) -> Typed:
        return self.library.typed(name, source)

    def _fill(self, template: Typed, reader: _Reader, data: Mapping[str, Any]) -> Filled:
        return self.library.fill(template, language=reader.language, timezone=reader.timezone, data=data)

    @property
    def _strict(self) -> bool:
        """Whether only the language that was named will do."""
        return self.campaign.language is not None


class CampaignMails(CampaignDoor[tuple[Rendered, mime.Body]]):
    """Makes the mails of a campaign."""

    def _compile(self) -> None:
        campaign = self.campaign
        self._reply_to = str(parse_address(campaign.reply_to)) if campaign.reply_to else None
        if campaign.template is None:
            self._subject = self._typed(_SUBJECT, campaign.subject or "")
            self._message = self._typed(_HTML if campaign.html else _TEXT, campaign.message or "")

    def message(self, receiver: Receiver, fields: Mapping[str, Any], now: datetime, mark: str = "") -> NewMessage:
        """Make somebody's mail."""
        reader = self._reader(receiver, fields)
        rendered, body = self._text(reader)
        address = receiver.address
        named = Address(address.destination, reader.recipient["name"])
        subject = f"{mark}{rendered.subject}"
        boundary = mime.new_boundary() if self.files.stored else None
        message_id = mime.new_message_id(self.domain)
        headers = mime.compose_headers(
            message_id=message_id,
            subject=subject,
            to=[named],
            body=body,
            boundary=boundary,
            unsubscribe=self.settings.unsubscribe_link,
        )
        content = mime.as_first_part(body) if boundary else body.content
        return NewMessage(
            message_id=message_id,
            sender=self.sender,
            kind=self.kind,
            subject=subject,
            headers=headers,
            body=content,
            recipients=(_recipient(receiver, named.name),),
            size=len(headers) + len(content) + self.files.size,
            boundary=boundary,
            language=rendered.language,
            reply_to=self._reply_to,
            site=self.campaign.site,
            priority=Priority.BULK,
            guarantee=self.campaign.promise,
            not_before=now,
            campaign_id=self.campaign_id,
            attachments=self.files.stored,
        )

    def _make(self, reader: _Reader) -> tuple[tuple[Rendered, mime.Body], frozenset[str]]:
        rendered, asked = self._rendered(reader)
        if CONTROL.search(rendered.subject):
            raise TemplateError("subject: a field puts a control character into it.")
        return (rendered, mime.compose_body(rendered.text, rendered.html)), asked

    def _rendered(self, reader: _Reader) -> tuple[Rendered, frozenset[str]]:
        data, asked = self._data(reader), frozenset[str]()
        if self.campaign.template is None:
            subject = self._fill(self._subject, reader, data)
            message = self._fill(self._message, reader, data)
            asked = subject.asked | message.asked
            data = {
                "subject": " ".join(subject.text.split()),
                "message": message.text,
                "html": self.campaign.html,
                "case": None,
                "site_name": self.site_name,
            }
        rendered = self.library.render(
            self.kind,
            language=reader.language,
            timezone=reader.timezone,
            data=data,
            house=self.campaign.add_template,
            settings_link=self.settings.settings_link,
            fallback=not self._strict,
        )
        return rendered, asked or rendered.asked


class CampaignSms(CampaignDoor[tuple[sms.Content, str | None]]):
    """Makes the SMS of a campaign."""

    def _compile(self) -> None:
        if self.campaign.template is None:
            self._message = self._typed(_TEXT, self.campaign.message or "")

    def message(self, receiver: Receiver, fields: Mapping[str, Any], now: datetime, mark: str = "") -> NewMessage:
        """Make somebody's SMS."""
        del mark  # an SMS has no subject
        reader = self._reader(receiver, fields)
        content, language = self._text(reader)
        body = content.text.encode()
        return NewMessage(
            message_id=mime.new_message_id(self.domain),
            channel=ChannelName.SMS,
            sender=self.sender,
            kind=self.kind,
            subject="SMS",  # the text itself is for whoever may read bodies
            headers=TEXT_HEADERS,
            body=body,
            recipients=(_recipient(receiver, reader.recipient["name"]),),
            size=len(body),
            parts=content.size.parts,
            language=language,
            site=self.campaign.site,
            priority=Priority.BULK,
            guarantee=self.campaign.promise,
            not_before=now,
            campaign_id=self.campaign_id,
        )

    def _make(self, reader: _Reader) -> tuple[tuple[sms.Content, str | None], frozenset[str]]:
        text, language, asked = self._rendered(reader)
        return (sms.parse_text(text, transliterated=self.campaign.transliterate), language), asked

    def _rendered(self, reader: _Reader) -> tuple[str, str | None, frozenset[str]]:
        data = self._data(reader)
        if self.campaign.template is None:
            filled = self._fill(self._message, reader, data)
            return filled.text.strip(), reader.language, filled.asked
        rendered = self.library.sms(
            self.campaign.template,
            language=reader.language,
            timezone=reader.timezone,
            data=data,
            fallback=not self._strict,
        )
        return rendered.text, rendered.language, rendered.asked


def _name(given: object) -> str:
    """A name out of a file, as a header can carry it."""
    return " ".join(CONTROL.sub(" ", str(given or "")).split())[:LONGEST_NAME]


def _recipient(receiver: Receiver, name: str) -> NewRecipient:
    login = receiver.person.login if receiver.person else None
    return NewRecipient(RecipientRole.TO, receiver.address.destination, name, login)


_DOORS: Mapping[ChannelName, type[CampaignDoor[Any]]] = {
    ChannelName.EMAIL: CampaignMails,
    ChannelName.SMS: CampaignSms,
}


def door_of(
    campaign: Campaign | CampaignDraft,
    settings: HandOverSettings,
    sender: str,
    files: Sequence[StoredFile] = (),
    size: int = 0,
    *,
    campaign_id: int | None = None,
) -> CampaignDoor[Any]:
    """Where the messages of a campaign are made.

    :param files: that they carry
    :param size: their bytes on the wire
    :raises TemplateBroken: what its author typed is no template
    """
    return _DOORS[campaign.channel](campaign, settings, sender, Files(tuple(files), size), campaign_id)
