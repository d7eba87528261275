"""What one drain does to the outbox: claim, begin, settle, release, recover.

Every function works in its caller's transaction and moves rows by compare-and-set; what it did not find in the
expected state, it does not touch, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.conclusion import Conclusion, Tried, conclude
from notify.domain.limit import DEFAULT_LIMIT, WINDOW, Allowance, Usage, allowance, bulk_limit
from notify.domain.message import Guarantee, Priority
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Addressee, Enclosure, Parcel
from notify.domain.status import Status
from notify.exceptions import ConfigurationError, LeaseLost, SenderFault
from notify.storage.attachments import read_stored

#: A drain that has not shown itself for so long is taken for dead; it shows itself every third of it.
LEASE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Drain:
    """One run over one sender's queue.

    :param limit: messages per window, see :mod:`notify.domain.limit`
    :param window: the limit's window; an hour but in tests
    """

    id: UUID
    sender: str
    limit: int
    window: timedelta = WINDOW
    lease: timedelta = LEASE


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message reserved for this drain; nothing has been sent yet.

    :param attempt_id: its open attempt, the token that counts against the limit
    :param id: the message's number
    :param faults: earlier attempts that failed because of the sender
    """

    attempt_id: int
    id: int
    tried: Tried
    faults: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of an attempt.

    :param outcome: None where the sender was at fault: the message goes back uncharged
    :param fault: the sender's fault in that case
    :param wait: how long the message steps aside in that case
    """

    claimed: Claimed
    outcome: Outcome | None
    fault: str = ""
    wait: timedelta = timedelta(0)

    @property
    def conclusion(self) -> Conclusion:
        """Where the message goes."""
        if self.outcome is None:
            return Conclusion(Status.QUEUED, f"the sender could not send: {self.fault}", self.wait)
        return conclude(self.outcome, self.claimed.tried)


# --- A drain's life --------------------------------------------------------------------------------------------------

_KNOW_SENDER = sa.text("insert into notify.senders (sender) values (:sender) on conflict do nothing")
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


def renew(connection: Connection, drain: Drain) -> None:
    """Show that the drain is alive.

    :raises LeaseLost: it was taken for dead, its messages are no longer its own
    """
    if connection.execute(_RENEW, {"id": drain.id, "lease": drain.lease}).rowcount != 1:
        raise LeaseLost


def keep(connection: Connection, drain: Drain) -> None:
    """Make sure that the drain is not taken for dead until the caller's transaction ends.

    Whoever touches a drain's attempts locks its row first: the drain by this, who takes over by ending it. So they
    take turns, and never wait for each other's attempts.

    :raises LeaseLost: it was taken for dead, its messages are no longer its own
    """
    if connection.execute(_KEEP, {"id": drain.id}).one_or_none() is None:
        raise LeaseLost


def end(connection: Connection, drain: Drain, reason: str) -> None:
    """Write down that the drain is over; harmless if it was ended by others."""
    connection.execute(_END, {"id": drain.id, "reason": reason})


# --- Claim -----------------------------------------------------------------------------------------------------------

# One claim of a sender at a time: the count and the tokens taken after it belong together.
_LOCK_SENDER = sa.text("select from notify.senders where sender = :sender for update")

# now() is the start of the transaction, perhaps long before the lock was got: it counts an attempt that has just left
# the window as still in it, never the other way round.
_USAGE = sa.text("""
    select count(*) as total, count(*) filter (where bulk) as bulk
    from notify.attempts
    where sender = :sender and (ended_at is null or ended_at > now() - :window)
      and outcome is distinct from 'sender_fault'  -- the server provably did not take it
