"""The contract between the drain and a way of sending.

A channel is one file that implements :class:`Channel` and :class:`Session`. It knows no storage: it gets a
:class:`Parcel` and returns an :class:`~notify.domain.outcome.Outcome`. The suite in
``tests/integration/test_channels.py`` runs over every channel, the shipped fake included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from notify.domain.outcome import Outcome


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
    :param bulk: whether List-Unsubscribe is wanted
    :param enclosures: attachments, in order
    :param boundary: the multipart/mixed boundary named in ``headers``; None without enclosures
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

    def __post_init__(self) -> None:
        if self.enclosures and self.boundary is None:
            raise ValueError("enclosures need the boundary that the headers name")

    @property
    def positions(self) -> Iterator[int]:
        """The positions of all addressees."""
        return (addressee.position for addressee in self.addressees)


class Session(ABC):
    """A kept connection to a server. Used by one thread at a time."""

    @abstractmethod
    def send(self, parcel: Parcel) -> Outcome:
        """Send one message and tell what came of it.

        :raises notify.exceptions.SenderFault: the server refuses to work for us at all, or the connection is
            gone, and the message was provably not taken. It goes back uncharged; the session is dead.

        Any other exception (a thread interrupted, a fault of ours) tells nothing about the message: it is in doubt,
        and the session is dead.
        """

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the next :meth:`send` may use this session; a dead one is closed and replaced."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye if the server still listens; never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Channel(ABC):
    """A way of sending, configured for one sender. Safe to use from several threads."""

    #: How many sessions the sender allows at once.
    max_connections: int = 1

    @abstractmethod
    def open(self) -> Session:
        """Connect and log in.

        :raises notify.exceptions.SenderFault: no connection, no login, bad certificate or bad configuration
        """
