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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue

from sqlalchemy.engine import Connection, Engine

from notify.channels.base import Channel
from notify.domain.drain import BUDGET, LEASE
from notify.domain.limit import DEFAULT_LIMIT, WINDOW
from notify.domain.outcome import Outcome, Verdict
from notify.domain.status import Status
from notify.exceptions import SenderFault
from notify.sessions import Report, SessionThread, Task
from notify.storage import attempts, drains, schema, waiting
from notify.storage.attempts import Begun, Claimed, Settlement
from notify.storage.drains import AtWork
from notify.storage.engine import set_actor

log = logging.getLogger(__name__)

#: Messages reserved ahead for each session: enough to never wait for a claim, few enough that an urgent message
#: soon has its turn and a crash has little to release.
AHEAD = 8

#: Sender faults of one message before it is charged for them, provided that others get through.
FAULTS_BEFORE_CHARGE = 3

#: How long a session may be at one message, or at opening: RFC 5321, 4.5.3.2.6, gives a server 10 minutes for its last
#: answer. A channel's own timeout bounds each wait; one byte before each of them, and there would be no end.
PATIENCE = timedelta(minutes=10)

#: How long to wait for all sessions to say goodbye, in seconds.
GOODBYE = 5.0

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
    recovered: int = 0
    doubted: int = 0
    held_back: int = 0
    waiting: int = 0
    next_slot_at: str | None = None
    stopped: str = ""
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        limit = "no limit" if self.limit < 0 else f"limit {self.limit} an hour"
        parts = [f"{self.accepted} handed to the server"]
        names = ("retried", "failed", "uncertain", "released", "expired", "recovered", "doubted")
        parts += [f"{count} {name}" for name in names if (count := getattr(self, name))]
        if self.refused_recipients:
            parts.append(f"{self.refused_recipients} recipients refused")
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
    dag_id: str | None = None
    run_id: str | None = None

    def run(self) -> DrainResult:
        """Send what is due, until the queue is empty, the limit is reached or the time is spent.

        :raises SenderFault: the sender cannot send; everything claimed is back in the queue
        :raises LeaseLost: this run was taken for dead by another
        """
        return _Run(self).run()


