"""All assertions in one place: what a scenario left behind, held against the promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.storage import balance
from tests.chaos.sink import Arrival


@dataclass(frozen=True, slots=True)
class Handed:
    """A message that was handed over.

    :param subject: unlike any other's
    """

    message_id: str
    subject: str
    once: bool
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What happened.

    :param handed: what was handed over
    :param arrivals: what the SMTP server took
    :param journal: what the workers wrote down
    :param kills: how many workers were killed
    :param blows: how many workers, connections or servers were struck, the killed among them
    :param bound: how many extra copies those blows may cost
    :param doubts: how many messages they may leave in doubt
    :param sessions: of each worker
    :param calm: whether no lease may be lost that no blow explains
    :param struck: the workers that may have lost a lease by a blow; whoever else lost one was stalled by the machine
        itself, which is a blow as well
    :param limit: messages per window; -1 is no limit
    :param unspent: blows that never fell
    :param statuses: how workers ended that nobody struck
    """

    handed: Sequence[Handed]
    arrivals: Sequence[Arrival]
    journal: Sequence[Mapping[str, Any]]
    kills: int
    blows: int
    bound: int
    doubts: int
    sessions: int
    calm: bool = False
    struck: frozenset[int] = frozenset()
    limit: int = -1
    window: float = 3600.0
    unspent: Sequence[str] = ()
    statuses: Sequence[int] = ()
    faults: Sequence[str] = ()


@dataclass(slots=True)
class Verdict:
    """What the judge finds.

    :param extra: copies beyond the first of each message
    :param bound: how many of them the blows explain
    :param doubts: how many uncertain messages they explain
    :param stalls: leases that a worker lost though nobody struck it: the machine was too busy
    :param most: the largest number of messages in any window, by the sink's clock
    :param faults: what must not be; empty where the promise was kept
    """

    messages: int = 0
    kills: int = 0
    blows: int = 0
    copies: int = 0
    extra: int = 0
    bound: int = 0
    doubts: int = 0
    stalls: int = 0
    uncertain: int = 0
    lost: int = 0
    limit: int = -1
    most: int = 0
    even: bool = False
    faults: list[str] = field(default_factory=list)


def judge(engine: Engine, evidence: Evidence) -> Verdict:
    """Hold everything against the promise."""
    copies = Counter(arrival.subject for arrival in evidence.arrivals)
    verdict = Verdict(
        messages=len(evidence.handed),
        kills=evidence.kills,
        blows=evidence.blows,
        copies=copies.total(),
        extra=copies.total() - len(copies),
        bound=evidence.bound,
        doubts=evidence.doubts,
        limit=evidence.limit,
        most=most_in_any_window((arrival.at for arrival in evidence.arrivals), evidence.window),
        faults=list(evidence.faults),
    )
    with engine.connect() as connection:
        stored = _stored(connection)
        verdict.stalls = _stalls(connection, evidence.struck)
        if not evidence.calm:
            verdict.bound += verdict.stalls * evidence.sessions
            verdict.doubts += verdict.stalls * evidence.sessions
        verdict.uncertain = sum(row.status == "uncertain" for row in stored.values())
        verdict.lost = sum(_lost(one, copies, stored) for one in evidence.handed)
        verdict.faults += _faults_of_messages(evidence, copies, stored)
        verdict.faults += _left_open(connection)
    found = balance.check(engine)
    verdict.even = found.even
    verdict.faults += [f"balance: {wrong.count} {wrong.what}" for wrong in found.wrong]
    verdict.faults += _faults_of_totals(evidence, verdict)
    return verdict


def most_in_any_window(moments: Iterable[float], window: float) -> int:
    """The largest number of moments in any half-open interval of a length; a densest one begins at a moment."""
    ordered = sorted(moments)
    first = most = 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - window:
            first += 1
        most = max(most, last - first + 1)
    return most


_STORED = sa.text("""
    select m.message_id, m.status, m.guarantee,
           (select count(*) from notify.attempts a where a.message_id = m.id and a.begun_at is not null) as tries,
           (select count(*) from notify.message_events e where e.message_id = m.id and e.to_status = 'sent') as sent
    from notify.messages m
""")

_LOST_LEASES = sa.text("select run_id from notify.drains where end_reason = 'its lease ran out'")
_OPEN = sa.text("select count(*) from notify.attempts where ended_at is null")


def _stored(connection: Connection) -> dict[str, sa.Row[Any]]:
    return {row.message_id: row for row in connection.execute(_STORED)}


def _stalls(connection: Connection, struck: frozenset[int]) -> int:
    return sum(int(number) not in struck for number in connection.scalars(_LOST_LEASES))


def _left_open(connection: Connection) -> Iterator[str]:
    if count := connection.scalar(_OPEN):
        yield f"left open: {count} attempts"


def _lost(one: Handed, copies: Mapping[str, int], stored: Mapping[str, sa.Row[Any]]) -> bool:
    """Whether nobody will ever see the message, and nobody is told."""
    row = stored.get(one.message_id)
    if row is None:
        return True
    if one.once and row.status == "uncertain":
        return False
    return copies[one.subject] == 0


def _faults_of_messages(
    evidence: Evidence, copies: Mapping[str, int], stored: Mapping[str, sa.Row[Any]]
) -> Iterator[str]:
    ours = {one.subject: one for one in evidence.handed}
    for arrival in evidence.arrivals:
        one = ours.get(arrival.subject)
        if one is None:
            yield f"unknown: {arrival.subject!r} was never handed over"
        elif arrival.message_id != one.message_id:
            yield f"Message-ID: {arrival.subject!r} arrived as {arrival.message_id}, not {one.message_id}"
        elif arrival.recipients != one.recipients:
            yield f"recipients: {arrival.subject!r} went to {arrival.recipients}, not {one.recipients}"
    for one in evidence.handed:
        yield from _faults_of(one, copies[one.subject], stored[one.message_id])


def _faults_of(one: Handed, copies: int, row: sa.Row[Any]) -> Iterator[str]:
    if one.once and copies > 1:
        yield f"twice: {one.subject!r} is at_most_once and arrived {copies} times"
    if row.status != "sent" and not (one.once and row.status == "uncertain"):
        yield f"state: {one.subject!r} ended as {row.status}"
    if row.status == "sent" and not copies:
        yield f"lost: {one.subject!r} is said to be sent and never arrived"
    if row.sent > 1:
        yield f"history: {one.subject!r} was settled as sent {row.sent} times"
    if copies > row.tries:
        yield f"attempts: {one.subject!r} arrived {copies} times by {row.tries} attempts"


def _faults_of_totals(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    if verdict.lost:
        yield f"lost: {verdict.lost} messages"
    if verdict.extra > verdict.bound:
        yield f"copies: {verdict.extra} extra, {verdict.bound} are explained"
    if verdict.uncertain > verdict.doubts:
        yield f"uncertain: {verdict.uncertain}, {verdict.doubts} are explained"
    if evidence.calm and verdict.stalls:
        yield f"leases: {verdict.stalls} were lost by living workers"
    if 0 <= evidence.limit < verdict.most:
        yield f"limit: {verdict.most} in {evidence.window} s, {evidence.limit} are allowed"
    yield from _faults_of_workers(evidence)


def _faults_of_workers(evidence: Evidence) -> Iterator[str]:
    for line in evidence.journal:
        if line["event"] == "failed":
            yield f"worker {line['worker']}: {line['text']}"
    for strike in evidence.unspent:
        yield f"unspent: {strike}"
    for status in evidence.statuses:
        if status:
            yield f"a worker that nobody struck ended with {status}"
