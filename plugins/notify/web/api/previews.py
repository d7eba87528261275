"""What a message would be if it were handed over: checked, rendered and counted, and not stored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from notify import handover
from notify.domain import gsm, sms
from notify.domain.channel import ChannelName
from notify.domain.message import Draft
from notify.settings import hand_over_settings
from notify.storage.outbox import NewMessage
from notify.storage.register import StoredText
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.handover import EXAMPLE
from notify.web.api.request import Change, changes
from notify.web.mail import Mail
from notify.web.outbox import reading
from notify.web.rights import Right

#: Of more messages than these, the rest is only counted.
MOST_SHOWN = 100

router = routes("/messages", "messages")


@shown(encoding="ucs2", characters=76, units=76, parts=2, left=58, outside=["č", "ť"])
class Size(Answer):
    """What the text of an SMS takes.

    :param encoding: `gsm`: 160 characters in one part, or 153 in each of several; `ucs2`: 70, or 67
    :param units: of the encoding; some characters take two
    :param parts: how many are charged, and count against the limit
    :param left: units that the last part has room for
    :param outside: the characters that GSM does not have; without them, or transliterated, it would be `gsm`
    """

    encoding: sms.Encoding
    characters: int
    units: int
    parts: int
    left: int
    outside: list[str]

    @classmethod
    def of(cls, text: str) -> Size:
        """What a text takes that is written as it is sent."""
        found = sms.count(text)
        return cls(
            encoding=found.encoding,
            characters=len(text),
            units=found.units,
            parts=found.parts,
            left=found.left,
            outside=list(gsm.outside(text)),
        )


@shown(role="to", address="+421903622237", name="Anna", login="anna", suppressed=None)
class Reader(Answer):
    """Whom a message would go to.

    :param role: to, cc or bcc
    :param address: an e-mail address, or a telephone number as E.164
    :param login: the person's, where they are known
    :param suppressed: why they would get nothing; null where they would
    """

    role: str
    address: str
    name: str
    login: str | None
    suppressed: str | None


@shown(
    channel="sms",
    sender="eurosms_default",
    kind="send_message",
    language=None,
    site=None,
    subject="SMS",
    text="Zásielka čaká na pošte, prosíme vyzdvihnúť do piatka. Ďakujeme, Váš MyShop.",
    size=200,
    sms=Size,
    parts=2,
    priority="normal",
    guarantee="at_most_once",
    not_before="2026-11-30T08:00:00Z",
    expires_at=None,
    recipients=[Reader],
)
class Preview(Answer):
    """A message as it would be in the outbox.

    :param kind: `send_message`, or the name of the template
    :param language: that it is written in, where that is known
    :param site: the branch that it would be for
    :param text: its text; null where it has HTML alone
    :param size: in bytes, attachments included
    :param sms: what the text takes as an SMS; null for a mail
    :param parts: what it would count against the limit: an SMS its parts, a mail one
    :param not_before: when it may leave
    """

    channel: ChannelName
    sender: str
    kind: str
    language: str | None
    site: str | None
    subject: str
    text: str | None
    size: int
    sms: Size | None
    parts: int
    priority: str
    guarantee: str
    not_before: datetime
    expires_at: datetime | None
    recipients: list[Reader]


@shown(messages=[Preview], count=1, parts=2, duplicate=False, suppressed=0)
class Previews(Answer):
    """What a hand-over would come to.

    :param messages: the first 100 of those that it would put into the outbox
    :param count: how many it would put there
    :param parts: what all of them would count against the limit
    :param duplicate: whether it would put none there, since there are some under the same `idempotency_key`
    :param suppressed: how many of the recipients would get nothing, because they are on the suppression list
    """

    messages: list[Preview]
    count: int
    parts: int
    duplicate: bool
    suppressed: int


@router.post(
    "/preview",
    response_model=Previews,
    summary="Ask what a message would be",
    openapi_extra=takes(Draft, EXAMPLE),
    responses=problems(*OF_BODY),
)
def preview_message(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Previews:
    """Check a message and make it, as handing it over would, and store nothing.

    It tells whom it would go to, what it would say, and how many parts an SMS takes. What is wrong is told as there.
    """
    fields, settings = change.fields(), hand_over_settings()
    with reading() as connection:
        found = handover.preview(connection, fields, settings)
    return Previews(
        messages=[_shown(one) for one in found.messages[:MOST_SHOWN]],
        count=len(found.messages),
        parts=sum(one.parts for one in found.messages),
        duplicate=found.duplicate,
        suppressed=found.suppressed,
    )


def _shown(message: NewMessage) -> Preview:
    text = Mail.of(StoredText(message.headers, message.body, message.boundary is not None)).text
    told = {name: getattr(message, name) for name in Preview.model_fields if name not in {"text", "sms"}}
    counted = Size.of(text) if message.channel is ChannelName.SMS and text is not None else None
    return Preview.model_validate(told | {"text": text, "sms": counted})
