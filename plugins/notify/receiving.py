"""A run of DeliveryReports over an SMS gateway: asks for receipts, and lets messages follow them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.engine import Engine

from notify.channels.base import Channel, Receipts
from notify.domain.credit import Credit
from notify.domain.receipt import Receipt
from notify.exceptions import SenderFault
from notify.progress import Progress
from notify.storage import accounts, pushes, schema, sms_parts
from notify.storage.engine import transaction

log = logging.getLogger(__name__)

#: Queries for changes in one run; each brings what has changed since the one before.
MOST_QUERIES = 50

#: Parts that one run asks for by name, since nothing was heard of them; and as many of which a receipt was pushed.
MOST_SILENT = 500
MOST_PUSHED = 500

#: After this time a run asks for nothing more.
BUDGET = timedelta(minutes=8)

#: The history names it as who changed a message's state.
ACTOR = "delivery receipt"


@dataclass(slots=True)
class ReceivingResult:
    """What a run did, in numbers; becomes the task's XCom.

    :param receipts: all that came
    :param new: those that said something new
    :param foreign: those of messages that are not ours; the account may be shared
    :param pushed: parts that were asked for by name, since the gateway pushed a receipt
    :param asked: parts that were asked for by name, since nothing was heard of them
    :param delivered: messages that have arrived
    :param undelivered: messages that never will
    :param settled: of these, messages of which nobody had known whether they were sent
    :param credit: what is left on the sender's account, as its gateway says it; None where that was not told
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    sender: str
    receipts: int = 0
    new: int = 0
    foreign: int = 0
    pushed: int = 0
    asked: int = 0
    delivered: int = 0
    undelivered: int = 0
    settled: int = 0
    credit: str | None = None
    stopped: str = ""
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        parts = [f"{self.receipts} receipts, {self.new} new"]
        names = ("foreign", "pushed", "asked", "delivered", "undelivered", "settled")
        parts += [f"{count} {name}" for name in names if (count := getattr(self, name))]
        left = f"; {self.credit} left" if self.credit else ""
        return f"{self.sender}: {', '.join(parts)}{left}; {self.stopped}; {self.seconds:.1f} s"


@dataclass(slots=True)
class Receiving:
    """Asks a gateway for receipts.

    :param engine: of the outbox database
    :param source: where receipts are to be had
    :param stop: set it, and the run asks for nothing more
    """

    engine: Engine
    sender: str
    source: Receipts
    stop: threading.Event = field(default_factory=threading.Event)
    budget: timedelta = BUDGET
    most_queries: int = MOST_QUERIES
    most_silent: int = MOST_SILENT
    most_pushed: int = MOST_PUSHED

    def run(self) -> ReceivingResult:
        """Ask, and let messages follow.

        A query is stored before it is asked: a run that dies has the next one ask the same, and it is told the same.

        :raises SenderFault: the gateway gives no receipts; what came before stands
        """
        return _Run(self).run()


def ask_credit(engine: Engine, sender: str, channel: Channel) -> Credit | None:
    """Ask a gateway what is left on the sender's account, and keep it.

    Where it does not say, what it said before stands, with the time of that; it is no reason for a run to fail.
    """
    try:
        found = channel.credit()
    except SenderFault as fault:
        log.warning("%s: what is left on the account is not known. %s", sender, fault)
        return None
    with transaction(engine, actor=ACTOR) as connection:
        accounts.keep(connection, sender, found)
    if found is not None and found.low:
        log.warning("%s: %s left on the account. Top it up; without money its messages wait.", sender, found.words)
    return found


class _Run:
    """The state of one run."""

    def __init__(self, plan: Receiving) -> None:
        self.plan = plan
        self.result = ReceivingResult(plan.sender)
        self.progress = Progress(log)
        self.started = time.monotonic()

    def run(self) -> ReceivingResult:
        with self.plan.engine.connect() as connection:
            schema.require(connection)
        try:
            self._ask_for_changes()
            self._ask_for_pushed()
            self._ask_for_silent()
        except SenderFault:
            self._finish("the gateway gave none")
            log.warning("%s", self.result.summary)
            raise
        self._finish("nothing more is known")
        return self.result

    def _ask_for_changes(self) -> None:
        for _ in range(self.plan.most_queries):
            if self._ends():
                return
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                query = sms_parts.begin_query(connection, self.plan.sender)
            receipts = self.plan.source.changes(query)
            self._take(receipts, query)
            if not receipts:
                return

    def _ask_for_pushed(self) -> None:
        """Most of what was pushed is among the changes, and not asked for again."""
        while self.result.pushed < self.plan.most_pushed and not self._ends():
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                reference = pushes.next_part(connection, self.plan.sender)
            if reference is None:
                return
            self._take(self.plan.source.of(reference))
            self.result.pushed += 1

    def _ask_for_silent(self) -> None:
        with transaction(self.plan.engine, actor=ACTOR) as connection:
            silent = sms_parts.silent(connection, self.plan.sender, self.plan.most_silent)
        for reference in silent:
            if self._ends():
                return
            self._take(self.plan.source.of(reference))
            self.result.asked += 1
            self.progress.tell("%s: %s parts asked for, of %s", self.plan.sender, self.result.asked, len(silent))

    def _take(self, receipts: list[Receipt], query: str | None = None) -> None:
        with transaction(self.plan.engine, actor=ACTOR) as connection:
            new, foreign = sms_parts.take(connection, self.plan.sender, receipts)
            if query:
                sms_parts.end_query(connection, query)
        self.result.receipts += len(receipts)
        self.result.new += new
        self.result.foreign += foreign

    def _ends(self) -> bool:
        if self.plan.stop.is_set():
            self.result.stopped = "stopped politely"
        elif time.monotonic() - self.started > self.plan.budget.total_seconds():
            self.result.stopped = "its time was over"
        return bool(self.result.stopped)

    def _finish(self, why: str) -> None:
        for done in self._concluded():
            self.result.delivered += done.delivered
            self.result.undelivered += done.undelivered
            self.result.settled += done.settled
        self.result.stopped = self.result.stopped or why
        self.result.seconds = round(time.monotonic() - self.started, 1)

    def _concluded(self) -> Iterator[sms_parts.Concluded]:
        """Let all messages follow that can; those that a drain is at wait for the next run."""
        while True:
            with transaction(self.plan.engine, actor=ACTOR) as connection:
                done = sms_parts.conclude(connection, self.plan.sender)
            yield done
            if done.looked_at < sms_parts.MOST or not (done.delivered or done.undelivered):
                return
