"""What came of one try to send, and what that makes of the message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What a server's answer means for one recipient; the values stand in the database."""

    ACCEPTED = "accepted"  #: the server took the message for this recipient
    TEMPORARY = "temporary"  #: refused for now: try again later
    PERMANENT = "permanent"  #: refused for good
    IN_DOUBT = "in_doubt"  #: everything was handed over, no answer came: it may have been taken


@dataclass(frozen=True, slots=True)
class RecipientOutcome:
    """One recipient's share of an attempt.

    :param position: the recipient's position within the message, from 0
    :param verdict: what the server's answer means
    :param code: the reply code (RFC 5321, 4.2), None where there was no reply
    :param text: the server's words, or ours where it said nothing
    :param references: what the server calls it, where receipts are to come: of an SMS one for each part
    """

    position: int
    verdict: Verdict
    code: int | None
    text: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one try to send one message.

    :param recipients: one for each recipient that the attempt was for; none where recipients or content were erased
        while the message waited
    :ivar verdict: the attempt's own verdict: the one that decides what happens to the message next
    """

    recipients: tuple[RecipientOutcome, ...]
    verdict: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Looked for once: a drain asks for it several times a message.
        heaviest = min((one.verdict for one in self.recipients), key=_WEIGHT.index, default=Verdict.PERMANENT)
        object.__setattr__(self, "verdict", heaviest)

    @classmethod
    def same(cls, positions: Iterable[int], verdict: Verdict, code: int | None, text: str) -> Outcome:
        """The same outcome for every recipient."""
        return cls(tuple(RecipientOutcome(position, verdict, code, text) for position in positions))

    @property
    def decisive(self) -> RecipientOutcome:
        """The recipient's outcome that the verdict comes from: its code and words are the attempt's."""
        deciding = (outcome for outcome in self.recipients if outcome.verdict is self.verdict)
        return next(deciding, _NOTHING_LEFT)

    def of(self, verdict: Verdict) -> Sequence[RecipientOutcome]:
        """The recipients with this verdict."""
        return [outcome for outcome in self.recipients if outcome.verdict is verdict]


#: Doubt outweighs all: while one recipient is in doubt, so is the message. Then what may still change; then success,
#: since a message that reached somebody was sent.
_WEIGHT = (Verdict.IN_DOUBT, Verdict.TEMPORARY, Verdict.ACCEPTED, Verdict.PERMANENT)

_NOTHING_LEFT = RecipientOutcome(-1, Verdict.PERMANENT, None, "its content or its recipients were erased")
