"""Deadlines and their steps. An open step belongs to an open deadline: ending the one settles the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.deadline import ANY_STAGE, Closed, Deadline, DeadlineType, Step, StepOutcome
from notify.exceptions import TransitionError
from notify.storage.cases import KnownCase
from notify.storage.models import cases, deadline_steps, deadlines
from notify.storage.walk import WINDOW


@dataclass(frozen=True, slots=True)
class NewDeadline:
    """A deadline, checked; the fields are those of :class:`notify.domain.deadline.Deadline`."""

    type: DeadlineType
    case_id: str
    stage: str | None
    owner: str | None
    due_at: datetime
    plan: Mapping[str, Any]
    steps: Sequence[Step]
    login: str | None = None
    name: str = ""
    set_by: str | None = None


def _terms_of(case_id: str, stage: str | None) -> sa.ColumnElement[bool]:
    of_stage = sa.true() if stage == ANY_STAGE else sa.func.coalesce(deadlines.c.stage, "") == (stage or "")
    return sa.and_(deadlines.c.type == DeadlineType.TERM.value, deadlines.c.case_id == case_id, of_stage)


def _reminder_of(case_id: str, login: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(
        deadlines.c.type == DeadlineType.REMINDER.value,
        deadlines.c.case_id == case_id,
        deadlines.c.login == login,
        deadlines.c.name == name,
    )


# --- Setting and ending ----------------------------------------------------------------------------------------------


def add(connection: Connection, new: NewDeadline) -> Deadline:
    """Store a deadline with its steps; none that it replaces may be open."""
    values = {
        "type": new.type.value,
        "case_id": new.case_id,
        "stage": new.stage,
        "owner": new.owner,
        "login": new.login,
        "name": new.name,
        "due_at": new.due_at,
        "plan": dict(new.plan),
        "set_by": new.set_by,
    }
    row = connection.execute(sa.insert(deadlines).values(values).returning(deadlines)).one()
    connection.execute(sa.insert(deadline_steps), [_step_row(row.id, step) for step in new.steps])
    return _deadline(row, new.steps)


def _step_row(deadline_id: int, step: Step) -> dict[str, object]:
    return {
        "deadline_id": deadline_id,
        "position": step.position,
        "kind": step.kind,
        "fires_at": step.fires_at,
        "recipients": list(step.recipients),
        "outcome": step.outcome and step.outcome.value,
        "settled_at": step.settled_at,
        "event_id": step.event_id,
    }


def terms(connection: Connection, case_id: str, stage: str | None) -> list[Deadline]:
    """All terms that a stage of a case has had, the newest first; the stage None is the whole case."""
    return _newest_first(connection, _terms_of(case_id, stage))


def reminders(connection: Connection, case_id: str, login: str, name: str) -> list[Deadline]:
    """All reminders that a person has had on a case under a name, the newest first."""
    return _newest_first(connection, _reminder_of(case_id, login, name))


def latest(connection: Connection, new: NewDeadline) -> Deadline | None:
    """The deadline that another one takes the place of, open or not; None if it is the first."""
    if new.type is DeadlineType.TERM:
        found = terms(connection, new.case_id, new.stage)
    else:
        found = reminders(connection, new.case_id, new.login or "", new.name)
    return found[0] if found else None


def _newest_first(connection: Connection, which: sa.ColumnElement[bool]) -> list[Deadline]:
    query = sa.select(deadlines).where(which).order_by(deadlines.c.id.desc())
    return _with_steps(connection, connection.execute(query).all())


def close(connection: Connection, deadline: Deadline, reason: Closed) -> None:
    """End a deadline; nobody is told of its open steps any more.

    :raises TransitionError: it had ended already
    """
    if deadline.id not in _close(connection, deadlines.c.id == deadline.id, reason):
        raise TransitionError(f"Deadline {deadline.id} had ended already: somebody else ended it first.")


def clear_terms(connection: Connection, case_id: str, stage: str | None) -> list[int]:
    """Take terms of a case back.

    :param stage: of which stage; None: of the whole case; ``*``: all of them
    :returns: the numbers of those that were open
    """
    return _close(connection, _terms_of(case_id, stage), Closed.CLEARED)


def clear_reminder(connection: Connection, case_id: str, login: str, name: str) -> list[int]:
    """Take a person's reminder back.

    :returns: its number, if it was open
    """
    return _close(connection, _reminder_of(case_id, login, name), Closed.CLEARED)


def end_with_case(connection: Connection, case_id: str) -> None:
    """End all that is set on a case, because it has ended."""
    _close(connection, deadlines.c.case_id == case_id, Closed.CASE_CLOSED)


def _close(connection: Connection, which: sa.ColumnElement[bool], reason: Closed) -> list[int]:
    ended = connection.execute(
        sa.update(deadlines)
        .where(which, deadlines.c.closed_at.is_(None))
        .values(closed_at=sa.func.now(), closed_reason=reason.value)
        .returning(deadlines.c.id)
    )
    ids = sorted(ended.scalars())
    if ids:
        connection.execute(
            sa.update(deadline_steps)
            .where(_among(deadline_steps.c.deadline_id, ids), deadline_steps.c.outcome.is_(None))
            .values(outcome=StepOutcome.CLOSED.value, settled_at=sa.func.now())
        )
    return ids


def hand_on(connection: Connection, deadline: Deadline, owner: str) -> Deadline:
    """End a term, and let the case's new owner have another with the steps that are still open.

    :raises TransitionError: it had ended already
    """
    close(connection, deadline, Closed.OWNER_CHANGED)
    successor = NewDeadline(
        type=deadline.type,
        case_id=deadline.case_id,
        stage=deadline.stage,
        owner=owner,
        due_at=deadline.due_at,
        plan=deadline.plan,
        steps=deadline.open_steps,
        set_by=deadline.set_by,
    )
    return add(connection, successor)


# --- A run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A step that is due: where a run stands in the queue of them."""

    fires_at: datetime
    deadline_id: int


