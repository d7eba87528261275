"""How a sender stands: what waits for it, what its limit allows, how its last run ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.drain import Drain
from notify.domain.limit import DEFAULT_LIMIT, UNLIMITED, Usage
from notify.storage import accounts, limits, waiting
from notify.storage.accounts import Account
from notify.storage.waiting import Queue

_NAMES = sa.text("select sender from notify.senders union select sender from notify.messages where status = 'held'")

_KNOWN = sa.text("""
    select now() as at, s.hourly_limit, s.limit_seen_at, s.last_fault, s.last_remedy, s.last_fault_at
    from (select) one left join notify.senders s on s.sender = :sender
""")

_HELD = sa.text("""
    select count(*) filter (where not parked) as by_people, count(*) filter (where parked) as by_campaigns
    from notify.messages where status = 'held' and sender = :sender
""")

# What the last run sent has ended since it began: nothing but that is looked at of the attempts.
_LAST_RUN = sa.text("""
    select d.started_at, d.ended_at, d.end_reason, d.ended_at is null and d.lease_until >= now() as alive,
           d.worker, d.dag_id, d.run_id,
           (select count(*) from notify.attempts a
            where a.sender = d.sender and a.ended_at >= d.started_at and a.drain_id = d.id and a.outcome = 'accepted'
           ) as accepted
    from notify.drains d where d.sender = :sender order by d.started_at desc limit 1
""")


@dataclass(frozen=True, slots=True)
class LastRun:
    """A run over a sender's queue.

    :param ended_at: None while it lives; and where it died, until the next run ends it
    :param alive: it is at the queue now
    :param worker: host and process
    :param accepted: messages that the server took from it
    """

    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    alive: bool
    worker: str
    dag_id: str | None
    run_id: str | None
    accepted: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a sender stands.

    :param at: the moment that all of it is of, by the database's clock
    :param oldest: the number of the message that has been due for longest
    :param held: messages that a person holds
    :param parked: messages of campaigns that are not sent yet, or are paused
    :param limit: what its pool said last, or the default
    :param limit_seen_at: when a run found that in the pool; None if none did yet
    :param used: what counts against the limit now
    :param held_back: due, and held back by the limit
    :param next_slot_at: when the limit lets the next of it through, where a time can be told
    :param fault: why the last run could not send, None if it could
    :param account: what is left on its account, None where its gateway never told
    """

    sender: str
    at: datetime
    queue: Queue
    oldest: int | None
    held: int
    parked: int
    limit: int
    limit_seen_at: datetime | None
    used: Usage
    held_back: int
    next_slot_at: datetime | None
    last_run: LastRun | None
    fault: str | None
    remedy: str | None
    fault_at: datetime | None
    account: Account | None

    @property
    def waits(self) -> bool:
        """Whether there is anything that it could send one day."""
        return bool(self.queue.due or self.queue.later or self.held or self.parked)

    def answer(self, served: Collection[str]) -> tuple[str, datetime | None]:
        """In a few words, what stands between its messages and their readers; and the moment that these end in.

        :param served: the senders that runs serve
        """
        if self.sender not in served and self.waits:
            return "no run serves it", None
        if self.last_run and self.last_run.alive:
            return "a run is at it", None
        if self.fault:
            return "it cannot send", None
        return self._what_waits()

    def _what_waits(self) -> tuple[str, datetime | None]:
        if self.held_back and self.limit == 0:
            return "its pool has 0 slots, which holds everything", None
        if self.held_back:
            return f"the limit holds it back{' until' if self.next_slot_at else ''}", self.next_slot_at
        if self.queue.due:
            return "the next run sends" if self.last_run else "no run of Notifications has begun yet", None
        if self.queue.next_at:
            return "nothing is due before", self.queue.next_at
        holders = [who for who, size in (("a person", self.held), ("a campaign", self.parked)) if size]
        return f"only what {' or '.join(holders)} holds" if holders else "nothing waits", None


def names(connection: Connection) -> frozenset[str]:
    """All senders that ever had a run, or for which something waits."""
    return frozenset(connection.scalars(_NAMES)) | waiting.unserved(connection, []).keys()


def standings(connection: Connection, served: Iterable[str]) -> list[Standing]:
    """How each sender stands; of those that are not served, only where something waits.

    :param served: the senders that runs serve, in their order
    """
    served = tuple(served)
    others = [standing(connection, name) for name in sorted(names(connection) - {*served})]
    return [*(standing(connection, name) for name in served), *(one for one in others if one.waits)]


def standing(connection: Connection, sender: str) -> Standing:
    """How one sender stands; changes nothing, and waits for nobody."""
    known = connection.execute(_KNOWN, {"sender": sender}).one()
    queue = waiting.queue(connection, sender)
    limit = DEFAULT_LIMIT if known.hourly_limit is None else known.hourly_limit
    drain = Drain(UUID(int=0), sender, max(limit, UNLIMITED))  # the one that would begin now
    held_back = queue.due if queue.due and not waiting.ready(connection, drain) else 0
    held = connection.execute(_HELD, {"sender": sender}).one()
    last_run = connection.execute(_LAST_RUN, {"sender": sender}).one_or_none()
    return Standing(
        sender,
        known.at,
        queue,
        oldest=waiting.oldest(connection, sender) if queue.due else None,
        held=held.by_people,
        parked=held.by_campaigns,
        limit=drain.limit,
        limit_seen_at=known.limit_seen_at,
        used=limits.usage(connection, sender),
        held_back=held_back,
        next_slot_at=waiting.next_slot(connection, drain) if held_back else None,
        last_run=LastRun(*last_run) if last_run else None,
        fault=known.last_fault,
        remedy=known.last_remedy,
        fault_at=known.last_fault_at,
        account=next(iter(accounts.of(connection, [sender])), None),
    )
