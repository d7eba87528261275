"""Whether an outbox is the one that was sent from, or a copy of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Place:
    """Where an outbox lies; None is what may not be read there.

    :param system: the server's system identifier: a new one comes with each ``initdb``
    :param database: the database's number on that server
    :param timeline: of the server's write-ahead log: a new one comes with each promotion and each recovery to a point
        in time
    """

    system: int | None = None
    database: int | None = None
    timeline: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands outside of an outbox about the last run that sent from it.

    :param outbox: the outbox's identity
    :param counter: how often runs had advanced it; what was committed, so never ahead of the outbox
    """

    outbox: UUID
    counter: int

    def __str__(self) -> str:
        return json.dumps({"outbox": str(self.outbox), "counter": self.counter})

    def succeeds(self, other: Mark | None) -> bool:
        """Whether this one may take the other's place: of one outbox, the higher counter stays."""
        return other is None or other.outbox != self.outbox or other.counter < self.counter


def read_mark(text: str) -> Mark | None:
    """A mark from its text; None where it is none."""
    try:
        given = json.loads(text)
        return Mark(UUID(given["outbox"]), int(given["counter"]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class Identity:
    """What an outbox has written down about itself.

    :param id: random; a new one with each confirmation
    :param counter: advanced by each run, at its beginning and its end
    :param place: where it lay then
    :param former: identities that a person has confirmed this outbox to continue
    :param witnessed: whether a run has found this outbox's own mark outside
    :param refused: why the last run did not send, None if it did
    """

    id: UUID
    counter: int
    place: Place
    former: frozenset[UUID] = field(default_factory=frozenset)
    witnessed: bool = False
    refused: str | None = None

    @property
    def mark(self) -> Mark:
        """What to leave outside."""
        return Mark(self.id, self.counter)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether to send from an outbox.

    :param doubt: why not, in a sentence; None where it is the original
    :param note: what has changed, and does no harm
    """

    doubt: str | None = None
    note: str | None = None


def judge(identity: Identity, here: Place, mark: Mark | None) -> Judgement:
    """Tell an original from a copy.

    :param here: where the outbox lies now
    :param mark: what stands outside, read before the identity was; None where there is nothing
    """
    if _differs(identity.place.system, here.system):
        return Judgement("it lies on another server than the one that it was sent from")
    if _differs(identity.place.database, here.database):
        return Judgement("it is another database than the one that it was sent from")
    promoted = _differs(identity.place.timeline, here.timeline)
    if mark is None:
        return Judgement(_missed(identity, promoted=promoted))
    if mark.outbox != identity.id and mark.outbox not in identity.former:
        return _another(identity, mark)
    if mark.outbox == identity.id and mark.counter > identity.counter:
        runs = f"its counter of runs is at {identity.counter}, and was at {mark.counter} before"
        return Judgement(f"it has gone back in time: {runs}")
    lines = f"timeline {identity.place.timeline} → {here.timeline}"
    found = f"The database server was promoted or recovered ({lines}); no run is missing in the outbox."
    return Judgement(note=found if promoted else None)


def doubt_from_outside(identity: Identity, here: Place, mark: Mark | None) -> str | None:
    """Why nothing is sent from an outbox, None where it is; for whoever runs nothing, and may not see the mark.

    Without a mark, what the last run found counts: outside of Airflow, a healthy outbox must not be taken for a copy.

    :param mark: what stands outside, None where that cannot be seen from here
    """
    return judge(identity, here, mark or identity.mark).doubt or identity.refused


def _missed(identity: Identity, *, promoted: bool) -> str | None:
    """What makes an outbox doubtful of which nothing stands outside."""
    if identity.witnessed:
        return "it was sent from before, and this Airflow has no mark of that: it may be another's"
    if promoted and identity.counter:
        return "its server was promoted or recovered, and no mark tells whether anything is missing"
    return None


def _another(identity: Identity, mark: Mark) -> Judgement:
    if identity.counter:
        return Judgement(f"it is another outbox ({identity.id}) than the one sent from before ({mark.outbox})")
    return Judgement(note=f"The outbox is new. Another one was sent from before ({mark.outbox}).")


def _differs(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and before != now