""")

_CLAIM = sa.text("""
    with due as (
        select id from notify.messages
        where sender = :sender and priority = :priority and status = 'queued' and not_before <= now()
          and (expires_at is null or expires_at > now())
        order by not_before, id
        limit :wanted
        for update skip locked
    ), claimed as (
        update notify.messages m set status = 'sending', status_reason = null, attempts = m.attempts + 1
        from due where m.id = due.id
        returning m.id, m.attempts, m.priority, m.guarantee, m.refusals, m.first_tried_at, m.not_before
    ), token as (
        insert into notify.attempts (message_id, number, sender, bulk, drain_id)
        select id, attempts, :sender, priority = 'bulk', :drain from claimed
        returning id, message_id
    )
    select token.id as attempt_id, claimed.id, claimed.guarantee, claimed.refusals, claimed.attempts,
           coalesce(now() - claimed.first_tried_at, interval '0') as age,
           exists (select from notify.recipients r where r.message_id = claimed.id and r.outcome = 'accepted')
               as reached
    from claimed join token on token.message_id = claimed.id
    order by claimed.not_before, claimed.id
""")


def claim(connection: Connection, drain: Drain, wanted: int) -> list[Claimed]:
    """Reserve messages that are due, as many as the limit allows, in order of priority and then of time.

    The tokens are taken in the same transaction: a claim that is not committed costs nothing, and one that is
    committed counts from now on (see :mod:`notify.domain.limit`).

    :param wanted: how many at most
    """
    connection.execute(_LOCK_SENDER, {"sender": drain.sender})
    allowed = _allowed(connection, drain)
    claimed: list[Claimed] = []
    for priority in Priority:
        bulk = priority is Priority.BULK
        share = allowed.cap(wanted - len(claimed), bulk=bulk)
        if share <= 0:
            continue
        rows = connection.execute(
            _CLAIM, {"sender": drain.sender, "drain": drain.id, "priority": priority.value, "wanted": share}
        ).all()
        claimed += [_claimed(row) for row in rows]
        if not bulk:
            allowed = allowed.less(len(rows))
    return claimed


def _allowed(connection: Connection, drain: Drain) -> Allowance:
    return allowance(drain.limit, usage(connection, drain.sender, drain.window))


def usage(connection: Connection, sender: str, window: timedelta = WINDOW) -> Usage:
    """What counts against a sender's limit now."""
    row = connection.execute(_USAGE, {"sender": sender, "window": window}).one()
    return Usage(row.total, row.bulk)


def _claimed(row: sa.Row[Any]) -> Claimed:
    tried = Tried(Guarantee(row.guarantee), row.refusals, row.age, row.reached)
    return Claimed(row.attempt_id, row.id, tried, faults=row.attempts - 1 - row.refusals)


# --- Begin -----------------------------------------------------------------------------------------------------------

_BEGIN = sa.text("""
    update notify.attempts a set begun_at = clock_timestamp()
    from notify.drains d
    where a.id = any(cast(:attempts as bigint[])) and a.begun_at is null and a.ended_at is null
      and a.drain_id = :drain and d.id = a.drain_id and d.ended_at is null
""")

_PARCELS = sa.text("""
    select m.id, m.message_id, m.headers, m.boundary, m.reply_to, m.priority, c.body
    from notify.messages m left join notify.contents c on c.id = m.content_id
    where m.id = any(cast(:ids as bigint[]))
""")

_ADDRESSEES = sa.text("""
    select message_id, position, address from notify.recipients
    where message_id = any(cast(:ids as bigint[])) and outcome not in ('accepted', 'permanent')
    order by message_id, position
""")


def begin(connection: Connection, drain: Drain, claimed: Sequence[Claimed]) -> list[Parcel | Outcome]:
    """Write down that these are about to be sent, and fetch them.

    Once this is committed they may be in doubt; before, they are provably unsent.

    :returns: a parcel for each, in order; or what came of it where there is none: its body is gone, nobody is left to
        send it to, or an attachment cannot be had
    :raises LeaseLost: not all of them are this drain's any more
    """
    if not claimed:
        return []
    attempts = [one.attempt_id for one in claimed]
    begun = connection.execute(_BEGIN, {"attempts": attempts, "drain": drain.id})
    if begun.rowcount != len(claimed):
        raise LeaseLost
    parcels = _load(connection, [one.id for one in claimed])
    return [parcels.get(one.id, Outcome(())) for one in claimed]


