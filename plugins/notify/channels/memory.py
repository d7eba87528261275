"""A channel that sends nothing and remembers everything: for the tests of those who use this package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from functools import cached_property

from notify.channels import wire
from notify.channels.base import Channel, Session
from notify.domain.address import parse_address
from notify.domain.outcome import Outcome, RecipientOutcome, Verdict
from notify.domain.parcel import Addressee, Enclosure, Parcel
from notify.exceptions import LeaseLost, SenderFault


@dataclass(frozen=True)
class SentMail:
    """A message that was taken.

    :param recipients: the addresses that it was taken for
    :param raw: the bytes as they would have travelled
    :param at: when
    """

    recipients: tuple[str, ...]
    raw: bytes
    at: datetime

    @cached_property
    def parsed(self) -> EmailMessage:
        """The message, taken apart."""
        return message_from_bytes(self.raw, policy=policy.default)

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return str(self.parsed["Subject"] or "")

    @property
    def message_id(self) -> str:
        """The Message-ID with its angle brackets."""
        return str(self.parsed["Message-ID"] or "")

    @property
    def to(self) -> list[str]:
        """The addresses of the To header."""
        return [address for _name, address in getaddresses([str(self.parsed["To"] or "")])]

    @property
    def text(self) -> str:
        """The plain text, empty if there is none."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML, empty if there is none."""
        return self._body("html")

    @property
    def attachments(self) -> list[Enclosure]:
        """The attachments."""
        return [
            Enclosure(part.get_filename() or "", part.get_content_type(), _payload(part))
            for part in self.parsed.iter_attachments()
        ]

    def _body(self, kind: str) -> str:
        part = self.parsed.get_body((kind,))
        return "" if part is None else str(part.get_content())


def _payload(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


@dataclass(slots=True)
class _Refusal:
    verdict: Verdict
    code: int
    text: str
    left: int | None


class MemoryChannel(Channel):
    """Keeps what it is given in :attr:`outbox`, and refuses what it is told to refuse.

    :param from_email: the From address, with or without a display name
    :param reply_to: where answers go unless the message says otherwise
    :param max_connections: sessions allowed at once
    """

    def __init__(
        self,
        from_email: str = "notify@example.com",
        *,
        reply_to: str | None = None,
        max_connections: int = 4,
    ) -> None:
        self.outbox: list[SentMail] = []
        self.max_connections = max_connections
        self._letterhead = wire.Letterhead(parse_address(from_email), parse_address(reply_to) if reply_to else None)
        self._lock = threading.Lock()
        self._refusals: dict[str, _Refusal] = {}
        self._open_faults: list[SenderFault] = []
        self._broken = 0
        self._answers_lost: list[bool] = []

    def open(self) -> MemorySession:
        """Open a session, unless told to fail."""
        with self._lock:
            if self._open_faults:
                raise self._open_faults.pop(0)
        return MemorySession(self)

    # --- what a test tells it -------------------------------------------------------------------------------

    def refuse(self, address: str, verdict: Verdict, code: int, text: str, *, times: int | None = None) -> None:
        """Refuse a recipient.

        :param address: whom
        :param verdict: temporary or permanent
        :param code: the reply code
        :param text: the server's words
        :param times: how often; for ever if not given
        """
        if verdict not in {Verdict.TEMPORARY, Verdict.PERMANENT}:
            raise ValueError(f"{verdict} is no refusal; lose_next_answer() makes a message doubtful")
        with self._lock:
            self._refusals[address] = _Refusal(verdict, code, text, times)

    def accept(self, address: str) -> None:
        """Stop refusing a recipient."""
        with self._lock:
            self._refusals.pop(address, None)

    def fail_next_open(self, cause: str, remedy: str) -> None:
        """Let the next :meth:`open` fail. Calls add up."""
        with self._lock:
            self._open_faults.append(SenderFault(cause, remedy))

    def break_next(self) -> None:
        """Lose the connection before the next message is taken. Calls add up."""
        with self._lock:
            self._broken += 1

    def lose_next_answer(self, *, taken: bool = True) -> None:
        """Lose the connection after the next message was handed over, before the answer. Calls add up.

        :param taken: whether the message arrived all the same
        """
        with self._lock:
            self._answers_lost.append(taken)

    # --- what a session does --------------------------------------------------------------------------------

    def deliver(self, parcel: Parcel) -> tuple[Outcome, bool]:
        """Take a message or not; also say whether the connection survived. For :class:`MemorySession`."""
        if parcel.lease is not None and not parcel.lease.holds:
            raise LeaseLost
        now = datetime.now(UTC)
        try:
            preface = self._letterhead.preface(parcel, now)
            raw = wire.assemble(wire.personal(parcel, self.link_secret, now.date()), preface)
        except ValueError as error:
            return Outcome.same(parcel.positions, Verdict.PERMANENT, None, f"5.6.0 {error}"), True
        with self._lock:
            if self._broken:
                self._broken -= 1
                raise SenderFault("The session ended at MAIL.", "Nothing: a test asked for it.")
            told = [self._ask(addressee) for addressee in parcel.addressees]
            taken_for = tuple(_accepted(parcel, told))
            if not taken_for:
                return Outcome(tuple(told)), True
            lost = self._answers_lost.pop(0) if self._answers_lost else None
            if lost is not False:
                self.outbox.append(SentMail(taken_for, raw, now))
        return Outcome(tuple(told if lost is None else map(_doubted, told))), lost is None

    def _ask(self, addressee: Addressee) -> RecipientOutcome:
        refusal = self._refusals.get(addressee.address)
        if refusal is None or refusal.left == 0:
            return RecipientOutcome(addressee.position, Verdict.ACCEPTED, 250, "2.0.0 taken")
        if refusal.left is not None:
            refusal.left -= 1
        return RecipientOutcome(addressee.position, refusal.verdict, refusal.code, refusal.text)


class MemorySession(Session):
    """A session with nobody.

    :param channel: what remembers
    """

    def __init__(self, channel: MemoryChannel) -> None:
        self._channel = channel
        self._alive = True

    @property
    def alive(self) -> bool:
        """Whether nothing broke yet."""
        return self._alive

    def send(self, parcel: Parcel) -> Outcome:
        """Hand one message to the channel."""
        if not self._alive:
            raise SenderFault("The session is closed.", "Open another.")
        self._alive = False
        outcome, self._alive = self._channel.deliver(parcel)
        return outcome

    def close(self) -> None:
        """End the session."""
        self._alive = False


def _accepted(parcel: Parcel, told: list[RecipientOutcome]) -> Iterator[str]:
    for addressee, outcome in zip(parcel.addressees, told, strict=True):
        if outcome.verdict is Verdict.ACCEPTED:
            yield addressee.address


def _doubted(told: RecipientOutcome) -> RecipientOutcome:
    if told.verdict is not Verdict.ACCEPTED:
        return told
    text = "everything was handed over, no answer came"
    return RecipientOutcome(told.position, Verdict.IN_DOUBT, None, text)