def due(connection: Connection, after: Due | None, limit: int) -> list[Due]:
    """The open steps that are due, the oldest first.

    :param after: where to go on
    """
    query = (
        sa.select(deadline_steps.c.fires_at, deadline_steps.c.deadline_id)
        .where(deadline_steps.c.outcome.is_(None), deadline_steps.c.fires_at <= sa.func.now())
        .order_by(deadline_steps.c.fires_at, deadline_steps.c.deadline_id)
        .limit(limit)
    )
    if after is not None:
        place = sa.tuple_(deadline_steps.c.fires_at, deadline_steps.c.deadline_id)
        query = query.where(place > sa.tuple_(sa.literal(after.fires_at), sa.literal(after.deadline_id)))
    return [Due(row.fires_at, row.deadline_id) for row in connection.execute(query)]


def lock(connection: Connection, ids: Collection[int]) -> list[tuple[Deadline, KnownCase]]:
    """Those of the deadlines that are open, each with its case, kept from changing until the transaction ends.

    What somebody else is changing at this moment, case or deadline, is left to them: waiting would end in a deadlock
    with a producer who sets a deadline, for whom the case comes first.
    """
    held = connection.execute(
        sa.select(deadlines.c.id.label("deadline_id"), cases)
        .join(cases, cases.c.id == deadlines.c.case_id)
        .where(_among(deadlines.c.id, ids), deadlines.c.closed_at.is_(None))
        .order_by(deadlines.c.id)
        .with_for_update(of=[deadlines, cases], skip_locked=True)
    )
    states = {row["deadline_id"]: _case(row) for row in held.mappings()}
    query = sa.select(deadlines).where(_among(deadlines.c.id, states)).order_by(deadlines.c.id)
    return [(one, states[one.id]) for one in _with_steps(connection, connection.execute(query).all())]