def _load(connection: Connection, ids: list[int]) -> dict[int, Parcel | Outcome]:
    addressees: dict[int, list[Addressee]] = {}
    for row in connection.execute(_ADDRESSEES, {"ids": ids}):
        addressees.setdefault(row.message_id, []).append(Addressee(row.position, row.address))
    rows = connection.execute(_PARCELS, {"ids": ids}).all()
    return {
        row.id: _parcel(connection, row, addressees[row.id])
        for row in rows
        if row.body is not None and row.id in addressees
    }


def _parcel(connection: Connection, row: sa.Row[Any], addressees: Sequence[Addressee]) -> Parcel | Outcome:
    try:
        enclosures = [
            Enclosure(stored.filename, stored.content_type, stored.content)
            for stored in (read_stored(connection, [row.id]) if row.boundary is not None else ())
        ]
    except ConfigurationError as error:  # its file is missing; the other messages are whole
        positions = [addressee.position for addressee in addressees]
        return Outcome.same(positions, Verdict.TEMPORARY, None, str(error))
    return Parcel(
        id=row.id,
        message_id=row.message_id,
        addressees=tuple(addressees),
        headers=row.headers,
        body=row.body,
        reply_to=row.reply_to,
        bulk=row.priority == Priority.BULK,
        enclosures=tuple(enclosures),
        boundary=row.boundary,
    )


# --- Settle ----------------------------------------------------------------------------------------------------------

_SETTLE = sa.text("""
    with settled as (
        select * from unnest(
            cast(:attempts as bigint[]), cast(:outcomes as text[]), cast(:codes as smallint[]),
            cast(:responses as text[]), cast(:statuses as text[]), cast(:reasons as text[]),
            cast(:waits as double precision[])
        ) as s (attempt_id, outcome, code, response, status, reason, wait)
    ), ended as (
        update notify.attempts a
        set ended_at = clock_timestamp(), outcome = s.outcome, code = s.code, response = s.response
        from settled s
        where a.id = s.attempt_id and a.drain_id = :drain and a.begun_at is not null and a.ended_at is null
        returning a.message_id, a.begun_at, s.outcome, s.status, s.reason, s.wait
    )
    update notify.messages m
    set status = e.status,
        status_reason = e.reason,
        not_before = case when e.status = 'queued' then clock_timestamp() + make_interval(secs => e.wait)
                          else m.not_before end,
        sent_at = case when e.status = 'sent' then clock_timestamp() else m.sent_at end,
        refusals = m.refusals + case when e.outcome in ('temporary', 'in_doubt') then 1 else 0 end,
        first_tried_at = case when e.outcome = 'sender_fault' then m.first_tried_at
                              else coalesce(m.first_tried_at, e.begun_at) end
    from ended e
    where m.id = e.message_id and m.status = 'sending'
""")

_SETTLE_RECIPIENTS = sa.text("""
    update notify.recipients r
    set outcome = s.outcome, code = s.code, response = s.response, settled_at = clock_timestamp()
    from unnest(
        cast(:ids as bigint[]), cast(:positions as integer[]), cast(:outcomes as text[]), cast(:codes as smallint[]),
        cast(:responses as text[])
    ) as s (message_id, position, outcome, code, response)
    where r.message_id = s.message_id and r.position = s.position
""")


