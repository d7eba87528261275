"""Deadlines: the terms of stages and the reminders of people; set them, clear them, look at them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import uuid4

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Query, Request
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.deadlines import clear_deadline, clear_reminder, set_deadline_fields, set_reminder_fields
from notify.domain.deadline import ANY_STAGE, Deadline, ReminderDraft, TermDraft
from notify.settings import hand_over_settings
from notify.storage import deadlines
from notify.storage.deadlines import Wanted
from notify.web import audit
from notify.web.api import paging
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import DOOR, Change, changes, reads
from notify.web.fields import due_of, written
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.register import Number, text_of
from notify.web.rights import Right

router = routes("/deadlines", "deadlines")
reminders = routes("/reminders", "deadlines")

#: As a term and a reminder may look that are set.
TERM = {
    "case": {"id": "INV-2041", "title": "Invoice 2041", "stage": "Approval", "owner": "anna"},
    "due": "P3D",
    "advance": ["P1D", "PT2H"],
    "escalations": [{"after": "P1D", "to": ["@supervisor", "finance"]}],
}
REMINDER = {"login": "brian", "case": "INV-2041", "at": "2027-01-31T08:00+01:00", "note": "Call Eve"}

_Case = Annotated[str, Query(description="The case's id", min_length=1)]

# --- Answers ---------------------------------------------------------------------------------------------------------


@shown(
    position=0,
    kind="deadline_approaching",
    fires_at="2026-12-02T08:00:00Z",
    recipients=["@owner"],
    outcome=None,
    settled_at=None,
    event_id=None,
)
class Step(Answer):
    """A moment of a deadline at which somebody is told.

    :param kind: of the event that it makes
    :param recipients: roles, or names of people and groups
    :param outcome: fired, superseded, past or closed; null while it is open
    :param event_id: number of that event
    """

    position: int
    kind: str
    fires_at: datetime
    recipients: list[str]
    outcome: str | None
    settled_at: datetime | None
    event_id: int | None


@shown(
    id=7,
    type="term",
    case_id="INV-2041",
    stage="Approval",
    owner="anna",
    login=None,
    name="",
    note=None,
    due_at="2026-12-03T08:00:00Z",
    set_by="erp (API)",
    created_at="2026-11-30T08:00:00Z",
    closed_at=None,
    closed_reason=None,
    steps=[Step],
)
class Term(Answer):
    """A term of a case or its stage, or a person's reminder on a case.

    :param type: term or reminder
    :param stage: the case must be in; null: any
    :param owner: who has the case
    :param login: of the person whose reminder it is
    :param name: of the reminder
    :param note: of the reminder, for those who may read texts
    :param set_by: who set it, and by what door
    :param closed_reason: why it has ended; null while it is open
    """

    id: int
    type: str
    case_id: str
    stage: str | None
    owner: str | None
    login: str | None
    name: str
    note: str | None
    due_at: datetime
    set_by: str | None
    created_at: datetime
    closed_at: datetime | None
    closed_reason: str | None
    steps: list[Step]


@shown(deadlines=[Term], next=None, searched=False)
class Terms(Answer):
    """Deadlines: the open ones by when they are told of next, those that have ended from the newest on.

    :param next: address of the next page; null at the end
    :param searched: whether this page did not look at all that there is, and may be followed by others
    """

    deadlines: list[Term]
    next: str | None
    searched: bool


@shown(id=7, due_at="2026-12-03T08:00:00Z", ended=None)
class Set(Answer):
    """What was set, now or before.

    :param id: its number
    :param ended: why it has ended since it was set in the same way; null if it is open
    """

    id: int
    due_at: datetime
    ended: str | None


@shown(cleared=[7])
class Cleared(Answer):
    """What was taken back.

    :param cleared: the numbers of those that were open
    """

    cleared: list[int]


# --- Looking at them -------------------------------------------------------------------------------------------------


@router.get("", response_model=Terms, summary="Look for deadlines and reminders")
def list_deadlines(  # noqa: PLR0917 - one for each filter
    request: Request,
    user: Annotated[BaseUser, reads(Right.READ_REGISTER)],
    case: Annotated[str, Query(description="On this case")] = "",
    person: Annotated[str, Query(description="Login of who has the case, or whose reminder it is")] = "",
    ended: Annotated[bool, Query(description="Those that have ended, instead of those that are open")] = False,
    after: paging.After = "",
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """The open ones by when they are told of next; or those that have ended, from the newest on."""
    wanted, place = Wanted(text_of("case", case), text_of("person", person), ended=ended), due_of(after)
    with reading() as connection:
        found = deadlines.search(connection, wanted, after=place, limit=limit)
    following = None if found.after is None else paging.link(request, after=written(found.after))
    told = [_told(one, user) for one in found.found]
    return {"deadlines": told, "next": following, "searched": found.searched}


@router.get(
    "/{number}", response_model=Term, summary="Ask what became of a deadline or a reminder", responses=problems(404)
)
def get_deadline(number: Number, user: Annotated[BaseUser, reads(Right.READ_REGISTER)]) -> Term:
    """One with its steps: who was told when, and what comes next."""
    with reading() as connection:
        found = deadlines.read(connection, number)
    if found is None:
        raise NotFound(f"There is no deadline {number}.")
    return _told(found, user)


def _told(one: Deadline, user: BaseUser) -> Term:
    """What is told of it: a note is a text, which not everybody may read."""
    names = [name for name in Term.model_fields if name != "note"]
    note = one.note or None if Right.READ_BODIES.of(user) else None
    return Term.model_validate({**{name: getattr(one, name) for name in names}, "note": note})


# --- Setting and clearing --------------------------------------------------------------------------------------------


def _set_by(user: BaseUser) -> str:
    """Who sets it. Each request is one of its own: nothing that was set before may be taken for it."""
    return f"{user.get_name()} ({DOOR}, {uuid4().hex[:12]})"


def _answer(one: Deadline) -> Set:
    return Set(id=one.id, due_at=one.due_at, ended=one.closed_reason)


@router.post(
    "",
    status_code=201,
    response_model=Set,
    summary="Set the term of a case, or of its stage",
    openapi_extra=takes(TermDraft, TERM),
    responses=problems(*OF_BODY, 409),
)
def set_term(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Response:
    """The DAG Reminders tells of it in time. Setting it anew moves it; what was told is not told again."""
    fields, settings, set_by = change.fields(), hand_over_settings(), _set_by(change.user)
    return change.once(
        lambda connection: _answer(
            set_deadline_fields(fields, connection=connection, settings=settings, set_by=set_by)
        ),
        201,
    )


@router.delete("", response_model=Cleared, summary="Take the terms of a case back", responses=problems(409))
def clear_terms(
    case: _Case,
    change: Annotated[Change, changes(Right.HAND_OVER)],
    stage: Annotated[
        str, Query(description="Of this stage only; given and empty: of the whole case only; `*`: all of them")
    ] = ANY_STAGE,
) -> Response:
    """Nobody is told of them any more."""

    def work(connection: Connection) -> Cleared:
        return _cleared(change.user, clear_deadline(case, stage=stage, connection=connection))

    return change.once(work)


@reminders.post(
    "",
    status_code=201,
    response_model=Set,
    summary="Remind a person of a case",
    openapi_extra=takes(ReminderDraft, REMINDER),
    responses=problems(*OF_BODY, 409),
)
def set_reminder(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Response:
    """And nobody else. It fires if the case is still in the stage and with the owner that it has now."""
    fields, set_by = change.fields(), _set_by(change.user)
    return change.once(
        lambda connection: _answer(set_reminder_fields(fields, connection=connection, set_by=set_by)), 201
    )


@reminders.delete("", response_model=Cleared, summary="Take a person's reminder back", responses=problems(409))
def clear_persons_reminder(
    case: _Case,
    login: Annotated[str, Query(description="Whose it is", min_length=1)],
    change: Annotated[Change, changes(Right.HAND_OVER)],
    name: Annotated[str, Query(description="That it was set under")] = "",
) -> Response:
    """It fires no more."""

    def work(connection: Connection) -> Cleared:
        return _cleared(change.user, clear_reminder(login, case, name=name, connection=connection))

    return change.once(work)


def _cleared(user: BaseUser, ids: list[int]) -> Cleared:
    if ids:
        audit.record(user, "clear_deadlines", ids=ids)
    return Cleared(cleared=ids)
