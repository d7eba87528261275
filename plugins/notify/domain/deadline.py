"""Deadlines: the terms of stages and the reminders of people, their steps, and what a run does about them.

A *step* is a moment of a deadline at which somebody is told: notices before it, its passing, the escalations after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from notify.domain.address import CONTROL
from notify.domain.event import Case, CaseField
from notify.domain.faults import faults_of
from notify.domain.kind import DEADLINE_APPROACHING, DEADLINE_ESCALATED, DEADLINE_EXCEEDED, REMINDER
from notify.domain.message import LONGEST_DELAY, Moment, Names, blank_is_none, encodable, one_line
from notify.exceptions import Fault

#: Whom a step may tell beside people and groups by name: who has the case, and that person's supervisor.
OWNER = "@owner"
SUPERVISOR = "@supervisor"
ROLES = frozenset({OWNER, SUPERVISOR})

#: How the idempotency keys of the events begin that tell of deadlines: nobody else can take them, and so swallow one.
DEADLINE_KEY = "deadline:"

#: All terms of a case, whatever their stage.
ANY_STAGE = "*"

#: More notices or escalations than that are a slip of the pen.
MOST_STEPS = 50


class DeadlineType(StrEnum):
    """Whose deadline it is; the values stand in the database."""

    TERM = "term"  #: of a stage, or of the whole case
    REMINDER = "reminder"  #: of a person, for themselves


class StepOutcome(StrEnum):
    """What became of a step; the values stand in the database."""

    FIRED = "fired"  #: somebody was told
    SUPERSEDED = "superseded"  #: a later one was due as well, and was told instead
    PAST = "past"  #: a notice in advance whose time had passed when the deadline was set
    CLOSED = "closed"  #: the deadline ended before


class Closed(StrEnum):
    """Why a deadline ended; the values stand in the database."""

    DONE = "done"  #: its last step was told
    MOVED = "moved"  #: it was set differently
    CLEARED = "cleared"  #: it was taken back
    CASE_CLOSED = "case_closed"
    STAGE_CHANGED = "stage_changed"
    OWNER_CHANGED = "owner_changed"  #: a term goes on for the new owner, as another one


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of a deadline at which somebody is told.

    :param position: among the deadline's steps, by time
    :param kind: of the event that it makes
    :param recipients: roles, or names of people and groups
    :param outcome: None while it is open
    """

    position: int
    kind: str
    fires_at: datetime
    recipients: tuple[str, ...]
    outcome: StepOutcome | None = None
    settled_at: datetime | None = None
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """A term or a reminder, as it is stored.

    :param stage: the case must be in; None: any
    :param owner: who has the case; None: not known, which only a reminder's may be
    :param login: of the person whose reminder it is, None for a term
    :param name: of the reminder, for a person may have several on a case
    :param plan: as it was set, in JSON
    :param set_by: the task that set it
    :param closed_reason: None while it is open
    """

    id: int
    type: DeadlineType
    case_id: str
    stage: str | None
    owner: str | None
    login: str | None
    name: str
    due_at: datetime
    plan: Mapping[str, Any]
    set_by: str | None
    created_at: datetime
    closed_at: datetime | None
    closed_reason: Closed | None
    steps: tuple[Step, ...]

    @property
    def open_steps(self) -> tuple[Step, ...]:
        """The steps that are still to come, or due."""
        return tuple(step for step in self.steps if step.outcome is None)

    @property
    def note(self) -> str:
        """What a person wrote into a reminder."""
        return str(self.plan.get("note") or "")

    @property
    def whose(self) -> str:
        """Of what and of whom it is, in words."""
        if self.type is DeadlineType.REMINDER:
            return f"reminder of {self.login}" + (f" ({self.name})" if self.name else "")
        return f"{f'stage {self.stage}' if self.stage else 'the whole case'}, owner {self.owner}"

    def escalation(self, step: Step) -> int:
        """Which escalation a step is, from 1; 0 for the others."""
        return step.position - len(self.plan["advance"]) if step.kind == DEADLINE_ESCALATED else 0


# --- What a run does -------------------------------------------------------------------------------------------------


class CaseState(Protocol):
    """What decides about the deadlines of a case; None is "not known"."""

    @property
    def stage(self) -> str | None:
        """Where it stands."""

    @property
    def owner(self) -> str | None:
        """Login of the person who has it."""

    @property
    def closed_at(self) -> datetime | None:
        """When it ended, None while it runs."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about a deadline.

    :param fire: the step to tell now
    :param superseded: steps that were due as well, and are not told any more
    :param close: why the deadline ends with this, None while it goes on
    :param hand_on_to: who gets it from its owner; to be decided about anew, as theirs
    """

    fire: Step | None = None
    superseded: tuple[Step, ...] = ()
    close: Closed | None = None
    hand_on_to: str | None = None


