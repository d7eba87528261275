"""From a parcel to the commands of a transaction; and what a server cannot carry, found before it is asked."""

from __future__ import annotations

import re
import smtplib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from notify.channels import wire
from notify.channels.replies import words
from notify.channels.smtp_settings import SmtpSettings
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.parcel import Addressee, Parcel
from notify.domain.return_path import return_path

#: What fits between the brackets of a command and cannot end it; the door has checked the rest.
_MAILBOX = re.compile(r'(?:"(?:\\[ -~]|[^"\\\x00-\x1f\x7f])*"|[^\s<>"\x00-\x1f\x7f]+)@[^\s<>"@\x00-\x1f\x7f]+')

#: A recipient's position, and the command that names it.
Rcpt = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Offers:
    """The extensions that a server offers."""

    size: bool
    eight_bit: bool
    international: bool
    pipelining: bool
    chunking: bool

    @classmethod
    def of(cls, client: smtplib.SMTP) -> Offers:
        """Read them from the answer to EHLO."""
        names = ("size", "8bitmime", "smtputf8", "pipelining", "chunking")
        return cls(*map(client.has_extn, names))


@dataclass(slots=True)
class Envelope:
    """One message on its way, and what is known of its recipients so far.

    :param mail: the MAIL command
    :param content: what travels, before dots are doubled
    :param left: the recipients that the server is still to be asked about, with their commands
    :param told: what came of the others
    :param later: who was one too many for this transaction, with what the server said
    """

    mail: bytes
    content: bytes
    left: list[Rcpt]
    told: dict[int, RecipientOutcome] = field(default_factory=dict)
    later: list[tuple[Rcpt, tuple[int, bytes]]] = field(default_factory=list)


def prepare(parcel: Parcel, settings: SmtpSettings, offers: Offers) -> Envelope | Outcome:
    """Make a message ready for a server; or say why it cannot be, for good."""
    try:
        now = datetime.now(UTC)
        preface = settings.letterhead.preface(parcel, now)
        content = wire.normal(wire.assemble(wire.personal(parcel, settings.link_secret, now.date()), preface))
        sender = _return_address(parcel, settings)
    except ValueError as error:
        return _refused(parcel, f"5.6.0 {words(error)}")
    plain = content.isascii()
    plain_head = plain or content[: content.find(b"\r\n\r\n")].isascii()
    if not plain_head and not offers.international:
        return _refused(parcel, "5.6.7 The message's headers are not ASCII and the server does not offer SMTPUTF8")
    if not plain and not offers.eight_bit:
        return _refused(parcel, "5.6.3 The message is not 7-bit and the server does not offer 8BITMIME")
    international = not (plain_head and sender.isascii() and all(one.address.isascii() for one in parcel.addressees))
    options = b" SIZE=%d" % len(content) if offers.size else b""
    if not plain:
        options += b" BODY=8BITMIME"
    if international and offers.international:
        options += b" SMTPUTF8"
    envelope = Envelope(b"MAIL FROM:<%b>%b\r\n" % (sender.encode(), options), content, [])
    for addressee in parcel.addressees:
        _address_to(addressee, envelope, offers)
    return envelope


def _return_address(parcel: Parcel, settings: SmtpSettings) -> str:
    if settings.return_path is None:
        return settings.letterhead.sender.mailbox
    if not settings.bounce_secret:
        return settings.return_path
    return return_path(settings.return_path, parcel.id, parcel.message_id, settings.bounce_secret)


def _refused(parcel: Parcel, text: str) -> Outcome:
    return Outcome.same(parcel.positions, Verdict.PERMANENT, None, text)


def _address_to(addressee: Addressee, envelope: Envelope, offers: Offers) -> None:
    position, address = addressee.position, addressee.address
    problem = None
    if not (address.isascii() or offers.international):
        problem = "5.6.7 The address is not ASCII and the server does not offer SMTPUTF8"
    elif not (_MAILBOX.fullmatch(address) and _encodes(address)):
        problem = "5.1.3 The address holds a character that an SMTP command cannot carry"
    if problem:
        envelope.told[position] = RecipientOutcome(position, Verdict.PERMANENT, None, problem)
    else:
        envelope.left.append((position, b"RCPT TO:<%b>\r\n" % address.encode()))


def _encodes(address: str) -> bool:
    """Whether it is text: half a surrogate pair is none."""
    return address.isascii() or address.encode("utf-8", "ignore").decode() == address
