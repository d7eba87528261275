"""The drain: one run over one sender's queue.

The main thread alone talks to the database; it claims, begins and settles. Each session has a thread of its own that
does nothing but send. So one commit serves several sessions: it settles what they have just finished and begins what
they get next. At any moment each session has at most one begun message, and only that one can ever be in doubt.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import garbage
from notify.channels.base import Channel
from notify.crew import Crew
from notify.domain.drain import BUDGET, LEASE
from notify.domain.identity import Mark
from notify.domain.lease import Lease
from notify.domain.limit import DEFAULT_LIMIT, WINDOW
from notify.domain.outcome import Outcome, Verdict
from notify.domain.status import Status
from notify.progress import Progress
from notify.sessions import Item, Report, SessionThread, Task
from notify.storage import attempts, drains, identity, links, schema, sms_parts, unsubscriptions, waiting, withholding
from notify.storage.attempts import Begun, Claimed, Settlement, Unsendable
from notify.storage.bounces import secret as bounce_secret
from notify.storage.drains import AtWork
from notify.storage.engine import give_up_idle_transactions, set_actor

log = logging.getLogger(__name__)

#: Messages reserved ahead for each session: at least and at most.
AHEAD = (4, 24)

#: Between them, for so many seconds of sending: few claims, and yet an urgent message soon has its turn.
AHEAD_SECONDS = 0.5

#: Sender faults of one message before it is charged for them, provided that others get through.
FAULTS_BEFORE_CHARGE = 3

#: How long a session may be at one message, or at opening: RFC 5321, 4.5.3.2.6, gives a server 10 minutes for its last
#: answer. A channel's own timeout bounds each wait; one byte before each of them, and there would be no end.
PATIENCE = timedelta(minutes=10)

#: What a message waits after the sender failed at it, so that the next one has its turn.
ASIDE = timedelta(minutes=1)


@dataclass(slots=True)
class DrainResult:
    """What a run did, in numbers; becomes the task's XCom.

    :param limit: messages per rolling hour that applied; -1 is no limit, 0 holds
    :param accepted: messages that the server took
    :param retried: refused for now; they are tried again
    :param failed: refused for good, or given up
    :param uncertain: at_most_once messages whose answer was lost
    :param released: claimed, and put back unsent
    :param refused_recipients: recipients refused for good, of whatever messages
    :param expired: too late to be sent
    :param suppressed: for nobody but addresses that have come onto the suppression list since they were handed over
    :param recovered: taken over from a run that died, unsent
    :param doubted: taken over from a run that died, perhaps sent
    :param held_back: due, and held back by the limit
    :param waiting: all that is in the queue, what is held back included
    :param next_slot_at: when the limit lets the next message through, ISO 8601; None if it holds nothing back
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    sender: str
    limit: int
    accepted: int = 0
    retried: int = 0
    failed: int = 0
    uncertain: int = 0
    released: int = 0
    refused_recipients: int = 0
    expired: int = 0
    suppressed: int = 0
    recovered: int = 0
    doubted: int = 0
    held_back: int = 0
    waiting: int = 0
    next_slot_at: str | None = None
    stopped: str = ""
    seconds: float = 0.0

    @property
    def counts(self) -> str:
        """How far it is, for the log."""
        parts = [f"{self.accepted} handed to the server"]
        names = ("retried", "failed", "uncertain", "released", "expired", "suppressed", "recovered", "doubted")
        parts += [f"{count} {name}" for name in names if (count := getattr(self, name))]
        if self.refused_recipients:
            parts.append(f"{self.refused_recipients} recipients refused")
        return ", ".join(parts)

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        limit = "no limit" if self.limit < 0 else f"limit {self.limit} an hour"
        parts = [self.counts]
        if self.held_back:
            when = f", next slot at {self.next_slot_at}" if self.next_slot_at else ""
            parts.append(f"{self.held_back} held back by the limit{when}")
        parts.append(f"{self.waiting} waiting")
        return f"{self.sender} ({limit}): {', '.join(parts)}; {self.stopped}; {self.seconds:.1f} s"