class _Run:
    """The state of one run."""

    def __init__(self, plan: Drainer) -> None:
        self.plan = plan
        self.connection: Connection | None = None
        self.started = time.monotonic()
        self.renewed = self.started
        self.reports: SimpleQueue[Report] = SimpleQueue()
        self.sessions: list[SessionThread] = []
        self.threads: list[SessionThread] = []
        self.most = plan.channel.max_connections
        self.idle: deque[SessionThread] = deque()
        self.reserved: deque[Claimed] = deque()
        self.settlements: list[Settlement] = []
        self.fault: SenderFault | None = None
        self.exhausted = False
        self.stopped = ""
        self.actor = f"{plan.dag_id}/{plan.run_id}" if plan.dag_id else f"drain on {socket.gethostname()}"

    def run(self) -> DrainResult:
        try:
            return self._run()
        finally:
            if self.connection is not None:
                self.connection.close()

    def _run(self) -> DrainResult:
        with self._transaction() as connection:
            schema.require(connection)
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
                self._start_session()
                self._loop()
        finally:
            self._finish()
        if self.fault:
            log.warning("%s", self.result.summary)  # who raises returns nothing, and some may have been sent
            raise self.fault
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
            if not go_on and not self._busy():
                return
            self._turn(go_on)
            if not self._busy() and not self.reserved and self.exhausted:
                return

    def _busy(self) -> bool:
        return any(session.busy for session in self.sessions)

    def _may_go_on(self) -> bool:
        if self.stopped:
            return False
        if self.plan.stop.is_set():
            self.stopped = "stopped politely"
        elif time.monotonic() - self.started > self.plan.budget.total_seconds():
            self.stopped = "the time budget is spent"
        return not self.stopped

    def _turn(self, go_on: bool) -> None:
        """One transaction: settle what was sent, claim what is missing, begin what comes next."""
        settlements, self.settlements = self.settlements, []
        try:
            with self._transaction() as connection:
                self._show_up(connection)
                attempts.settle(connection, self.drain.id, settlements)
                self._drop_expired(connection)
                if go_on:
                    self._reserve(connection)
                pairs = self._pairs() if go_on else []
                begun = attempts.begin(connection, self.drain, [claimed for _, claimed in pairs])
        except BaseException:
            self.settlements = settlements + self.settlements  # known outcomes get one more chance at the end
            raise
        for (session, claimed), one in zip(pairs, begun, strict=True):
            self._give(session, claimed, one)

    def _pairs(self) -> list[tuple[SessionThread, Claimed]]:
        count = min(len(self.idle), len(self.reserved))
        return [(self.idle.popleft(), self.reserved.popleft()) for _ in range(count)]

    def _give(self, session: SessionThread, claimed: Claimed, begun: Begun | None) -> None:
        if begun is None:  # erased while it waited
            self._note(Settlement(claimed, Outcome(())))
            self.reports.put(Report(session))
        else:
            session.busy_since = time.monotonic()
            session.tasks.put(Task(claimed, begun))

    def _drop_expired(self, connection: Connection) -> None:
        """What became too late while it was reserved is not sent."""
        if any(claimed.expires for claimed in self.reserved):
            gone = attempts.release_expired(connection, self.drain)
            self.reserved = deque(claimed for claimed in self.reserved if claimed.attempt_id not in gone)

    def _reserve(self, connection: Connection) -> None:
        """Claim ahead, and use more sessions when there is work for them."""
        ahead = AHEAD * max(1, len(self.sessions))
        if len(self.reserved) < ahead // 2 and not self.exhausted:
            claimed = attempts.claim(connection, self.drain, ahead - len(self.reserved))
            self.reserved.extend(claimed)
            self.exhausted = not claimed
        while len(self.sessions) < self.most and len(self.reserved) > 2 * len(self.sessions):
            self._start_session()

    def _start_session(self) -> None:
        session = SessionThread(len(self.threads), self.plan.channel, self.reports)
        self.sessions.append(session)
        self.threads.append(session)
        session.start()

    def _show_up(self, connection: Connection) -> None:
        """Make sure, until the transaction ends, that nobody takes this run for dead; renew the lease in time."""
        now = time.monotonic()
        if now - self.renewed > self.plan.lease.total_seconds() / 3:
            drains.renew(connection, self.drain)
            self.renewed = now
        else:
            drains.keep(connection, self.drain)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction on the run's own connection; on a new one, if that is gone."""
        if self.connection is None or self.connection.closed or self.connection.invalidated:
            self.connection = self.plan.engine.connect()
            self.connection.detach()  # it bears the run's name, so nobody else may get it from the pool
            with self.connection.begin():
                set_actor(self.connection, self.actor, for_session=True)
        with self.connection.begin():
            yield self.connection

    # --- Reports -----------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Wait for a report, and take all that have come; wake in time to renew the lease."""
        with suppress(Empty):
            self._take(self.reports.get(timeout=self.plan.lease.total_seconds() / 3))
            while True:
                self._take(self.reports.get_nowait())
        self._give_up()

    def _give_up(self) -> None:
        """Do without sessions that do not come back.

        Their messages stay begun: each counts against the limit while the session may yet send it, and the next run
        takes it over as one in doubt.
        """
        patience = self.plan.patience.total_seconds()
        latest = time.monotonic() - patience
        for session in [one for one in self.sessions if one.busy_since is not None and one.busy_since < latest]:
            self._retire(session, SenderFault(f"A session has not come back within {patience:.0f} s.", _SILENT))

    def _take(self, report: Report) -> None:
        session = report.thread
        if session not in self.sessions:  # given up: too late
            return
        session.busy_since = None
        if report.task is not None:
            self._take_result(session, report.task, report)
        if report.fault and (report.task is None or session.faults > 1):
            self._retire(session, report.fault)
        elif session not in self.idle:
            self.idle.append(session)

    def _take_result(self, session: SessionThread, task: Task, report: Report) -> None:
        claimed = task.claimed
        if report.fault is None:
            session.faults = 0
            self._note(Settlement(claimed, report.outcome))
            return
        session.faults += 1
        if claimed.faults >= FAULTS_BEFORE_CHARGE and self.result.accepted:
            text = f"the connection fails at this message: {report.fault.cause}"
            outcome = Outcome.same(task.begun.parcel.positions, Verdict.TEMPORARY, None, text)
            self._note(Settlement(claimed, outcome))
        else:
            self._note(Settlement(claimed, None, report.fault.cause, ASIDE))

    def _retire(self, session: SessionThread, fault: SenderFault) -> None:
        """Do without a session that cannot be had; without the last one, there is no sending."""
        session.tasks.put(None)
        self.sessions.remove(session)
        if self.sessions:
            self.most = len(self.sessions)  # to knock again and again is how one gets blacklisted
            log.warning("%s: one session less: %s", self.plan.sender, fault.cause)
        else:
            self.fault = fault
            self.stopped = "the sender failed"

    # --- The books ---------------------------------------------------------------------------------------------------

    def _note(self, settlement: Settlement) -> None:
        """Count an ended attempt and log its line; no address, no text."""
        self.settlements.append(settlement)
        claimed, conclusion = settlement.claimed, settlement.conclusion
        result = self.result
        outcome = settlement.outcome
        verdict = outcome.verdict.value if outcome else "sender fault"
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
        code = outcome.decisive.code if outcome else None
        level = logging.INFO if conclusion.status is Status.SENT and not refused else logging.WARNING
        log.log(
            level,
            "message %s: %s%s → %s%s",
            claimed.id,
            verdict,
            f" ({code})" if code else "",
            conclusion.status,
            f"; {refused} recipients refused" if refused else "",
        )

    def _finish(self) -> None:
        """Let begun messages end, put the rest back, and close the books."""
        for session in self.sessions:
            session.tasks.put(None)
        while self._busy():
            self._collect()
            with self._transaction() as connection:
                drains.renew(connection, self.drain)
        with self._transaction() as connection:
            drains.keep(connection, self.drain)
            attempts.settle(connection, self.drain.id, self.settlements)
            reason = f"released: {self.stopped or 'the run broke off'}"
            self.result.released += attempts.release(connection, self.drain.id, reason)
            self._count_queue(connection)
            drains.end(connection, self.drain, self.stopped)
            drains.remember_fault(connection, self.plan.sender, self.fault)
        goodbye = time.monotonic() + GOODBYE
        for thread in self.threads:
            thread.join(timeout=max(0.0, goodbye - time.monotonic()))
        self.result.stopped = self.stopped
        self.result.seconds = round(time.monotonic() - self.started, 3)

    def _count_queue(self, connection: Connection) -> None:
        self.result.expired += waiting.expire(connection, self.plan.sender)
        queue = waiting.queue(connection, self.plan.sender)
        self.result.waiting = queue.due + queue.later
        if queue.due and not waiting.ready(connection, self.drain):
            self.result.held_back = queue.due
            self.stopped = self.stopped or "the limit is reached"
            slot = waiting.next_slot(connection, self.drain)
            self.result.next_slot_at = slot.isoformat(timespec="seconds") if slot else None
        self.stopped = self.stopped or "nothing more is due"


_SILENT = (
    "Look at the mail server's log: it keeps connections open without an answer. A message that it was given is in "
    "doubt; the next run takes it over."
)