def settle(connection: Connection, drain_id: UUID, settlements: Sequence[Settlement]) -> None:
    """Record how attempts ended and move their messages on.

    :raises LeaseLost: one of the attempts is no longer open: the drain was taken for dead meanwhile
    """
    if not settlements:
        return
    conclusions = [settlement.conclusion for settlement in settlements]
    decisive = [settlement.outcome.decisive if settlement.outcome else None for settlement in settlements]
    moved = connection.execute(
        _SETTLE,
        {
            "drain": drain_id,
            "attempts": [settlement.claimed.attempt_id for settlement in settlements],
            "outcomes": [s.outcome.verdict.value if s.outcome else "sender_fault" for s in settlements],
            "codes": [one.code if one else None for one in decisive],
            "responses": [
                one.text if one else settlement.fault for one, settlement in zip(decisive, settlements, strict=True)
            ],
            "statuses": [conclusion.status.value for conclusion in conclusions],
            "reasons": [conclusion.reason for conclusion in conclusions],
            "waits": [conclusion.wait.total_seconds() for conclusion in conclusions],
        },
    )
    if moved.rowcount != len(settlements):
        raise LeaseLost
    _settle_recipients(connection, settlements)


def _settle_recipients(connection: Connection, settlements: Iterable[Settlement]) -> None:
    rows = [
        (settlement.claimed.id, one.position, one.verdict.value, one.code, one.text)
        for settlement in settlements
        if settlement.outcome
        for one in settlement.outcome.recipients
    ]
    if rows:
        names = ("ids", "positions", "outcomes", "codes", "responses")
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        connection.execute(_SETTLE_RECIPIENTS, columns)


# --- Release and recover ---------------------------------------------------------------------------------------------

_RELEASE = sa.text("""
    with token as (
        delete from notify.attempts
        where drain_id = :drain and begun_at is null and ended_at is null
        returning message_id
    )
    update notify.messages m set status = 'queued', status_reason = :reason, attempts = m.attempts - 1
    from token where m.id = token.message_id and m.status = 'sending'
""")

_LOST_DRAINS = sa.text("""
    update notify.drains set ended_at = now(), end_reason = 'its lease ran out'
    where sender = :sender and ended_at is null and lease_until < now()
""")

# Beside those just ended: a run that was torn down between writing "begun" and sending has ended in good order, and
# so has one whose commit was answered by silence.
_ABANDONED = sa.text("""
    select distinct a.drain_id from notify.attempts a join notify.drains d on d.id = a.drain_id
    where a.sender = :sender and a.ended_at is null and d.ended_at is not null
""")

_IN_DOUBT = sa.text("""
    select a.id as attempt_id, m.id, m.guarantee, m.refusals, m.attempts,
           coalesce(now() - m.first_tried_at, interval '0') as age,
           exists (select from notify.recipients r where r.message_id = m.id and r.outcome = 'accepted') as reached,
           array(select r.position from notify.recipients r
                 where r.message_id = m.id and r.outcome not in ('accepted', 'permanent')) as positions
    from notify.attempts a join notify.messages m on m.id = a.message_id
    where a.drain_id = :drain and a.begun_at is not null and a.ended_at is null
    for update of a
""")


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was taken over from drains that died.

    :param released: provably unsent; back in the queue, their tokens given back
    :param doubted: begun, without an answer on record; queued again, or ``uncertain``
    """

    released: int = 0
    doubted: int = 0


def release(connection: Connection, drain_id: UUID, reason: str) -> int:
    """Put back what was claimed and never begun, and give its tokens back.

    :returns: how many
    """
    return connection.execute(_RELEASE, {"drain": drain_id, "reason": reason}).rowcount


def recover(connection: Connection, sender: str) -> Recovered:
    """Take over from drains that are gone: release what they reserved, doubt what they had begun."""
    released = doubted = 0
    connection.execute(_LOST_DRAINS, {"sender": sender})
    for drain_id in connection.scalars(_ABANDONED, {"sender": sender}).all():
        released += release(connection, drain_id, "released: its drain died before it was begun")
        doubts = [_doubt(row) for row in connection.execute(_IN_DOUBT, {"drain": drain_id})]
        settle(connection, drain_id, doubts)
        doubted += len(doubts)
    return Recovered(released, doubted)


def _doubt(row: sa.Row[Any]) -> Settlement:
    outcome = Outcome.same(
        row.positions, Verdict.IN_DOUBT, None, "the drain died after it had begun; no answer is on record"
    )
    return Settlement(_claimed(row), outcome)


# --- What waits ------------------------------------------------------------------------------------------------------

_EXPIRE = sa.text("""
    update notify.messages set status = 'expired', status_reason = 'its expires_after has passed'
    where status = 'queued' and expires_at <= now() and sender = :sender