def decide(deadline: Deadline, case: CaseState, now: datetime) -> Decision:
    """What is to be done now: of the steps that are due the latest is told, if the case still is where it was.

    A term whose case has another owner is handed on, so that nobody misses it; a reminder ends.
    """
    due = sorted(
        (step for step in deadline.open_steps if step.fires_at <= now), key=lambda step: (step.fires_at, step.position)
    )
    if not due:
        return Decision()
    if case.closed_at is not None:
        return Decision(close=Closed.CASE_CLOSED)
    if _differ(deadline.stage, case.stage):
        return Decision(close=Closed.STAGE_CHANGED)
    if _differ(deadline.owner, case.owner):
        heir = case.owner if deadline.type is DeadlineType.TERM else None
        return Decision(close=Closed.OWNER_CHANGED, hand_on_to=heir)
    last = len(due) == len(deadline.open_steps)
    return Decision(fire=due[-1], superseded=tuple(due[:-1]), close=Closed.DONE if last else None)


def _differ(remembered: str | None, known: str | None) -> bool:
    return None not in {remembered, known} and remembered != known


# --- What is handed over ---------------------------------------------------------------------------------------------


def _delay(value: object) -> object:
    if isinstance(value, str) and value.strip().upper().startswith("P"):
        return value.strip().upper()
    if isinstance(value, timedelta):
        return value
    raise ValueError("must be a delay such as P2D or PT4H (ISO 8601)")


def _of_some_length(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST_DELAY:
        raise ValueError(f"must be a delay of more than nothing and at most {LONGEST_DELAY.days} days")
    return value


def _several(value: object) -> object:
    """One will do; None is none."""
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str | timedelta | Mapping) else value


_LINE_BREAKS = dict.fromkeys(map(ord, "\t\r\n"))


def _encodable(value: str | None) -> str | None:
    """What the database can hold."""
    if value is not None:
        if CONTROL.search(value.translate(_LINE_BREAKS)):
            raise ValueError("a control character is not allowed")
        encodable(value)
    return value


_Delay = Annotated[timedelta, AfterValidator(_of_some_length), BeforeValidator(_delay)]
_Line = Annotated[str, AfterValidator(_encodable), AfterValidator(one_line), Field(max_length=200)]
_Name = Annotated[_Line | None, BeforeValidator(blank_is_none)]
_Note = Annotated[str, AfterValidator(_encodable), Field(max_length=2000)]


class _Distance(BaseModel):
    """How far a step lies from the due time, and by which calendar that is counted.

    :param calendar: of working time; not given: the deadline's own; None: none, the clock counts
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calendar: _Name = None

    def calendar_or(self, general: str | None) -> str | None:
        """The calendar that counts."""
        return self.calendar if "calendar" in self.model_fields_set else general


class Advance(_Distance):
    """A notice in advance; the delay alone will do.

    :param before: how long before the due time
    """

    before: _Delay

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return value if isinstance(value, Mapping) else {"before": value}


class Escalation(_Distance):
    """Who else is told when nothing has happened some time after the due time; the delay alone will do.

    :param after: how long after the due time
    :param to: roles, or names of people and groups
    """

    after: _Delay
    to: Names = [SUPERVISOR]

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return value if isinstance(value, Mapping) else {"after": value}

    @field_validator("to")
    @classmethod
    def _somebody(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("is empty; name a person, a group, @owner or @supervisor")
        for name in value:
            _encodable(one_line(name))
            if "@" in name and name not in ROLES:
                raise ValueError(f"{name!r} is neither a person, a group, nor one of the roles @owner and @supervisor")
        return list(dict.fromkeys(value))


class TermDraft(BaseModel):
    """A term as its producer sets it.

    Only what a field can tell by itself is checked here; whether people, groups and calendars exist is found out when
    it is set, and told in the same error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: CaseField = None
    due: Moment = None
    advance: Annotated[
        list[Advance],
        BeforeValidator(_several, json_schema_input_type=list[Advance | str] | Advance | str),
        Field(max_length=MOST_STEPS),
    ] = []
    escalations: Annotated[
        list[Escalation],
        BeforeValidator(_several, json_schema_input_type=list[Escalation | str] | Escalation | str),
        Field(max_length=MOST_STEPS),
    ] = []
    calendar: _Name = None

    def plan(self) -> dict[str, Any]:
        """All of it in JSON, as it was set: a delay as a delay."""
        return {
            "due": _as_set(self.due),
            "calendar": self.calendar,
            "advance": [
                {"before": _as_set(one.before), "calendar": one.calendar_or(self.calendar)} for one in self.advance
            ],
            "escalations": [
                {"after": _as_set(one.after), "to": one.to, "calendar": one.calendar_or(self.calendar)}
                for one in self.escalations
            ],
        }


