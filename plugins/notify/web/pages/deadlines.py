"""Deadlines: the terms of stages and the reminders of people, what was told of them, and what comes next."""

from __future__ import annotations

from typing import Annotated, Literal

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.engine import Connection

from notify.deadlines import clear_deadline, clear_reminder
from notify.domain.deadline import Deadline, DeadlineType
from notify.exceptions import TransitionError
from notify.explaining import of_events
from notify.storage import deadlines, outbox
from notify.storage.deadlines import Wanted
from notify.web import audit, forgery
from notify.web.fields import due_of, written
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound, UnusableQuery
from notify.web.register import MOST_AT_ONCE, Number, text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/deadlines")

#: Deadlines on a page.
PAGE = 50


@router.get("", response_class=HTMLResponse)
def listing(  # noqa: PLR0917 - one for each filter
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_REGISTER)],
    case: str = "",
    person: str = "",
    state: Literal["", "open", "ended"] = "",
    after: str = "",
) -> Response:
    """Those that are open, by when they are told of next; or those that have ended."""
    wanted = Wanted(text_of("case", case.strip()), text_of("person", person.strip()), ended=state == "ended")
    with reading() as connection:
        found = deadlines.search(connection, wanted, after=due_of(after), limit=PAGE)
        now = outbox.now(connection)
    return page(
        request,
        "deadlines.html",
        title="Deadlines",
        user=user,
        page=found,
        wanted=wanted,
        now=now,
        following=written(found.after) if found.after else "",
        first=not after,
        filters=[(name, value) for name, value in request.query_params.multi_items() if name != "after" and value],
    )


@router.get("/{number}", response_class=HTMLResponse)
def deadline(request: Request, number: Number, user: Annotated[BaseUser, requires(Right.READ_REGISTER)]) -> Response:
    """One with its steps: who was told when, and what comes next."""
    with reading() as connection:
        found = deadlines.read(connection, number)
        if found is None:
            raise NotFound(f"There is no deadline {number}.")
        told = of_events(connection, [step.event_id for step in found.steps if step.event_id is not None])
        now = outbox.now(connection)
    return page(
        request,
        "deadline.html",
        title=f"Deadline {number}",
        user=user,
        deadline=found,
        told=told,
        now=now,
        note=found.note if Right.READ_BODIES.of(user) else "",
    )


@router.post("/clear")
def clear(
    request: Request,
    user: Annotated[BaseUser, requires(Right.HAND_OVER)],
    id: Annotated[list[int] | None, Form()] = None,  # noqa: A002 - the field's name
    confirmed: Annotated[bool, Form()] = False,
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Take deadlines back: all of them, or, where one has ended already, none."""
    forgery.require_token(request, user, csrf_token)
    numbers = sorted(set(id or ()))
    if not 0 < len(numbers) <= MOST_AT_ONCE or numbers[0] < 1 or numbers[-1] >= 2**63:
        raise UnusableQuery(f"Choose deadlines, from 1 to {MOST_AT_ONCE}; these are {len(numbers)}.")
    root = request.scope["root_path"]
    if not confirmed:
        return _ask(request, user, numbers)
    with changing(user, "page") as connection:
        for one in _found(connection, numbers):
            _clear(connection, one)
        audit.record(user, "clear_deadlines", ids=numbers)
    back = f"{root}/deadlines" + (f"/{numbers[0]}" if len(numbers) == 1 else "")
    return RedirectResponse(back, status_code=303)


def _found(connection: Connection, numbers: list[int]) -> list[Deadline]:
    """By case, for whoever takes several cases takes them in that order."""
    found = deadlines.find(connection, numbers)
    if gone := [number for number in numbers if number not in found]:
        raise NotFound(f"There is no deadline {gone[0]}.")
    return sorted(found.values(), key=lambda one: (one.case_id, one.id))


def _clear(connection: Connection, one: Deadline) -> None:
    if one.type is DeadlineType.REMINDER:
        cleared = clear_reminder(one.login or "", one.case_id, name=one.name, connection=connection)
    else:
        cleared = clear_deadline(one.case_id, stage=one.stage, connection=connection)
    if one.id not in cleared:
        raise TransitionError(f"Deadline {one.id} has ended already; nothing was changed.")


def _ask(request: Request, user: BaseUser, numbers: list[int]) -> Response:
    root = request.scope["root_path"]
    with reading() as connection:
        chosen = _found(connection, numbers)
    return page(
        request,
        "sure.html",
        title=f"Clear {len(numbers)} {'deadline' if len(numbers) == 1 else 'deadlines'}?",
        user=user,
        action=f"{root}/deadlines/clear",
        hidden=[("id", number) for number in numbers],
        told="Nobody is told of them any more. What was told stays told.",
        lines=[f"{one.id}: {one.case_id}, {one.whose}" for one in chosen],
        yes=f"Yes, clear {len(numbers)}",
        back=f"{root}/deadlines",
    )
