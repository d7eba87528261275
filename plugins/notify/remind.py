"""A run of Reminders: tells of the deadlines and reminders that are due, each step once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify.domain.deadline import (
    DEADLINE_KEY,
    OWNER,
    ROLES,
    SUPERVISOR,
    Closed,
    Deadline,
    DeadlineType,
    Decision,
    Step,
    decide,
)
from notify.domain.home import Reason
from notify.domain.kind import DEADLINE_APPROACHING, DEADLINE_ESCALATED, DEADLINE_EXCEEDED, REMINDER
from notify.domain.person import Person
from notify.exceptions import ConfigurationError, Invalid, RemindingFailed, UnusableRecord
from notify.progress import Progress
from notify.publishing import Published, publish_event
from notify.settings import HandOverSettings
from notify.storage import deadlines, outbox, people, schema, suppressions
from notify.storage.cases import KnownCase
from notify.storage.deadlines import Due
from notify.storage.engine import transaction
from notify.storage.outbox import Origin

log = logging.getLogger(__name__)

#: Deadlines of one transaction: enough to share its commit, few enough that producers who tell of one of their cases
#: soon have their turn.
BATCH = 25

#: Failures named in the error of a run; the log has them all.
SHOWN = 10

#: Whoever chose to hear nothing of a notice in advance could have been told of it.
_CHOSEN = frozenset({Reason.NEVER, Reason.BLOCKED})


@dataclass(slots=True)
class RemindResult:
    """What a run did, in numbers; becomes the task's XCom.

    :param looked_at: deadlines of which a step was due
    :param approaching: notices in advance that were told
    :param exceeded: deadlines of which was told that they have passed
    :param escalated: escalations that were told
    :param reminders: reminders that were told
    :param superseded: steps that were due as well, and for which a later one was told
    :param closed: deadlines that ended, by reason; ``done`` after their last step
    :param handed_on: terms that went to the new owner of their case
    :param unnoticed: steps of which nobody could be told: inactive, without address, suppressed
    :param elsewhere: deadlines that another run, or a producer, was at; they stay due if they were not told of there
    :param failed: deadlines of which nobody was told because something is wrong; they stay due
    :param next_due_at: when the next step is due, ISO 8601; None if there is none
    :param stopped: why the run ended
    :param seconds: how long it took
    """

    looked_at: int = 0
    approaching: int = 0
    exceeded: int = 0
    escalated: int = 0
    reminders: int = 0
    superseded: int = 0
    closed: dict[str, int] = field(default_factory=dict)
    handed_on: int = 0
    unnoticed: int = 0
    elsewhere: int = 0
    failed: int = 0
    next_due_at: str | None = None
    stopped: str = ""
    seconds: float = 0.0

    @property
    def summary(self) -> str:
        """The result in one line, for the log."""
        names = ("approaching", "exceeded", "escalated", "reminders", "superseded", "handed_on", "unnoticed")
        parts = [f"{self.looked_at} deadlines due"]
        parts += [f"{count} {name.replace('_', ' ')}" for name in names if (count := getattr(self, name))]
        if self.elsewhere:
            parts.append(f"{self.elsewhere} with somebody else")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.closed:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.closed.items()))
            parts.append(f"{sum(self.closed.values())} ended ({reasons})")
        when = f"next step due at {self.next_due_at}" if self.next_due_at else "no step to come"
        return f"{', '.join(parts)}; {when}; {self.stopped}; {self.seconds:.1f} s"


#: Where a told step is counted.
_TOLD = {
    DEADLINE_APPROACHING: "approaching",
    DEADLINE_EXCEEDED: "exceeded",
    DEADLINE_ESCALATED: "escalated",
    REMINDER: "reminders",
}


@dataclass(slots=True)
class Reminding:
    """Tells of what is due.

    :param engine: of the outbox database
    :param settings: those of publishing
    :param origin: the task that this happens in, for the register
    :param stop: set it, and the run ends with the batch it is at
    :param batch: deadlines of one transaction
    """

    engine: Engine
    settings: HandOverSettings
    origin: Origin | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    batch: int = BATCH

    def run(self) -> RemindResult:
        """Tell of all steps that are due; of each deadline the latest only.

        Runs at the same time share the work. One that dies has told of whole batches, or of none.

        :raises RemindingFailed: something is wrong with some; all others were told, and the numbers are in the log
        """
        return _Run(self).run()


class _Run:
    """The state of one run."""

    def __init__(self, plan: Reminding) -> None:
        self.plan = plan
        self.tally: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.elsewhere: set[int] = set()
        self.failures: dict[int, str] = {}
        self.stopped = ""
        self.progress = Progress(log)
        self.started = time.monotonic()

    def run(self) -> RemindResult:
        with self.plan.engine.connect() as connection:
            schema.require(connection)
        place = self._next_batch(None)
        while place is not None and not self.plan.stop.is_set():
            place = self._next_batch(place)
            self.progress.tell("%s deadlines so far, %s failed", self.tally["looked_at"], len(self.failures))
        self.stopped = "nothing more is due" if place is None else "stopped politely"
        result = self._result()
        if self.failures:
            log.warning("%s", result.summary)  # who raises returns nothing, and the others were told
            raise RemindingFailed(self._failures())
        return result

    def _next_batch(self, after: Due | None) -> Due | None:
        """Tell of the next deadlines.

        :returns: where to go on, None if there is nothing more
        """
        with transaction(self.plan.engine) as connection:
            steps = deadlines.due(connection, after, self.plan.batch)
            ids = {step.deadline_id for step in steps} - self.failures.keys()
            batch = _Batch(connection, self.plan, deadlines.lock(connection, ids))
            batch.run()
        self.tally += batch.tally  # by now it is true
        self.closed += batch.closed
        self.failures |= batch.failures
        self.elsewhere = (self.elsewhere | ids) - {deadline.id for deadline, _ in batch.locked}
        return steps[-1] if steps else None

    def _result(self) -> RemindResult:
        with self.plan.engine.connect() as connection:
            next_due_at = deadlines.next_due_at(connection)
        return RemindResult(
            **self.tally,
            closed=dict(self.closed),
            elsewhere=len(self.elsewhere),
            failed=len(self.failures),
            next_due_at=next_due_at.isoformat() if next_due_at else None,
            seconds=round(time.monotonic() - self.started, 1),
            stopped=self.stopped,
        )

    def _failures(self) -> str:
        count = len(self.failures)
        shown = "".join(f"\n  * deadline {number}: {cause}" for number, cause in list(self.failures.items())[:SHOWN])
        more = f"\n  … and {count - SHOWN} more, see the log" if count > SHOWN else ""
        return (
            f"Nobody could be told of {count} {'deadline' if count == 1 else 'deadlines'}. The next run tries again: "
            f"correct the cause, or clear them with python -m notify deadlines clear.{shown}{more}"
        )


class _Batch:
    """The deadlines of one transaction."""

    def __init__(self, connection: Connection, plan: Reminding, locked: Sequence[tuple[Deadline, KnownCase]]) -> None:
        self.connection = connection
        self.plan = plan
        self.locked = locked
        self.now = outbox.now(connection)
        self.tally: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.failures: dict[int, str] = {}

    def run(self) -> None:
        """Each deadline by itself: what is wrong with one undoes nothing of the others."""
        shared = self._shared_book()
        for deadline, case in self.locked:
            try:
                with self.connection.begin_nested():
                    done = _One(self, case, shared or _Book(self.connection, [(deadline, case)]))
                    done.tell(deadline)
            except (ConfigurationError, sa.exc.OperationalError, sa.exc.InterfaceError):
                raise  # nothing is wrong with the deadline, and nothing right with any other
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the others from being told
                cause = "; ".join(map(str, error.faults)) if isinstance(error, Invalid) else str(error)
                self.failures[deadline.id] = cause or type(error).__name__
                log.error("deadline %s of case %s stays due: %s", deadline.id, deadline.case_id, cause)  # noqa: TRY400
            else:
                self.tally += done.tally
                self.closed += done.closed

    def _shared_book(self) -> _Book | None:
        """All their people, read at once; None where somebody's record cannot be used: then one deadline's fault."""
        try:
            return _Book(self.connection, self.locked)
        except UnusableRecord:
            return None


class _One:
    """A deadline of a batch."""

    def __init__(self, batch: _Batch, case: KnownCase, book: _Book) -> None:
        self.batch = batch
        self.connection = batch.connection
        self.case = case
        self.book = book
        self.tally: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()

    def tell(self, deadline: Deadline) -> None:
        """Do what is to be done about it now."""
        decision = decide(deadline, self.case, self.batch.now)
        if decision.hand_on_to is not None:
            successor = deadlines.hand_on(self.connection, deadline, decision.hand_on_to)
            self.closed[Closed.OWNER_CHANGED.value] += 1
            self.tally["handed_on"] += 1
            self.tell(successor)
            return
        if decision.fire is not None:
            published = self._publish(deadline, decision.fire)
            deadlines.settle(self.connection, deadline, decision.fire, published.event_id, decision.superseded)
            self._count(deadline, decision, published)
        if decision.close is not None:
            deadlines.close(self.connection, deadline, decision.close)
            self.closed[decision.close.value] += 1
        if decision != Decision():
            self.tally["looked_at"] += 1

    def _publish(self, deadline: Deadline, step: Step) -> Published:
        fields = {
            "kind": step.kind,
            "case": deadline.case_id,  # nothing but the id: we tell nothing that is not known
            "recipients": self.book.recipients(deadline, step),
            "data": {
                "due_at": deadline.due_at.isoformat(),
                "stage": deadline.stage,
                "escalation": deadline.escalation(step),
                "note": deadline.note,
            },
            "occurred_at": self.batch.now,
            "idempotency_key": f"{DEADLINE_KEY}{deadline.id}:{step.position}",
        }
        plan = self.batch.plan
        return publish_event(self.connection, fields, plan.settings, origin=plan.origin, by_reminders=True)

    def _count(self, deadline: Deadline, decision: Decision, published: Published) -> None:
        assert decision.fire is not None
        self.tally[_TOLD[decision.fire.kind]] += 1
        self.tally["superseded"] += len(decision.superseded)
        if published.mails + published.waiting == 0 and not published.refused.keys() <= _CHOSEN:
            self.tally["unnoticed"] += 1
            reasons = ", ".join(sorted(published.refused))
            log.warning("deadline %s of case %s: nobody could be told (%s)", deadline.id, deadline.case_id, reasons)


class _Book:
    """The people behind the steps of a batch, read at once."""

    def __init__(self, connection: Connection, locked: Sequence[tuple[Deadline, KnownCase]]) -> None:
        named = {name for deadline, _ in locked for step in deadline.open_steps for name in step.recipients}
        owners = {case.owner for _, case in locked if case.owner} | {one.owner for one, _ in locked if one.owner}
        self.people = people.find(connection, (named | owners) - ROLES)
        self.groups = people.members(connection, named - ROLES)
        supervisors = {one.supervisor for one in self.people.values() if one.supervisor}
        self.people |= people.find(connection, supervisors - self.people.keys())
        everybody = [*self.people.values(), *(one for group in self.groups.values() for one in group)]
        self.unwanted = suppressions.among(connection, {one.email for one in everybody if one.email})

    def recipients(self, deadline: Deadline, step: Step) -> list[str]:
        """The logins of whom a step tells.

        Of a term the owner is told as well, where one of those named cannot be reached; and where in the end nobody
        can be, the owner's supervisor: it must not go unnoticed.

        :returns: at least one; that of the owner, whether known or not, if there is nobody else
        """
        told: dict[str, Person] = {}
        missed = False
        for name in step.recipients:
            behind = list(self._behind(deadline, name))
            told |= {person.login: person for person in behind}
            missed = missed or not any(map(self._reachable, behind))
        if missed and deadline.type is DeadlineType.TERM:
            for role in (OWNER, SUPERVISOR):
                if role == OWNER or not any(map(self._reachable, told.values())):
                    told |= {person.login: person for person in self._behind(deadline, role)}
        return list(told) or [deadline.login or deadline.owner or ""]

    def _reachable(self, person: Person) -> bool:
        return person.active and person.email is not None and person.email.lower() not in self.unwanted

    def _behind(self, deadline: Deadline, name: str) -> Iterator[Person]:
        owner = self.people.get(deadline.owner or "")
        if name == OWNER:
            found = owner
        elif name == SUPERVISOR:
            found = self.people.get(owner.supervisor) if owner and owner.supervisor else None
        else:
            found = self.people.get(name)
            yield from self.groups.get(name, ())
        if found is not None:
            yield found