def _case(row: sa.RowMapping) -> KnownCase:
    return KnownCase(**{column.name: row[column.name] for column in cases.c})


def settle(connection: Connection, deadline: Deadline, fired: Step, event_id: int, superseded: Iterable[Step]) -> None:
    """Record what became of the steps that were due.

    :param fired: the one that was told, by the event
    :param superseded: those that it stands for
    :raises TransitionError: one of them was settled already
    """
    positions = [fired.position, *(step.position for step in superseded)]
    position = deadline_steps.c.position
    settled = connection.execute(
        sa.update(deadline_steps)
        .where(
            deadline_steps.c.deadline_id == deadline.id,
            _among(position, positions),
            deadline_steps.c.outcome.is_(None),
        )
        .values(
            outcome=sa.case((position == fired.position, StepOutcome.FIRED.value), else_=StepOutcome.SUPERSEDED.value),
            settled_at=sa.func.now(),
            event_id=sa.case((position == fired.position, event_id)),
        )
    )
    if settled.rowcount != len(positions):
        raise TransitionError(f"A step of deadline {deadline.id} was settled already: somebody else was first.")


def next_due_at(connection: Connection) -> datetime | None:
    """When the next open step is due; in the past, if a run has left one."""
    moment: datetime | None = connection.scalar(
        sa.select(sa.func.min(deadline_steps.c.fires_at)).where(deadline_steps.c.outcome.is_(None))
    )
    return moment


# --- Looking at them -------------------------------------------------------------------------------------------------


def listed(connection: Connection, *, case_id: str | None, ended: bool, limit: int) -> list[Deadline]:
    """Deadlines by their due time, the first one first.

    :param case_id: of this case only
    :param ended: also those that have ended
    """
    query = sa.select(deadlines).order_by(deadlines.c.due_at, deadlines.c.id).limit(limit)
    if case_id is not None:
        query = query.where(deadlines.c.case_id == case_id)
    if not ended:
        query = query.where(deadlines.c.closed_at.is_(None))
    return _with_steps(connection, connection.execute(query).all())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for; what is None does not matter.

    :param person: who has the case, or whose reminder it is
    :param ended: those that have ended, instead of those that are open
    """

    case_id: str | None = None
    person: str | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Deadlines: the open ones by when they are told of next, those that have ended from the newest on.

    :param after: where the next page begins, None at the end
    :param searched: whether this page did not look at all that there is, and may have missed some
    """

    found: tuple[Deadline, ...]
    after: Due | None
    searched: bool = False


def search(connection: Connection, wanted: Wanted, *, after: Due | None = None, limit: int = 50) -> Page:
    """Find deadlines, a page at a time, in a bounded time; see :mod:`notify.storage.walk`.

    :param after: a page's ``after``; of those that have ended, only its number counts
    """
    rows, last = (_ended if wanted.ended else _open)(connection, wanted, after, limit)
    kept = rows[:limit]
    numbers = [row.deadline_id for row in kept]
    known = find(connection, numbers)
    found = tuple(known[number] for number in numbers)
    if len(rows) > limit:
        return Page(found, Due(kept[-1].fires_at, kept[-1].deadline_id))
    return Page(found, last, searched=last is not None)


def _fitting(query: sa.Select[Any], wanted: Wanted) -> sa.Select[Any]:
    if wanted.case_id is not None:
        query = query.where(deadlines.c.case_id == wanted.case_id)
    if wanted.person is not None:
        whose = sa.case((deadlines.c.type == DeadlineType.TERM.value, deadlines.c.owner), else_=deadlines.c.login)
        query = query.where(whose == wanted.person)
    return query


