"""The contract between the drain and a way of sending.

A channel is one file that implements :class:`Channel` and :class:`Session`. It knows no storage: it gets a
:class:`~notify.domain.parcel.Parcel` and returns an :class:`~notify.domain.outcome.Outcome`. The suite in
``tests/integration/test_channels.py`` runs over every channel, the shipped fake included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from notify.domain.credit import Credit
from notify.domain.outcome import Outcome
from notify.domain.parcel import Parcel
from notify.domain.receipt import Receipt
from notify.exceptions import SenderFault


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

    def send_all(self, parcels: Sequence[Parcel]) -> Sequence[Outcome | SenderFault]:
        """Send what was given at once: several messages only where :attr:`Channel.batch` allows it.

        A channel whose server takes several in one request does so here. While it waits for the answer, all of them
        may be in doubt.

        :returns: for each message what came of it; the sender's fault where that was provably not taken
        """
        said: list[Outcome | SenderFault] = []
        for parcel in parcels:
            try:
                said.append(self.send(parcel))
            except SenderFault as fault:  # the session is dead: nothing behind it was tried
                return [*said, *[fault] * (len(parcels) - len(said))]
        return said

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


class Receipts(ABC):
    """What a gateway tells of messages after it took them. Used by one thread at a time."""

    @abstractmethod
    def changes(self, transaction: str) -> list[Receipt]:
        """What has changed since the last time; for the same transaction the same again.

        :param transaction: 8 to 64 letters and digits, stored before this is called
        :raises notify.exceptions.SenderFault: there is no answer that can be understood
        """

    @abstractmethod
    def of(self, reference: str) -> list[Receipt]:
        """How it stands with one part; nothing where the gateway does not know it.

        :raises notify.exceptions.SenderFault: there is no answer that can be understood
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection; never raises."""


class Channel(ABC):
    """A way of sending, configured for one sender. Safe to use from several threads."""

    #: How many sessions the sender allows at once.
    max_connections: int = 1

    #: How many messages a session is given at once: as many may be in doubt where it dies.
    batch: int = 1

    #: Whether its gateway can push receipts, in a form that :mod:`notify.domain.push` reads.
    pushes: bool = False

    #: The outbox's, which the drain sets before it opens a session: the addresses that mails come back to are made with
    #: it. Without it they say nothing, for anybody could make them up.
    bounce_secret: bytes = b""

    #: Likewise for the links in mails that work without a login.
    link_secret: bytes = b""

    def about(self) -> Mapping[str, str]:
        """What whoever looks after it wants to see: where it leads, what readers see of it. No login, no secret."""
        return {"Sessions at once": str(self.max_connections)}

    def receipts(self) -> Receipts | None:
        """Where receipts are to be had, None where there are none."""
        return None

    def credit(self) -> Credit | None:
        """What is left on the account, None where the gateway does not tell. DeliveryReports asks, and no page does.

        :raises notify.exceptions.SenderFault: there is no answer that can be understood
        """
        return None

    @abstractmethod
    def open(self) -> Session:
        """Connect and log in.

        :raises notify.exceptions.SenderFault: no connection, no login, bad certificate or bad configuration
        """
