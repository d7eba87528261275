"""A notification's mail or SMS: what was rendered, and whom it goes to, as a message for the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from notify.domain.address import Address
from notify.domain.channel import ChannelName
from notify.domain.home import NotBySms
from notify.domain.message import Guarantee, RecipientRole
from notify.domain.sms import count, parse_text
from notify.exceptions import InvalidText
from notify.rendering import mime
from notify.rendering.library import RenderedText
from notify.storage.outbox import NewMessage, NewRecipient


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail without its recipient.

    :param fields: the header lines that belong to the text, see :class:`notify.rendering.mime.Body`
    :param content_id: the text, stored already, see :func:`notify.storage.outbox.add_contents`
    :param content_size: its bytes
    :param site: the branch that its cases belong to
    """

    kind: str
    subject: str
    language: str | None
    fields: bytes
    content_id: int
    content_size: int
    case_id: str | None = None
    site: str | None = None


def compose(
    letter: Letter,
    to: Address,
    login: str | None,
    *,
    sender: str,
    domain: str,
    now: datetime,
    unsubscribe: str | None = None,
) -> NewMessage:
    """Compose a notification's mail; its text is composed already.

    :param domain: of its Message-ID
    :param now: it may leave from now on
    :param unsubscribe: the address by which its reader gets no more of the kind, None where they may not choose that
    """
    message_id = mime.new_message_id(domain)
    headers = mime.compose_headers(
        message_id=message_id,
        subject=letter.subject,
        to=[to],
        body=mime.Body(letter.fields, b""),
        unsubscribe=unsubscribe,
    )
    return NewMessage(
        message_id=message_id,
        sender=sender,
        kind=letter.kind,
        subject=letter.subject,
        headers=headers,
        content_id=letter.content_id,
        recipients=(NewRecipient(RecipientRole.TO, to.mailbox, to.name, login),),
        size=len(headers) + letter.content_size,
        not_before=now,
        language=letter.language,
        case_id=letter.case_id,
        site=letter.site,
    )


def subject_of(case_id: str | None, subject: str) -> str:
    """The subject with its case in front, as SendMessage has it."""
    return f"[{case_id}] {subject}" if case_id else subject


# --- By SMS ----------------------------------------------------------------------------------------------------------

#: The text is kept as it is sent; to whoever reads the register, these say how.
TEXT_HEADERS = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


@dataclass(frozen=True, slots=True)
class ShortText:
    """An SMS without its recipient.

    :param text: checked already, see :func:`notify.domain.sms.parse_text`
    """

    kind: str
    text: str
    language: str | None
    case_id: str | None = None
    site: str | None = None


def short_text(
    kind: str, found: RenderedText, case_id: str | None = None, site: str | None = None
) -> ShortText | NotBySms:
    """What was rendered, in the letters that a part has most room for; or that no SMS can carry it."""
    try:
        return ShortText(kind, parse_text(found.text, transliterated=True).text, found.language, case_id, site)
    except InvalidText:
        return NotBySms.UNFIT


def compose_sms(
    short: ShortText, number: str, login: str | None, name: str = "", *, sender: str, domain: str, now: datetime
) -> NewMessage:
    """Compose a notification's SMS. When in doubt it is not sent again, as no SMS is.

    :param number: in E.164
    :param domain: of its Message-ID
    :param now: it may leave from now on
    """
    body = short.text.encode()
    return NewMessage(
        message_id=mime.new_message_id(domain),
        channel=ChannelName.SMS,
        sender=sender,
        kind=short.kind,
        subject="SMS",  # the text itself is for whoever may read bodies
        headers=TEXT_HEADERS,
        body=body,
        recipients=(NewRecipient(RecipientRole.TO, number, name, login),),
        size=len(body),
        parts=count(short.text).parts,
        guarantee=Guarantee.AT_MOST_ONCE,
        not_before=now,
        language=short.language,
        case_id=short.case_id,
        site=short.site,
    )