class ReminderDraft(BaseModel):
    """A reminder as a person sets it, see :class:`TermDraft`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    login: _Name = None
    case: CaseField = None
    at: Moment = None
    note: _Note = ""
    name: _Line = ""

    def plan(self) -> dict[str, Any]:
        """All of it in JSON, as it was set: a delay as a delay."""
        return {"due": _as_set(self.at), "note": self.note}


def _as_set(value: datetime | timedelta | None) -> str | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return None if value is None else _DELAYS.dump_python(value, mode="json")


_DELAYS = TypeAdapter(timedelta)
_Draft = TypeVar("_Draft", bound=BaseModel)


def read_term(fields: Mapping[str, Any]) -> tuple[TermDraft, list[Fault]]:
    """Check the fields of a term.

    :param fields: by name, as handed over; None stands for "not given"
    :returns: the term without the faulty fields, so that the rest can be checked too, and the faults
    """
    return _read(TermDraft, fields, {"case": "case.id", "due": "due"})


def read_reminder(fields: Mapping[str, Any]) -> tuple[ReminderDraft, list[Fault]]:
    """Check the fields of a reminder, as :func:`read_term` does."""
    return _read(ReminderDraft, fields, {"login": "login", "case": "case.id", "at": "at"})


class _CaseDraft(BaseModel):
    case: CaseField = None


def read_case(case: object) -> tuple[Case | None, list[Fault]]:
    """Check what stands for a case: its id, or a mapping; None and the faults, where it does not."""
    draft, faults = _read(_CaseDraft, {"case": case}, {"case": "case.id"})
    return draft.case, faults


def _read(model: type[_Draft], fields: Mapping[str, Any], needed: Mapping[str, str]) -> tuple[_Draft, list[Fault]]:
    given = {name: value for name, value in fields.items() if value is not None}
    faults: list[Fault] = []
    wrong: set[str] = set()
    try:
        draft = model.model_validate(given)
    except ValidationError as error:
        faults = _as_written(faults_of(error, model, nested=True), given)
        wrong = {str(item["loc"][0]) for item in error.errors(include_input=False)}
        draft = model.model_validate({name: value for name, value in given.items() if str(name) not in wrong})
    missing = [name for name in needed if getattr(draft, name) is None and name not in wrong]
    return draft, faults + [Fault(needed[name], _MISSING[name]) for name in missing]


_MISSING = {
    "case": "is missing; name the case",
    "due": "is missing; give a time with its zone, or a delay such as P3D",
    "at": "is missing; give a time with its zone, or a delay such as P3D",
    "login": "is missing; name the person",
}

#: A moment that may be a delay is told of twice, once as either.
_EITHER = re.compile(r"(due|at)\.(?:datetime|timedelta)")
_DISTANCE = re.compile(r"((advance|escalations)\[(\d+)\])\.(?:before|after)")


def _as_written(faults: list[Fault], given: Mapping[str, Any]) -> list[Fault]:
    """Name each field once, as it was written: ``advance[0]`` where the delay stands alone, not its ``before``."""
    named: dict[str, Fault] = {}
    for fault in faults:
        field = _EITHER.sub(r"\1", fault.field)
        found = _DISTANCE.fullmatch(field)
        if found is not None and not isinstance(_item(given[found[2]], int(found[3])), Mapping):
            field = found[1]
        named.setdefault(field, replace(fault, field=field))
    return list(named.values())


def _item(written: object, position: int) -> object:
    items = _several(written)
    return items[position] if isinstance(items, Sequence) else None


# --- Steps -----------------------------------------------------------------------------------------------------------

#: Counts a delay from a moment, forwards or back, by the calendar of that name.
Shift = Callable[[datetime, timedelta, str | None], datetime]


def steps_of_term(draft: TermDraft, due_at: datetime, now: datetime, shift: Shift) -> tuple[Step, ...]:
    """The steps of a term by their time. A notice in advance whose time has passed is not told any more."""
    before = [
        Step(0, DEADLINE_APPROACHING, shift(due_at, -one.before, one.calendar_or(draft.calendar)), (OWNER,))
        for one in draft.advance
    ]
    after = [
        Step(0, DEADLINE_ESCALATED, shift(due_at, one.after, one.calendar_or(draft.calendar)), tuple(one.to))
        for one in draft.escalations
    ]
    passing = Step(0, DEADLINE_EXCEEDED, due_at, (OWNER,))
    ordered = [*sorted(before, key=_fires_at), passing, *sorted(after, key=_fires_at)]
    return tuple(_placed(step, position, now) for position, step in enumerate(ordered))


def steps_of_reminder(login: str, due_at: datetime) -> tuple[Step, ...]:
    """The one step of a reminder."""
    return (Step(0, REMINDER, due_at, (login,)),)


def _fires_at(step: Step) -> datetime:
    return step.fires_at


def _placed(step: Step, position: int, now: datetime) -> Step:
    if step.kind == DEADLINE_APPROACHING and step.fires_at <= now:
        return replace(step, position=position, outcome=StepOutcome.PAST, settled_at=now)
    return replace(step, position=position)