@dataclass(slots=True)
class Drainer:
    """Drains one sender's queue.

    :param engine: of the outbox database
    :param channel: the way of sending, configured for the sender
    :param limit: the pool's slots; None: the last one known
    :param budget: after this time nothing new is begun
    :param patience: after this time a session that does not come back is given up
    :param stop: set it, and nothing new is begun
    :param alone: leave the queue to a drain that is at it already; it saves runs from piling up behind a slow server.
        The limit holds either way
    :param mark: what stands outside of the outbox, so that a restored copy is known, see :mod:`notify.witness`
    :param dag_id: the run that this happens in, for the register
    """

    engine: Engine
    channel: Channel
    sender: str
    limit: int | None = None
    budget: timedelta = BUDGET
    patience: timedelta = PATIENCE
    window: timedelta = WINDOW
    lease: timedelta = LEASE
    stop: threading.Event = field(default_factory=threading.Event)
    alone: bool = False
    mark: Mark | None = None
    dag_id: str | None = None
    run_id: str | None = None

    def run(self) -> DrainResult:
        """Send what is due, until the queue is empty, the limit is reached or the time is spent.

        :raises RestoredCopy: the outbox is a copy of the one that was sent from; nothing was touched
        :raises SenderFault: the sender cannot send; everything claimed is back in the queue
        :raises LeaseLost: this run was taken for dead by another
        """
        with garbage.unwatched():
            return _Run(self).run()


# A turn is planned once, when hardly any attempt may be there yet: then reading all of them looks cheap.
_PLAN_ONCE = sa.text(
    "select set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false)"
)


