"""A drain's life: started, kept alive by its lease, ended; and taken over when it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.drain import LEASE, Drain
from notify.domain.limit import DEFAULT_LIMIT, WINDOW
from notify.exceptions import LeaseLost, SenderFault
from notify.storage import attempts

_KNOW_SENDER = sa.text("insert into notify.senders (sender) values (:sender) on conflict do nothing")
_LOCK_SENDER = sa.text("select from notify.senders where sender = :sender for update")
_SET_LIMIT = sa.text("update notify.senders set hourly_limit = :limit, limit_seen_at = now() where sender = :sender")
_LAST_LIMIT = sa.text("select hourly_limit from notify.senders where sender = :sender")
_START = sa.text("""
    insert into notify.drains (id, sender, worker, dag_id, run_id, hourly_limit, lease_until)
    values (:id, :sender, :worker, :dag_id, :run_id, :limit, now() + :lease)
""")
_RENEW = sa.text("update notify.drains set lease_until = now() + :lease where id = :id and ended_at is null")
_KEEP = sa.text("select from notify.drains where id = :id and ended_at is null for no key update")
_END = sa.text("update notify.drains set ended_at = now(), end_reason = :reason where id = :id and ended_at is null")


def last_limit(connection: Connection, sender: str) -> int | None:
    """The limit that the sender's last run found in its pool, None if there was none yet."""
    limit: int | None = connection.scalar(_LAST_LIMIT, {"sender": sender})
    return limit


def start(
    connection: Connection,
    sender: str,
    limit: int | None,
    *,
    worker: str,
    dag_id: str | None = None,
    run_id: str | None = None,
    window: timedelta = WINDOW,
    lease: timedelta = LEASE,
) -> Drain:
    """Begin a run over a sender's queue.

    :param limit: the pool's slots as the run's conf carries them; None: the last one known, else 100
    :param worker: who runs it, for people: host and process
    """
    connection.execute(_KNOW_SENDER, {"sender": sender})
    if limit is None:
        known = last_limit(connection, sender)
        limit = DEFAULT_LIMIT if known is None else known
    else:
        connection.execute(_SET_LIMIT, {"sender": sender, "limit": limit})
    drain = Drain(uuid4(), sender, limit, window, lease)
    connection.execute(
        _START,
        {
            "id": drain.id,
            "sender": sender,
            "worker": worker,
            "dag_id": dag_id,
            "run_id": run_id,
            "limit": limit,
            "lease": lease,
        },
    )
    return drain


_AT_WORK = sa.text("""
    select worker, dag_id, run_id, started_at from notify.drains
    where sender = :sender and ended_at is null and lease_until >= now()
    order by started_at limit 1
""")


@dataclass(frozen=True, slots=True)
class AtWork:
    """A living drain.

    :param worker: host and process
    """

    worker: str
    dag_id: str | None
    run_id: str | None
    started_at: datetime

    def __str__(self) -> str:
        run = f"{self.dag_id}/{self.run_id}, " if self.dag_id else ""
        return f"{run}{self.worker}, since {self.started_at:%H:%M:%SZ}"


def at_work(connection: Connection, sender: str) -> AtWork | None:
    """The drain that is at the sender's queue now, None if nobody is.

    Who asks before :func:`start`, in the same transaction, is the only one to do so: the others wait for the answer.
    """
    connection.execute(_KNOW_SENDER, {"sender": sender})
    connection.execute(_LOCK_SENDER, {"sender": sender})
    row = connection.execute(_AT_WORK, {"sender": sender}).one_or_none()
    return AtWork(*row) if row else None


def renew(connection: Connection, drain: Drain) -> None:
    """Show that the drain is alive.

    :raises LeaseLost: it was taken for dead, its messages are no longer its own
    """
    if connection.execute(_RENEW, {"id": drain.id, "lease": drain.lease}).rowcount != 1:
        raise LeaseLost


def keep(connection: Connection, drain: Drain) -> None:
    """Make sure that the drain is not taken for dead until the caller's transaction ends.

    Whoever touches a drain's attempts locks its row first: the drain by this and by its turns, who takes over by ending
    it. So they take turns, and never wait for each other's attempts.

    :raises LeaseLost: it was taken for dead, its messages are no longer its own
    """
    if connection.execute(_KEEP, {"id": drain.id}).one_or_none() is None:
        raise LeaseLost


def end(connection: Connection, drain: Drain, reason: str) -> None:
    """Write down that the drain is over; harmless if it was ended by others."""
    connection.execute(_END, {"id": drain.id, "reason": reason})


# --- Recovery --------------------------------------------------------------------------------------------------------

_LOST_DRAINS = sa.text("""
    update notify.drains set ended_at = now(), end_reason = 'its lease ran out'
    where sender = :sender and ended_at is null and lease_until < now()
""")

# Beside those just ended: a run that was torn down between writing "begun" and sending has ended in good order, and
# so has one whose commit was answered by silence, or whose session did not come back.
_ABANDONED = sa.text("""
    select distinct a.drain_id from notify.attempts a join notify.drains d on d.id = a.drain_id
    where a.sender = :sender and a.ended_at is null and d.ended_at is not null
""")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was taken over from drains that died.

    :param released: provably unsent; back in the queue, their tokens given back
    :param doubted: begun, without an answer on record; queued again, or ``uncertain``
    """

    released: int = 0
    doubted: int = 0


def recover(connection: Connection, sender: str) -> Recovered:
    """Take over from drains that are gone: release what they reserved, doubt what they had begun."""
    released = doubted = 0
    connection.execute(_LOST_DRAINS, {"sender": sender})
    for drain_id in connection.scalars(_ABANDONED, {"sender": sender}).all():
        released += attempts.release(connection, drain_id, "released: its drain died before it was begun")
        doubted += attempts.doubt(connection, drain_id)
    return Recovered(released, doubted)


# --- The sender's fault ----------------------------------------------------------------------------------------------

_REMEMBER_FAULT = sa.text("""
    update notify.senders
    set last_fault = :cause, last_remedy = :remedy,
        last_fault_at = case when cast(:cause as text) is null then null else now() end
    where sender = :sender
""")


def remember_fault(connection: Connection, sender: str, fault: SenderFault | None) -> None:
    """Keep the sender's last fault for whoever looks; a run without one clears it."""
    cause, remedy = (fault.cause, fault.remedy) if fault else (None, None)
    connection.execute(_KNOW_SENDER, {"sender": sender})
    connection.execute(_REMEMBER_FAULT, {"sender": sender, "cause": cause, "remedy": remedy})
