"""What follows from a delivery report, for the recipient, the address and the message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from notify.domain.blame import Blame
from notify.domain.bounce import Action, RecipientReport
from notify.domain.erasure import NOWHERE, is_stand_in
from notify.domain.status import Status

#: Outcomes of recipients whom the message has left for.
_LEFT = frozenset({"accepted", "in_doubt"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a report, which anybody can make up.

    The address that a mail comes back to cannot be made up: it was seen by the servers on the way, and by whoever got
    the mail. A Message-ID is seen by many more, in answers and archives. So one report is enough against an address
    only where nobody but its own reader could have made it up.

    :param recent: the mail was sent not long ago
    :param proven: the report came to the mail's own address
    :param alone: the mail had no other recipient
    """

    recent: bool
    proven: bool
    alone: bool

    @property
    def enough(self) -> bool:
        """Whether the report needs no others beside it."""
        return self.recent and self.proven and self.alone


@dataclass(frozen=True, slots=True)
class Match:
    """Which of a message's recipients a report speaks of.

    :param position: None if it is none of them
    :param direct: it names their own address; otherwise the mail was forwarded from there
    :param erased: nobody knows their address any more
    """

    position: int | None
    direct: bool = False
    erased: bool = False

    @property
    def forwarded(self) -> bool:
        """Whether the mail came back from where it was forwarded to."""
        return self.position is not None and not self.direct and not self.erased

    def counts(self, one: RecipientReport, evidence: Evidence) -> bool:
        """Whether a failure is held against the address.

        What was forwarded is not: behind the address may be a list, of whose members one is gone.
        """
        return self.direct and evidence.recent and one.action is Action.FAILED and one.blame is not Blame.NONE

    def condemns(self, one: RecipientReport, evidence: Evidence) -> bool:
        """Whether the address is known not to work, by this failure alone."""
        return self.counts(one, evidence) and evidence.enough and one.blame is Blame.HARD


def match(one: RecipientReport, addresses: Mapping[int, str]) -> Match:
    """Find the recipient that a report speaks of.

    :param addresses: of the message's recipients, by position
    """
    positions = {address.lower(): position for position, address in addresses.items()}
    if one.address in positions:
        return Match(positions[one.address], direct=True)
    if one.original in positions:
        return Match(positions[one.original])
    return Match(next(iter(addresses)) if len(addresses) == 1 else None)


def match_nameless(one: RecipientReport, addresses: Mapping[int, str]) -> tuple[RecipientReport, Match]:
    """The same for a message of which somebody was erased.

    What does not certainly speak of another is about them, and keeps nothing that tells of them.
    """
    if {one.address, one.original} & {address.lower() for address in addresses.values()}:
        return one, match(one, addresses)
    position, address = next(iter(addresses.items()), (None, ""))
    if len(addresses) > 1 or not is_stand_in(address):
        position, address = None, f"erased@{NOWHERE}"
    return replace(one, address=address, original=None, words=""), Match(position, erased=True)


def reached_no_more(status: Status, outcome: str, *, hard: bool) -> bool:
    """Whether a recipient's outcome changes when their mail came back.

    :param status: of the message
    :param outcome: of the recipient, until now
    :param hard: their address is known not to work
    """
    if status is Status.QUEUED and outcome != "accepted":
        return hard and outcome != "permanent"  # else the try that is to come decides: it was refused for now only
    return outcome in _LEFT


def status_after_failure(status: Status, outcomes: Collection[str]) -> Status | None:
    """The state of a message some of whose recipients it did not reach; None: it stays.

    A message that came back was sent: that settles the doubt about one that is uncertain. One that is queued again,
    because nobody knew, has nobody left to be sent to.

    :param outcomes: of all its recipients
    """
    if not outcomes:
        return None  # erased: nothing is known of them
    if status is Status.QUEUED:
        return Status.SUPPRESSED if set(outcomes) == {"permanent"} else None
    if status in {Status.SENT, Status.DELIVERED, Status.UNCERTAIN} and not _LEFT & set(outcomes):
        return Status.UNDELIVERED
    return None