class _Run:
    """The state of one run."""

    def __init__(self, plan: Drainer) -> None:
        self.plan = plan
        self.connection: Connection | None = None
        self.turns: Connection | None = None
        self.started = time.monotonic()
        self.lease = Lease(plan.lease)
        self.batch = plan.channel.batch
        self.crew = Crew(plan.channel, plan.sender, plan.patience)
        self.reserved: deque[Claimed] = deque()
        self.reserved_at = self.started
        self.given = 0  # since then
        self.settlements: list[Settlement] = []
        self.broken_off: list[Claimed] | None = None  # of a turn of which nobody knows whether it was taken
        self.exhausted = False
        self.stopped = ""
        self.progress = Progress(log)
        self.actor = f"{plan.dag_id}/{plan.run_id}" if plan.dag_id else f"drain on {socket.gethostname()}"

    def run(self) -> DrainResult:
        try:
            return self._run()
        finally:
            for connection in (self.connection, self.turns):
                if connection is not None:
                    connection.close()

    def _run(self) -> DrainResult:
        asked_at = self.lease.now()
        with self._transaction() as connection:
            schema.require(connection)
            identity.require_original(connection, self.plan.mark)
            self.plan.channel.bounce_secret = bounce_secret(connection)
            self.plan.channel.link_secret = links.secret(connection)
            if self.plan.alone and (other := drains.at_work(connection, self.plan.sender)):
                return self._leave_to(other, connection)
            self.drain = drains.start(
                connection,
                self.plan.sender,
                self.plan.limit,
                worker=f"{socket.gethostname()}:{os.getpid()}",
                dag_id=self.plan.dag_id,
                run_id=self.plan.run_id,
                window=self.plan.window,
                lease=self.plan.lease,
            )
        self.lease.renew(asked_at)
        with self._transaction() as connection:  # of its own: it waits for living drains, and may block none of them
            recovered = drains.recover(connection, self.plan.sender)
            expired = waiting.expire(connection, self.plan.sender)
            ready = waiting.ready(connection, self.drain)
        self.result = DrainResult(
            self.plan.sender,
            self.drain.limit,
            expired=expired,
            recovered=recovered.released,
            doubted=recovered.doubted,
        )
        try:
            if ready:
                self.crew.grow(1)
                self._loop()
        finally:
            self._finish()
        if self.crew.fault:
            log.warning("%s", self.result.summary)  # who raises returns nothing, and some may have been sent
            raise self.crew.fault
        return self.result

    def _leave_to(self, other: AtWork, connection: Connection) -> DrainResult:
        """Do nothing, and say who does."""
        queue = waiting.queue(connection, self.plan.sender)
        limit = self.plan.limit if self.plan.limit is not None else drains.last_limit(connection, self.plan.sender)
        return DrainResult(
            self.plan.sender,
            DEFAULT_LIMIT if limit is None else limit,
            waiting=queue.due + queue.later,
            stopped=f"another run is at it ({other})",
        )

    # --- The loop ----------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            self._collect()
            go_on = self._may_go_on()
            if not go_on and not self.crew.busy:
                return
            if go_on:
                self._reserve()
            self._turn(go_on)
            if not (self.crew.busy or self.reserved) and self.exhausted:
                return

    def _collect(self) -> None:
        """Wait for reports, if any are to come, and note them; wake in time to renew the lease."""
        patience = self.plan.lease.total_seconds() / 3 if self.crew.busy else 0.0
        for report in self.crew.wait(patience):
            for settlement in (*report.settlements, *(self._back(item, report) for item in report.left)):
                self._note(settlement)

    def _may_go_on(self) -> bool:
        if self.stopped:
            return False
        if self.crew.fault:
            self.stopped = "the sender failed"
        elif self.plan.stop.is_set():
            self.stopped = "stopped politely"
        elif time.monotonic() - self.started > self.plan.budget.total_seconds():
            self.stopped = "the time budget is spent"
        return not self.stopped

    def _reserve(self) -> None:
        """Claim ahead, and use more sessions when there is work for them."""
        ahead = self._ahead()
        if len(self.reserved) < ahead // 2 and not self.exhausted:
            with self._transaction() as connection:
                drains.keep(connection, self.drain)
                claimed = attempts.claim(connection, self.drain, ahead - len(self.reserved))
            self.reserved.extend(claimed)
            self.exhausted = not claimed
            self.reserved_at, self.given = time.monotonic(), 0
        self.crew.grow((ceil(len(self.reserved) / self.batch) + 1) // 2)

    def _ahead(self) -> int:
        least, most = (count * len(self.crew) * self.batch for count in AHEAD)
        pace = self.given / max(time.monotonic() - self.reserved_at, 0.001)
        return min(max(least, round(pace * AHEAD_SECONDS)), most)

    def _turn(self, go_on: bool) -> None:
        """One transaction: settle what was sent, begin what comes next."""
        settlements, self.settlements = self.settlements, []
        threads = self.crew.free(ceil(len(self.reserved) / self.batch)) if go_on else []
        claimed = [self.reserved.popleft() for _ in range(min(len(threads) * self.batch, len(self.reserved)))]
        try:
            self._renew()
            begun = self._settle_and_begin(settlements, claimed)
        except BaseException:
            self.settlements = settlements + self.settlements  # known outcomes get one more chance at the end
            self.broken_off = claimed
            raise
        for number, thread in enumerate(threads):
            its = slice(number * self.batch, (number + 1) * self.batch)
            self._give(thread, claimed[its], begun[its])
        if any(isinstance(one, Unsendable) and one is not Unsendable.ERASED for one in begun):
            self._release_unfit()
        self.progress.tell("%s: %s", self.plan.sender, self.result.counts)

    def _settle_and_begin(
        self, settlements: Sequence[Settlement], claimed: Sequence[Claimed]
    ) -> list[Begun | Unsendable]:
        if not any(settlement.references for settlement in settlements):
            return attempts.turn(self._by_itself(), self.drain.id, settlements, claimed, lease=self.lease)
        with self._transaction() as connection:
            begun = attempts.turn(connection, self.drain.id, settlements, claimed, lease=self.lease)
            sms_parts.note(connection, self.plan.sender, settlements)
        return begun

    def _give(self, thread: SessionThread, claimed: Sequence[Claimed], begun: Sequence[Begun | Unsendable]) -> None:
        items = []
        for one, what in zip(claimed, begun, strict=True):
            if isinstance(what, Begun):
                items.append(Item(one, what))
            elif what is Unsendable.ERASED:
                self._note(Settlement(one, Outcome(())))
        if items:
            self.given += len(items)
            self.crew.give(thread, Task(tuple(items)))
        else:
            self.crew.back(thread)

    def _release_unfit(self) -> None:
        """Put back what is reserved and must not be sent any more; what was its slot is free for others."""
        with self._transaction() as connection:
            drains.keep(connection, self.drain)
            released = attempts.release_unfit(connection, self.drain)
            self.result.suppressed += withholding.from_suppressed(connection, released.messages)
            self.result.suppressed += withholding.from_unsubscribed(
                connection, released.bulk, unsubscriptions.BULK, unsubscriptions.UNSUBSCRIBED
            )
        self.reserved = deque(claimed for claimed in self.reserved if claimed.attempt_id not in released.attempts)
        self.exhausted = False  # some of it may go to others

    # --- The database ------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """Renew the lease in time."""
        if not self.lease.due:
            return
        asked_at = self.lease.now()
        with self._transaction() as connection:
            drains.renew(connection, self.drain)
        self.lease.renew(asked_at)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction on the run's own connection; on a new one, if that is gone."""
        self.connection = self._connected(self.connection)
        with self.connection.begin():
            yield self.connection

    def _by_itself(self) -> Connection:
        """A connection of the run on which each statement is a transaction; a new one, if that is gone."""
        turns = self._connected(self.turns, isolation_level="AUTOCOMMIT")
        if turns is not self.turns:  # its one statement would be planned anew each time, for longer than it takes
            turns.execute(_PLAN_ONCE)
            self.turns = turns
        return turns

    def _connected(self, connection: Connection | None, **options: Any) -> Connection:
        if connection is None or connection.closed or connection.invalidated:
            connection = self.plan.engine.connect().execution_options(**options)
            connection.detach()  # it bears the run's name, so nobody else may get it from the pool
            with connection.begin():
                set_actor(connection, self.actor, for_session=True)
                # A process that is frozen in a transaction would keep its locks, and everybody else waiting.
                give_up_idle_transactions(connection, self.plan.lease)
        return connection

    # --- The books ---------------------------------------------------------------------------------------------------

    def _back(self, item: Item, report: Report) -> Settlement:
        """What to record of a message that was not taken, because of the sender."""
        claimed, fault = item.claimed, report.fault
        assert fault is not None
        if claimed.faults >= FAULTS_BEFORE_CHARGE and self.result.accepted:
            text = f"the connection fails at this message: {fault.cause}"
            return Settlement(claimed, Outcome.same(item.begun.parcel.positions, Verdict.TEMPORARY, None, text))
        return Settlement(claimed, None, fault.cause, ASIDE)

    def _note(self, settlement: Settlement) -> None:
        """Count an ended attempt, and log a line about what was not simply taken; no address, no text."""
        self.settlements.append(settlement)
        outcome, conclusion, result = settlement.outcome, settlement.conclusion, self.result
        if outcome is None:
            result.released += 1
        elif conclusion.status is Status.SENT:
            result.accepted += 1
        elif conclusion.status is Status.QUEUED:
            result.retried += 1
        elif conclusion.status is Status.FAILED:
            result.failed += 1
        else:
            result.uncertain += 1
        refused = len(outcome.of(Verdict.PERMANENT)) if outcome else 0
        result.refused_recipients += refused
        if conclusion.status is Status.SENT and not refused:
            return  # the register has it; thousands of lines would hide those that matter
        verdict = outcome.verdict.value if outcome else "sender fault"
        code = outcome.decisive.code if outcome else None
        log.warning(
            "message %s: %s%s → %s%s",
            settlement.claimed.id,
            verdict,
            f" ({code})" if code else "",
            conclusion.status,
            f"; {refused} recipients refused" if refused else "",
        )

    def _finish(self) -> None:
        """Let begun messages end, put the rest back, and close the books."""
        self.crew.dismiss()
        while self.crew.busy:
            self._collect()
            self._renew()
        with self._transaction() as connection:
            drains.keep(connection, self.drain)
            if self.broken_off is not None:
                self.settlements = attempts.unsettled(connection, self.drain, self.settlements)
                attempts.unbegin(connection, self.drain, self.broken_off)
            attempts.turn(connection, self.drain.id, self.settlements)
            sms_parts.note(connection, self.plan.sender, self.settlements)
            reason = f"released: {self.stopped or 'the run broke off'}"
            self.result.released += attempts.release(connection, self.drain.id, reason)
            self._count_queue(connection)
            drains.end(connection, self.drain, self.stopped)
            drains.remember_fault(connection, self.plan.sender, self.crew.fault)
        self.crew.part()
        self.result.stopped = self.stopped
        self.result.seconds = round(time.monotonic() - self.started, 3)

    def _count_queue(self, connection: Connection) -> None:
        self.result.expired += waiting.expire(connection, self.plan.sender)
        queue = waiting.queue(connection, self.plan.sender)
        self.result.waiting = queue.due + queue.later
        if waiting.held_back(connection, self.drain):
            self.result.held_back = queue.due
            self.stopped = self.stopped or "the limit is reached"
            slot = waiting.next_slot(connection, self.drain)
            self.result.next_slot_at = slot.isoformat(timespec="seconds") if slot else None
        self.stopped = self.stopped or "nothing more is due"
