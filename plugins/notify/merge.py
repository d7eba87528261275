"""The merge: one run over what is put aside (the DAG UserNotifications).

What is due moves to the outbox: one notification of a person as the mail that was generated for it, more of them as one
digest; and likewise what is to go by SMS. Moving and marking are one transaction for each batch of people, so a run can
be killed anywhere: what was committed has its home, the rest waits as before. People are the unit that two runs never
share.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.domain.home import Reason
from notify.exceptions import ConfigurationError, MergeFailed, NotifyError
from notify.moving import Moving
from notify.progress import Progress
from notify.settings import HandOverSettings
from notify.storage import deferred, outbox, schema
from notify.storage.deferred import Batch
from notify.storage.engine import transaction
from notify.storage.outbox import Origin
from notify.storage.register import StoredText

log = logging.getLogger(__name__)

#: What one transaction takes: so many people at most, and about so many notifications.
PEOPLE = 500
NOTIFICATIONS = 5_000


@dataclass(slots=True)
class MergeResult:
    """What a run did, in numbers; becomes the task's XCom.

    :param people: who had something due, or to be looked at again
    :param moved: notifications moved as the mail that they were
    :param digests: digests made
    :param in_digests: notifications in them
    :param closed: notifications that get no mail after all
    :param reasons: why, with how many each
    :param kept: looked at again, and waiting on
    :param elsewhere: people whom another run has at this moment
    :param failed: people for whom nothing could be moved, because something is wrong; what they have waits
    :param waiting: notifications that wait when the run ends
    :param next_at: when the next of them is looked at, ISO 8601
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    people: int = 0
    moved: int = 0
    digests: int = 0
    in_digests: int = 0
    closed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    kept: int = 0
    elsewhere: int = 0
    failed: int = 0
    waiting: int = 0
    next_at: str | None = None
    stopped: str = "nothing more is due"
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        parts = [
            f"{self.people} people",
            f"{self.moved} moved as they are",
            f"{self.in_digests} in {self.digests} digests",
        ]
        if self.closed:
            parts.append(f"{self.closed} closed ({', '.join(f'{n} {why}' for why, n in sorted(self.reasons.items()))})")
        names = {"kept": "kept", "elsewhere": "people in another run", "failed": "people failed"}
        parts += [f"{count} {text}" for name, text in names.items() if (count := getattr(self, name))]
        parts.append(f"{self.waiting} waiting" + (f", next at {self.next_at}" if self.next_at else ""))
        return f"{', '.join(parts)}; {self.stopped}; {self.seconds:.1f} s"


@dataclass(slots=True)
class Merger:
    """Moves what is due to the outbox.

    :param engine: of the outbox database
    :param settings: those of hand-over: templates, zone, kinds, senders
    :param people: at most so many in one transaction
    :param notifications: about so many in one transaction
    :param stop: set it, and the run ends with the batch it is at
    :param origin: the task that this happens in, for the register
    """

    engine: Engine
    settings: HandOverSettings
    people: int = PEOPLE
    notifications: int = NOTIFICATIONS
    stop: threading.Event = field(default_factory=threading.Event)
    origin: Origin | None = None

    def run(self) -> MergeResult:
        """Move what is due until nothing is left.

        :raises MergeFailed: something is wrong with somebody's record or digest; everybody else has theirs
        """
        return _Run(self).run()


#: Notifications of a person that a preview looks at.
LOOKED_AT = 2_000


@dataclass(frozen=True, slots=True)
class Preview:
    """The mail that a person would get if what is due next for them were moved now; where there is none, the SMS.

    :param at: when it is due
    :param count: how many notifications it is about
    :param digest: whether it is a digest; a single notification is moved as it is
    :param mail: what it says, None where there would be none
    :param reasons: why notifications would make no mail, with how many each
    """

    at: datetime
    count: int
    digest: bool
    mail: StoredText | None
    reasons: Mapping[Reason, int]


def preview(connection: Connection, settings: HandOverSettings, login: str) -> Preview | None:
    """What a person would get next; nothing is stored, and nothing locked.

    :returns: None where nothing is put aside for them
    :raises TemplateError: the digest cannot be made
    """
    items = deferred.look(connection, login, most=LOOKED_AT)
    if not items:
        return None
    at = max(items[0].due_at, outbox.now(connection))
    items.sort(key=lambda one: (one.occurred_at, one.notification_id))
    moving = Moving(connection, settings, items, as_of=at)
    moving.decide()
    reasons = Counter(one.reason for one in moving.arrivals if one.reason)
    move = next(iter(sorted(moving.moves, key=lambda one: one.short is not None)), None)
    if move is None:
        return Preview(at, 0, False, None, reasons)
    return Preview(at, len(move.items), move.together, moving.text(move), reasons)