def _open(
    connection: Connection, wanted: Wanted, after: Due | None, limit: int
) -> tuple[Sequence[sa.Row[Any]], Due | None]:
    """The first open step of each open deadline, and how far was looked if not to the end."""
    step, earlier = deadline_steps.alias("step"), deadline_steps.alias("earlier")
    place = sa.tuple_(step.c.fires_at, step.c.deadline_id)
    all_open = sa.select(step.c.fires_at, step.c.deadline_id).where(step.c.outcome.is_(None))
    if after is not None:
        all_open = all_open.where(place > sa.tuple_(sa.literal(after.fires_at), sa.literal(after.deadline_id)))
    all_open = all_open.order_by(step.c.fires_at, step.c.deadline_id)
    # A case has few deadlines, and its index finds them.
    row = None if wanted.case_id is not None else connection.execute(all_open.offset(WINDOW).limit(1)).first()
    last = Due(*row) if row else None
    first = ~sa.exists().where(
        earlier.c.deadline_id == step.c.deadline_id, earlier.c.outcome.is_(None), earlier.c.position < step.c.position
    )
    query = _fitting(all_open.join(deadlines, deadlines.c.id == step.c.deadline_id).where(first), wanted)
    if last is not None:
        query = query.where(place <= sa.tuple_(sa.literal(last.fires_at), sa.literal(last.deadline_id)))
    return connection.execute(query.limit(limit + 1)).all(), last


def _ended(
    connection: Connection, wanted: Wanted, after: Due | None, limit: int
) -> tuple[Sequence[sa.Row[Any]], Due | None]:
    below = sa.true() if after is None else deadlines.c.id < after.deadline_id
    columns = (deadlines.c.due_at.label("fires_at"), deadlines.c.id.label("deadline_id"))
    every = sa.select(*columns).where(below).order_by(deadlines.c.id.desc())
    row = None if wanted.case_id is not None else connection.execute(every.offset(WINDOW).limit(1)).first()
    query = _fitting(every.where(deadlines.c.closed_at.is_not(None)), wanted)
    if row is not None:
        query = query.where(deadlines.c.id >= row.deadline_id)
    return connection.execute(query.limit(limit + 1)).all(), Due(*row) if row else None


def read(connection: Connection, deadline_id: int) -> Deadline | None:
    """A deadline with its steps, None if there is none of that number."""
    return find(connection, [deadline_id]).get(deadline_id)


def find(connection: Connection, ids: Collection[int]) -> dict[int, Deadline]:
    """Deadlines with their steps, by number; those that there are not are left out."""
    query = sa.select(deadlines).where(_among(deadlines.c.id, ids))
    return {one.id: one for one in _with_steps(connection, connection.execute(query).all())}


def _among(column: sa.ColumnElement[int], ids: Iterable[int]) -> sa.ColumnElement[bool]:
    return column == sa.any_(sa.literal(list(ids), ARRAY(sa.BigInteger)))


def _with_steps(connection: Connection, rows: Sequence[sa.Row[Any]]) -> list[Deadline]:
    steps: dict[int, list[Step]] = {row.id: [] for row in rows}
    query = sa.select(deadline_steps).where(_among(deadline_steps.c.deadline_id, steps))
    for row in connection.execute(query.order_by(deadline_steps.c.deadline_id, deadline_steps.c.position)):
        steps[row.deadline_id].append(
            Step(
                position=row.position,
                kind=row.kind,
                fires_at=row.fires_at,
                recipients=tuple(row.recipients),
                outcome=row.outcome and StepOutcome(row.outcome),
                settled_at=row.settled_at,
                event_id=row.event_id,
            )
        )
    return [_deadline(row, steps[row.id]) for row in rows]


def _deadline(row: sa.Row[Any], steps: Iterable[Step]) -> Deadline:
    return Deadline(
        id=row.id,
        type=DeadlineType(row.type),
        case_id=row.case_id,
        stage=row.stage,
        owner=row.owner,
        login=row.login,
        name=row.name,
        due_at=row.due_at,
        plan=row.plan,
        set_by=row.set_by,
        created_at=row.created_at,
        closed_at=row.closed_at,
        closed_reason=row.closed_reason and Closed(row.closed_reason),
        steps=tuple(steps),
    )