""")

_QUEUE = sa.text("""
    select count(*) filter (where not_before <= now()) as due,
           count(*) filter (where not_before > now()) as later
    from notify.messages where status = 'queued' and sender = :sender
""")

_LEAVES = sa.text("""
    select ended_at + :window from notify.attempts
    where sender = :sender and ended_at > now() - :window and outcome <> 'sender_fault' and (bulk or not :bulk)
    order by ended_at offset :before limit 1
""")

_ANY_DUE = sa.text("""
    select exists (
        select from notify.messages
        where status = 'queued' and sender = :sender and priority = any(cast(:priorities as text[]))
          and not_before <= now() and (expires_at is null or expires_at > now()))
""")


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for a sender.

    :param due: could leave now, if the limit allowed it
    :param later: waits for its time or its next try
    """

    due: int
    later: int


def expire(connection: Connection, sender: str) -> int:
    """Mark what may no longer be sent.

    :returns: how many
    """
    return connection.execute(_EXPIRE, {"sender": sender}).rowcount


def ready(connection: Connection, drain: Drain) -> bool:
    """Whether anything is due that the limit allows; costs little more than a look at an index."""
    allowed = _allowed(connection, drain)
    return _any_due(connection, drain, [one for one in Priority if allowed.cap(1, bulk=one is Priority.BULK)])


def _any_due(connection: Connection, drain: Drain, priorities: Iterable[Priority]) -> bool:
    values = {"sender": drain.sender, "priorities": [one.value for one in priorities]}
    return bool(connection.scalar(_ANY_DUE, values))


def queue(connection: Connection, sender: str) -> Queue:
    """Count what waits for a sender."""
    row = connection.execute(_QUEUE, {"sender": sender}).one()
    return Queue(row.due, row.later)


def next_slot(connection: Connection, drain: Drain) -> datetime | None:
    """When the limit lets the next of the waiting messages through; None if no time can be told.

    A slot comes free when so much has left the window that the count is below the limit: one attempt, or more after
    the limit was lowered. Where only bulk waits, its share must have one as well.
    """
    if drain.limit <= 0:
        return None
    used = usage(connection, drain.sender, drain.window)
    slots = [_leaves(connection, drain, used.total - drain.limit, bulk=False)]
    if not _any_due(connection, drain, set(Priority) - {Priority.BULK}):
        slots.append(_leaves(connection, drain, used.bulk - bulk_limit(drain.limit), bulk=True))
    return max(filter(None, slots), default=None)


def _leaves(connection: Connection, drain: Drain, before: int, *, bulk: bool) -> datetime | None:
    """When the attempt behind the oldest ``before`` leaves the window; None where nothing needs to."""
    if before < 0:
        return None
    values = {"sender": drain.sender, "window": drain.window, "bulk": bulk, "before": before}
    moment: datetime | None = connection.scalar(_LEAVES, values)
    return moment


_REMEMBER_FAULT = sa.text("""
    update notify.senders
    set last_fault = :cause, last_remedy = :remedy,
        last_fault_at = case when cast(:cause as text) is null then null else now() end
    where sender = :sender
""")


def remember_fault(connection: Connection, sender: str, fault: SenderFault | None) -> None:
    """Keep the sender's last fault for whoever looks; a run without one clears it."""
    cause, remedy = (fault.cause, fault.remedy) if fault else (None, None)
    connection.execute(_REMEMBER_FAULT, {"sender": sender, "cause": cause, "remedy": remedy})