class _Run:
    """The state of one run."""

    def __init__(self, plan: Merger) -> None:
        self.plan = plan
        self.result = MergeResult()
        self.reasons: Counter[str] = Counter()
        self.fault = ""
        #: How many people are still to be taken one by one, for with one of them something is wrong.
        self.one_by_one = 0
        self.progress = Progress(log)
        self.started = time.monotonic()

    def run(self) -> MergeResult:
        with self._transaction() as connection:
            schema.require(connection)
        last: str | None = ""
        while last is not None:
            if self.plan.stop.is_set():
                self.result.stopped = "stopped; the next run goes on"
                break
            last = self._batch(last)
            self.progress.tell("%s people so far, %s digests", self.result.people, self.result.digests)
        self._finish()
        if self.fault:
            log.error("%s", self.result.summary)  # who raises returns nothing, and the others were served
            raise MergeFailed(
                f"What {self.result.failed} people have due could not be moved, and waits; everybody else has theirs. "
                f"The first: {self.fault}"
            )
        return self.result

    def _transaction(self) -> AbstractContextManager[Connection]:
        origin = self.plan.origin
        return transaction(self.plan.engine, actor=f"{origin.dag_id}/{origin.run_id}" if origin else "merge")

    def _batch(self, after: str) -> str | None:
        """Move what the next people have due, in one transaction.

        :returns: the last login that was looked at, None if there was nobody left
        """
        people = 1 if self.one_by_one else self.plan.people
        taken = None
        try:
            with self._transaction() as connection:
                taken = deferred.take(connection, after=after, people=people, most=self.plan.notifications)
                if taken is None:
                    return None
                items = deferred.read(connection, taken.logins)
                moving = Moving(connection, self.plan.settings, items, failed=self.failed, origin=self.plan.origin)
                moving.decide()
                moving.store()
        except (ConfigurationError, sa.exc.OperationalError, sa.exc.InterfaceError):
            raise  # nothing is wrong with these people, and nothing right with any others
        except Exception as error:
            if taken is None:
                raise
            return self._again(after, taken, error)
        self.one_by_one = max(0, self.one_by_one - 1)
        self._count(moving)
        self.result.elsewhere += taken.elsewhere
        return taken.last

    def _again(self, after: str, taken: Batch, error: Exception) -> str:
        """Go back to the beginning of a batch that could not be moved, and take its people one by one.

        :returns: where to go on; behind the person with whom something is wrong, once it is known who that is
        """
        if taken.size > 1:
            self.one_by_one = taken.size
            return after
        self.one_by_one = max(0, self.one_by_one - 1)
        self.result.people += 1
        self.failed(taken.last, error)
        return taken.last

    def failed(self, login: str, error: Exception) -> None:
        """Note that nothing could be moved for somebody."""
        cause = f"{login}: {_cause(error)}"
        log.error("What is due could not be moved, and waits, of %s", cause)
        self.fault = self.fault or cause
        self.result.failed += 1

    def _count(self, done: Moving) -> None:
        """Add up what was committed."""
        digests = [move for move in done.moves if move.together]
        self.result.people += len({item.login for item in done.items})
        self.result.moved += len(done.moves) - len(digests)
        self.result.digests += len(digests)
        self.result.in_digests += sum(len(move.items) for move in digests)
        self.result.kept += len(done.kept)
        self.reasons.update(one.reason.value for one in done.arrivals if one.reason)

    def _finish(self) -> None:
        with self._transaction() as connection:
            left = deferred.left(connection)
        self.result.waiting = left.size
        self.result.next_at = left.next.isoformat(timespec="seconds") if left.next else None
        self.result.reasons = dict(self.reasons)
        self.result.closed = self.reasons.total()
        self.result.seconds = round(time.monotonic() - self.started, 3)


def _cause(error: Exception) -> str:
    """What is wrong, for the log."""
    return str(error) if isinstance(error, NotifyError) else f"{type(error).__name__}: {error}"
