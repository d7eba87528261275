"""An attempt's life: claimed, begun, settled; or released unsent.

Every function works in its caller's transaction and moves rows by compare-and-set; what it did not find in the
expected state, it does not touch, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from sqlalchemy.engine import Connection

from notify.domain.conclusion import Conclusion, Tried, conclude
from notify.domain.drain import Drain
from notify.domain.lease import Lease
from notify.domain.limit import most_slots
from notify.domain.message import Guarantee, Priority
from notify.domain.outcome import Outcome, Verdict
from notify.domain.parcel import Addressee, Enclosure, Parcel
from notify.domain.status import Status
from notify.exceptions import LeaseLost
from notify.storage import attachments, limits
from notify.storage.attachments import KeptFile
from notify.storage.prepared import Prepared


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
    :ivar conclusion: where the message goes
    :ivar ended: the attempt's end, as a turn takes it
    :ivar heard: its recipients', as a turn takes them
    """

    claimed: Claimed
    outcome: Outcome | None
    fault: str = ""
    wait: timedelta = timedelta(0)

    conclusion: Conclusion = field(init=False)
    ended: str = field(init=False, repr=False)
    heard: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Decided once: the wait is drawn at random, and what is counted must be what is stored. And written at once: a
        # session makes this while the database works, and the thread that asks for turns has it ready.
        object.__setattr__(self, "conclusion", self._conclude())
        object.__setattr__(self, "ended", json.dumps(_ended(self)))
        object.__setattr__(self, "heard", tuple(map(json.dumps, _heard(self))))

    @property
    def references(self) -> list[str]:
        """What a gateway calls the parts that it took."""
        recipients = self.outcome.recipients if self.outcome else ()
        return [reference for one in recipients for reference in one.references]

    def _conclude(self) -> Conclusion:
        if self.outcome is None:
            return Conclusion(Status.QUEUED, f"the sender could not send: {self.fault}", self.wait)
        return conclude(self.outcome, self.claimed.tried)


# --- Claim -----------------------------------------------------------------------------------------------------------

# One claim of a sender at a time: the count and the tokens taken after it belong together.
_LOCK_SENDER = sa.text("select from notify.senders where sender = :sender for update")

