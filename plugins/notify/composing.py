"""A notification's mail: what was rendered, and whom it goes to, as a message for the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from notify.domain.address import Address
from notify.domain.message import RecipientRole
from notify.rendering import mime
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
