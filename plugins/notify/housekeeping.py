"""Housekeeping: one run that removes what is no longer kept, in batches small enough to disturb nobody.

Each batch is a transaction of its own. It passes by what somebody has locked, and gives up soon where it must wait; so
nobody waits for it for longer than one batch takes, and nobody's work is undone by it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from notify.domain.keeping import Keep, pause
from notify.progress import Progress
from notify.storage import keeping, schema
from notify.storage.engine import transaction
from notify.storage.keeping import Step

log = logging.getLogger(__name__)

#: After this time a run begins nothing new; the next one goes on.
BUDGET = timedelta(minutes=60)

#: What makes a batch be put off: somebody has it, or something refers to it by now.
_IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.IntegrityError)


@dataclass(slots=True)
class HousekeepingResult:
    """What a run removed, in numbers; becomes the task's XCom.

    :param bodies: messages that have no body any more
    :param files: attachments that no message needed
    :param files_failed: those that object storage would not delete; the next run tries again
    :param events: with all their notifications
    :param notifications: those of events that are gone, or partly gone
    :param messages: with recipients, attempts, history and bounces
    :param deadlines: those that had ended, reminders among them
    :param campaign_rows: recipients of campaigns that are over, as their authors had them
    :param campaigns: those that are over and of which no message is left
    :param cases: of which nothing else is known any more
    :param drains: runs of Notifications
    :param suppressions: those that had expired
    :param requests: answers to requests of the API that may not come again any more
    :param put_off: what somebody else was using; the next run looks at it again
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    bodies: int = 0
    files: int = 0
    files_failed: int = 0
    events: int = 0
    notifications: int = 0
    messages: int = 0
    deadlines: int = 0
    campaign_rows: int = 0
    campaigns: int = 0
    cases: int = 0
    drains: int = 0
    suppressions: int = 0
    requests: int = 0
    put_off: int = 0
    stopped: str = "nothing more is due"
    seconds: float = 0.0

    @property
    def counts(self) -> str:
        """What was removed so far, for the log."""
        counted = ((name, value) for name, value in asdict(self).items() if name not in {"stopped", "seconds"})
        return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counted if value) or "nothing"

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        return f"removed {self.counts}; {self.stopped}; {self.seconds:.1f} s"


@dataclass(slots=True)
class Housekeeper:
    """Removes what is no longer kept.

    :param engine: of the outbox database
    :param keep: how long things are kept
    :param budget: after this time nothing new is begun
    :param stop: set it, and the run ends with the batch it is at
    """

    engine: Engine
    keep: Keep = field(default_factory=Keep)
    budget: timedelta = BUDGET
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> HousekeepingResult:
        """Remove until nothing more is due."""
        return _Run(self).run()


class _Run:
    """The state of one run."""

    def __init__(self, plan: Housekeeper) -> None:
        self.plan = plan
        self.result = HousekeepingResult()
        self.progress = Progress(log)
        self.started = time.monotonic()

    def run(self) -> HousekeepingResult:
        with self.plan.engine.connect() as connection:
            schema.require(connection)
        for name, step in keeping.STEPS.items():
            self._walk(name, step)
        self.result.seconds = round(time.monotonic() - self.started, 3)
        return self.result

    def _walk(self, name: str, step: Step) -> None:
        after = step.first
        while after is not None and self._may_go_on():
            with self.plan.engine.connect() as connection:
                window = step.window(connection, after, self.plan.keep)
            if window.keys:
                self._sweep(step, window.keys)
            after = window.last
            self.progress.tell("%s: removed %s so far", name, self.result.counts)

    def _may_go_on(self) -> bool:
        if self.plan.stop.is_set():
            self.result.stopped = "stopped politely; the next run goes on"
        elif time.monotonic() - self.started > self.plan.budget.total_seconds():
            self.result.stopped = "the time budget is spent; the next run goes on"
        else:
            return True
        return False

    def _sweep(self, step: Step, keys: Sequence[Any]) -> None:
        """Remove what may go, batch after batch; where something is in use, look at each key alone."""
        more = True
        while more and self._may_go_on():
            try:
                more = self._batch(step, keys)
            except sa.exc.DBAPIError as error:
                if not isinstance(error.orig, _IN_USE):
                    raise
                if len(keys) == 1:
                    self.result.put_off += 1
                    return
                for key in keys:
                    self._sweep(step, [key])
                return

    def _batch(self, step: Step, keys: Sequence[Any]) -> bool:
        """One transaction, and a pause as long as it deserves.

        :returns: whether the same keys have more
        """
        began = time.monotonic()
        with transaction(self.plan.engine, actor="Housekeeping") as connection:
            busy = keeping.sending(connection)
            keeping.patient(connection)
            counts, more = step.sweep(connection, keys, self.plan.keep)
        self._count(counts)
        self.plan.stop.wait(pause(time.monotonic() - began, busy=busy))
        return more

    def _count(self, counts: Counter[str]) -> None:
        for name, size in counts.items():
            setattr(self.result, name, getattr(self.result, name) + size)