# In the order of the queue: what does not fit any more holds back what stands behind it, or an SMS of many parts would
# wait until no short one is left.
_CLAIM = sa.text("""
    with due as (
        select id, not_before, least(parts, cast(:most as integer)) as slots from notify.messages
        where sender = :sender and priority = :priority and status = 'queued' and not_before <= now()
          and (expires_at is null or expires_at > now())
          and (campaign_id is null or campaign_id <> all(array(
              select c.id from notify.campaigns c
              where c.status = 'paused' or c.status = 'cancelled' and c.unsettled)))
        order by not_before, id
        limit :wanted
        for update skip locked
    ), fitting as (
        select id, slots from (
            select id, slots, sum(slots) over (order by not_before, id) as so_far from due) in_order
        where cast(:room as bigint) is null or so_far <= :room
    ), claimed as (
        update notify.messages m set status = 'sending', status_reason = null, attempts = m.attempts + 1
        from fitting where m.id = fitting.id
        returning m.id, m.attempts, m.priority, m.guarantee, m.refusals, m.first_tried_at, m.not_before, fitting.slots
    ), token as (
        insert into notify.attempts (message_id, number, sender, bulk, slots, drain_id)
        select id, attempts, :sender, priority = 'bulk', slots, :drain from claimed
        returning id, message_id
    )
    select token.id as attempt_id, claimed.id, claimed.guarantee, claimed.refusals, claimed.slots,
           coalesce(now() - claimed.first_tried_at, interval '0') as age,
           claimed.attempts > 1 and exists (
               select from notify.recipients r where r.message_id = claimed.id and r.outcome = 'accepted') as reached,
           case when claimed.attempts > 1 then (
               select count(*) from notify.attempts a where a.message_id = claimed.id and a.outcome = 'sender_fault')
               else 0 end as faults
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
    allowed = limits.allowed(connection, drain)
    claimed: list[Claimed] = []
    for priority in Priority:
        bulk = priority is Priority.BULK
        share = allowed.cap(wanted - len(claimed), bulk=bulk)
        if share <= 0:
            continue
        values = {
            "sender": drain.sender,
            "drain": drain.id,
            "priority": priority.value,
            "wanted": share,
            "room": allowed.room(bulk=bulk),
            "most": most_slots(drain.limit, bulk=bulk),
        }
        rows = connection.execute(_CLAIM, values).all()
        claimed += [_claimed(row) for row in rows]
        if not bulk:
            allowed = allowed.less(sum(row.slots for row in rows))
    return claimed


def _claimed(row: sa.Row[Any]) -> Claimed:
    tried = Tried(Guarantee(row.guarantee), row.refusals, row.age, row.reached)
    return Claimed(row.attempt_id, row.id, tried, row.faults)


# --- The turn --------------------------------------------------------------------------------------------------------

#: Why a message "m" that is reserved must not be sent any more. No EXISTS over what does not change meanwhile: of that
#: PostgreSQL would gather all recipients there are (18, 2026-11).
_UNFIT = """case
            when m.expires_at <= clock_timestamp() then 'late'
            when exists (
                select from notify.recipients r
                where r.message_id = m.id and r.outcome not in ('accepted', 'permanent') and (
                    select coalesce(s.expires_at > clock_timestamp(), true) from notify.suppressions s
                    where s.address = lower(r.address))) then 'suppressed'
            when m.priority = 'bulk' and (
                select true from notify.recipients r
                where r.message_id = m.id and r.outcome not in ('accepted', 'permanent') and (
                    select true from notify.unsubscriptions u
                    where u.address = lower(r.address) and u.scope = 'bulk-mail')
                limit 1) then 'unsubscribed'
            when m.campaign_id is not null and (
                select c.status = 'paused' or c.status = 'cancelled' and c.unsettled from notify.campaigns c
                where c.id = m.campaign_id) then 'withheld'
            end"""

# One statement, so one round trip and one commit, in which several sessions share. Its parts in order: the drain's own
# row is locked, so that nobody takes it for dead meanwhile; attempts end, their messages and recipients move on; others
# begin and are fetched. What an earlier attempt delivered, or nobody will ever take, is left out of those.
#
# Rows are found by their primary keys, and then compared. "= any", "is not distinct from" and coalesce keep PostgreSQL
# from finding them by what is compared: it believes that hardly any message is being sent at a moment, which was true
# when it last looked, and would read all that are, again and again (PostgreSQL 18, 2026-11). For the same reason the
# lists and the campaign are asked in subqueries of their own.
_TURN = Prepared(
    "notify_turn",
    f"""
    with drain as materialized (
        select id from notify.drains
        where id = %(drain)s and (ended_at is null or not %(living)s)
        for no key update
    ), settled as materialized (
        select * from json_to_recordset(%(settled)s) as s (
            attempt_id bigint, outcome text, code smallint, response text,
            status text, reason text, wait double precision)
    ), ended as (
        update notify.attempts a
        set ended_at = clock_timestamp(), outcome = s.outcome, code = s.code, response = s.response
        from settled s, drain
        where a.id = any(%(attempts)s) and a.id = s.attempt_id and a.drain_id is not distinct from drain.id
          and a.begun_at is not null and coalesce(a.ended_at, 'infinity') = 'infinity'
        returning a.message_id, a.begun_at, s.outcome, s.status, s.reason, s.wait
    ), moved as (
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
        where m.id = any(%(messages)s) and m.id = e.message_id and m.status is not distinct from 'sending'
        returning m.id
    ), heard as (
        update notify.recipients r
        set outcome = s.outcome, code = s.code, response = s.response, settled_at = clock_timestamp()
        from json_to_recordset(%(heard)s) as s (
            message_id bigint, position integer, outcome text, code smallint, response text)
        where r.message_id = any(%(messages)s) and r.message_id = s.message_id and r.position = s.position
    ), mine as materialized (
        select a.id as attempt_id, a.message_id, {_UNFIT} as unfit
        from drain, notify.attempts a join notify.messages m on m.id = a.message_id
        where a.id = any(%(claimed)s) and coalesce(a.begun_at, a.ended_at) is null
          and a.drain_id is not distinct from drain.id
    ), begun as (
        update notify.attempts a set begun_at = clock_timestamp()
        from mine
        where a.id = any(%(claimed)s) and a.id = mine.attempt_id and mine.unfit is null
    ), books as (
        select notify.require_lease(
            (select count(*) from drain) = 1
            and (select count(*) from moved) = cardinality(%(attempts)s)
            and (select count(*) from mine) = cardinality(%(claimed)s)
        ) as kept
    )
    select mine.attempt_id, books.kept, mine.unfit, m.id, m.message_id, m.headers, m.boundary, m.reply_to, m.priority,
           m.guarantee, c.body, r.positions, r.addresses
    from books
    left join mine on true
    left join notify.messages m on m.id = mine.message_id
    left join notify.contents c on c.id = m.content_id
    left join lateral (
        select array_agg(position order by position) as positions, array_agg(address order by position) as addresses
        from notify.recipients
        where message_id = m.id and outcome not in ('accepted', 'permanent')
    ) r on true
    """,  # noqa: S608 - made of constants
    {
        "drain": "uuid",
        "living": "boolean",
        "attempts": "bigint[]",
        "messages": "bigint[]",
        "settled": "json",
        "heard": "json",
        "claimed": "bigint[]",
    },
)

#: What ``notify.require_lease`` raises.
_LEASE_LOST = "NL001"


@dataclass(frozen=True, slots=True)
class Begun:
    """A message about to be sent.

    :param parcel: all of it but its attachments
    :param files: its attachments
    """

    parcel: Parcel
    files: tuple[KeptFile, ...] = ()

    def load(self) -> Parcel:
        """The whole message; may take time, and needs no database.

        :raises ConfigurationError: object storage does not give one of its attachments
        """
        if not self.files:
            return self.parcel
        enclosures = [Enclosure(file.filename, file.content_type, file.read()) for file in self.files]
        return replace(self.parcel, enclosures=tuple(enclosures))


class Unsendable(StrEnum):
    """Why a claimed message is not sent after all."""

    ERASED = "erased"  #: begun, but its content or its last recipient is gone
    LATE = "late"  #: not begun: its ``expires_after`` has passed, see :func:`release_unfit`
    SUPPRESSED = "suppressed"  #: not begun: somebody it is for is on the suppression list by now, as above
    UNSUBSCRIBED = "unsubscribed"  #: not begun: it is bulk, and somebody it is for wants no more of that, as above
    WITHHELD = "withheld"  #: not begun: its campaign was paused or cancelled meanwhile, as above


def turn(
    connection: Connection,
    drain_id: UUID,
    settlements: Sequence[Settlement],
    claimed: Sequence[Claimed] = (),
    *,
    lease: Lease | None = None,
    living: bool = True,
) -> list[Begun | Unsendable]:
    """Record how attempts ended and move their messages on; write down that others are about to be sent, fetch those.

    Once this is committed the latter may be in doubt; before, they are provably unsent.

    :param connection: in a transaction, or one that commits each statement
    :param lease: the drain's, as its sessions see it
    :param living: whether the drain must not have ended
    :returns: what to send for each of ``claimed``, in order
    :raises LeaseLost: the drain was taken for dead, or one of the attempts is not in the expected state; nothing
        has changed
    """
    values = {
        "drain": str(drain_id),
        "living": str(living),
        "claimed": _array(one.attempt_id for one in claimed),
        "attempts": _array(settlement.claimed.attempt_id for settlement in settlements),
        "messages": _array(settlement.claimed.id for settlement in settlements),
        # JSON: half the work of an array for each column.
        "settled": f"[{','.join(settlement.ended for settlement in settlements)}]",
        "heard": f"[{','.join(heard for settlement in settlements for heard in settlement.heard)}]",
    }
    found = _ask(connection, values)
    if not claimed:
        return []
    rows = {row[0]: _Row(*row) for row in found}
    with_files = [row.id for row in rows.values() if row.boundary is not None]
    files = attachments.of_messages(connection, with_files) if with_files else {}
    return [_begun(rows[one.attempt_id], files, lease) for one in claimed]


def _array(numbers: Iterable[int]) -> str:
    return f"{{{','.join(map(str, numbers))}}}"


def _ask(connection: Connection, values: dict[str, str]) -> list[TupleRow]:
    try:
        return _TURN.ask(connection, values)
    except psycopg.Error as error:
        if error.sqlstate == _LEASE_LOST:
            raise LeaseLost from None
        if connection.connection.dbapi_connection.closed:  # type: ignore[union-attr]  # it is psycopg's
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=connection.invalidated
        ) from error


class _Row(NamedTuple):
    """What is stored of a message that is begun; the arrays are None where there is nobody left."""

    attempt_id: int
    kept: bool
    unfit: str | None
    id: int
    message_id: str
    headers: bytes
    boundary: str | None
    reply_to: str | None
    priority: str
    guarantee: str
    body: bytes | None
    positions: list[int] | None
    addresses: list[str] | None


def _begun(row: _Row, files: Mapping[int, Sequence[KeptFile]], lease: Lease | None) -> Begun | Unsendable:
    if row.unfit:
        return Unsendable(row.unfit)
    if row.body is None or row.positions is None or row.addresses is None:
        return Unsendable.ERASED
    parcel = Parcel(
        id=row.id,
        message_id=row.message_id,
        addressees=tuple(map(Addressee, row.positions, row.addresses)),
        headers=row.headers,
        body=row.body,
        reply_to=row.reply_to,
        bulk=row.priority == Priority.BULK,
        boundary=row.boundary,
        cautious=row.guarantee == Guarantee.AT_MOST_ONCE,
        lease=lease,
    )
    return Begun(parcel, tuple(files.get(row.id, ())))


def _ended(settlement: Settlement) -> dict[str, Any]:
    outcome, conclusion = settlement.outcome, settlement.conclusion
    decisive = outcome.decisive if outcome else None
    return {
        "attempt_id": settlement.claimed.attempt_id,
        "outcome": outcome.verdict.value if outcome else "sender_fault",
        "code": decisive.code if decisive else None,
        "response": _storable(decisive.text if decisive else settlement.fault),
        "status": conclusion.status.value,
        "reason": _storable(conclusion.reason),
        "wait": conclusion.wait.total_seconds(),
    }


def _heard(settlement: Settlement) -> Iterator[dict[str, Any]]:
    for one in settlement.outcome.recipients if settlement.outcome else ():
        yield {
            "message_id": settlement.claimed.id,
            "position": one.position,
            "outcome": one.verdict.value,
            "code": one.code,
            "response": _storable(one.text),
        }


def _storable(text: str) -> str:
    """A text without what PostgreSQL cannot store: a channel must not stop the books."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


# --- Release and doubt -----------------------------------------------------------------------------------------------

_RELEASE = sa.text("""
    with token as (
        delete from notify.attempts
        where drain_id = :drain and begun_at is null and ended_at is null
        returning message_id
    )
    update notify.messages m set status = 'queued', status_reason = :reason, attempts = m.attempts - 1
    from token where m.id = token.message_id and m.status = 'sending'
""")

_IN_DOUBT = sa.text("""
    select a.id as attempt_id, m.id, m.guarantee, m.refusals, 0 as faults,
           coalesce(now() - m.first_tried_at, interval '0') as age,
           exists (select from notify.recipients r where r.message_id = m.id and r.outcome = 'accepted') as reached,
           array(select r.position from notify.recipients r
                 where r.message_id = m.id and r.outcome not in ('accepted', 'permanent')) as positions
    from notify.attempts a join notify.messages m on m.id = a.message_id
    where a.drain_id = :drain and a.begun_at is not null and a.ended_at is null
    for update of a
""")


def release(connection: Connection, drain_id: UUID, reason: str) -> int:
    """Put back what was claimed and never begun, and give its tokens back.

    :returns: how many
    """
    return connection.execute(_RELEASE, {"drain": drain_id, "reason": reason}).rowcount


_OPEN = sa.text("select id from notify.attempts where drain_id = :drain and begun_at is not null and ended_at is null")
_UNBEGIN = sa.text("""
    update notify.attempts set begun_at = null
    where id = any(cast(:attempts as bigint[])) and drain_id = :drain and ended_at is null
""")


def unsettled(connection: Connection, drain: Drain, settlements: Iterable[Settlement]) -> list[Settlement]:
    """Those that are still to be recorded, after a turn whose answer was lost."""
    open_ones = set(connection.scalars(_OPEN, {"drain": drain.id}))
    return [settlement for settlement in settlements if settlement.claimed.attempt_id in open_ones]


def unbegin(connection: Connection, drain: Drain, claimed: Iterable[Claimed]) -> None:
    """Take back that these were about to be sent: the turn's answer was lost, and no session was given them."""
    connection.execute(_UNBEGIN, {"drain": drain.id, "attempts": [one.attempt_id for one in claimed]})


_RELEASE_UNFIT = sa.text(f"""
    with token as (
        delete from notify.attempts a using notify.messages m
        where a.drain_id = :drain and a.begun_at is null and a.ended_at is null and m.id = a.message_id
          and {_UNFIT} is not null
        returning a.id, a.message_id, {_UNFIT} as unfit
    )
    update notify.messages m
    set status = 'queued', attempts = m.attempts - 1, status_reason = 'released: ' || case token.unfit
        when 'late' then 'its expires_after has passed'
        when 'suppressed' then 'a recipient is on the suppression list'
        when 'unsubscribed' then 'a recipient wants no more bulk mail'
        else 'its campaign is paused or cancelled' end
    from token where m.id = token.message_id and m.status = 'sending'
    returning token.id as attempt_id, m.id, m.priority
""")  # noqa: S608 - made of constants


class Released(NamedTuple):
    """What was put back.

    :param attempts: that are gone
    :param messages: all of them
    :param bulk: those that are bulk
    """

    attempts: set[int]
    messages: set[int]
    bulk: set[int]


def release_unfit(connection: Connection, drain: Drain) -> Released:
    """Put back what this drain has reserved and what must not leave any more.

    That is what is too late, for somebody who gets nothing, bulk for somebody who wants no more of it, or of a campaign
    that was paused or cancelled meanwhile.
    """
    rows = connection.execute(_RELEASE_UNFIT, {"drain": drain.id}).all()
    bulk = {row.id for row in rows if row.priority == Priority.BULK}
    return Released({row.attempt_id for row in rows}, {row.id for row in rows}, bulk)


def doubt(connection: Connection, drain_id: UUID) -> int:
    """End what a drain that is gone had begun: nobody knows what came of it.

    :returns: how many
    """
    doubts = [_doubt(row) for row in connection.execute(_IN_DOUBT, {"drain": drain_id})]
    turn(connection, drain_id, doubts, living=False)
    return len(doubts)


def _doubt(row: sa.Row[Any]) -> Settlement:
    outcome = Outcome.same(
        row.positions, Verdict.IN_DOUBT, None, "the drain died after it had begun; no answer is on record"
    )
    return Settlement(_claimed(row), outcome)
