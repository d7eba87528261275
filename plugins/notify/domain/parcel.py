"""A message on its way to a channel: what the outbox gives, what a channel sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from notify.domain.lease import Lease


@dataclass(frozen=True, slots=True)
class Addressee:
    """A recipient that this attempt is for.

    :param position: position within the message, from 0
    :param address: RFC 5321 mailbox, the domain in ASCII; the local part may hold non-ASCII (RFC 6531)
    """

    position: int
    address: str


@dataclass(frozen=True, slots=True)
class Enclosure:
    """An attachment as it travels.

    :param filename: name shown to the reader; checked at hand-over
    :param content_type: e.g. ``application/pdf``
    :param content: the bytes
    """

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message as a channel gets it, composed but for what belongs to the sending.

    :param id: the message's number in the register
    :param message_id: RFC 5322 Message-ID with its angle brackets; the same on every attempt
    :param addressees: whom this attempt is for, at least one
    :param headers: the header lines fixed at hand-over, CRLF, without the empty line
    :param body: the MIME body, CRLF; where there is a boundary, the first part of the multipart/mixed: its
        own headers, an empty line and its content, without boundary lines
    :param reply_to: the message's own Reply-To, None where the sender's applies
    :param bulk: whether List-Unsubscribe is wanted, also where the headers have none
    :param enclosures: attachments, in order
    :param boundary: the multipart/mixed boundary named in ``headers``; None without enclosures
    :param cautious: to be sent at most once: better slow than in doubt
    :param lease: where it is over, the content may not be handed over any more: the message may be another run's
    """

    id: int
    message_id: str
    addressees: tuple[Addressee, ...]
    headers: bytes
    body: bytes
    reply_to: str | None = None
    bulk: bool = False
    enclosures: tuple[Enclosure, ...] = field(default=())
    boundary: str | None = None
    cautious: bool = False
    lease: Lease | None = None

    def __post_init__(self) -> None:
        if self.enclosures and self.boundary is None:
            raise ValueError("enclosures need the boundary that the headers name")

    @property
    def positions(self) -> Iterator[int]:
        """The positions of all addressees."""
        return (addressee.position for addressee in self.addressees)
