"""Messages: the register, and what became of one of them."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.engine import Connection

from notify import settings
from notify.domain.status import Status
from notify.exceptions import ConfigurationError, TransitionError
from notify.storage import bounces, register
from notify.storage.search import search
from notify.web import forgery, headers
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound, UnusableQuery
from notify.web.register import ACTIONS, MOST_AT_ONCE, Before, Number, Wanted, mail_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/messages")

#: Messages on a page.
PAGE = 50


@router.get("", response_class=HTMLResponse)
def listing(
    request: Request, user: Annotated[BaseUser, requires(Right.READ_REGISTER)], wanted: Wanted, before: Before = None
) -> Response:
    """The register, newest first."""
    with reading() as connection:
        found = search(connection, wanted, before=before, limit=PAGE)
    return page(
        request,
        "messages.html",
        title="Messages",
        user=user,
        page=found,
        wanted=wanted,
        statuses=list(Status),
        senders=_senders(),
        first=before is None,
        filters=[(name, value) for name, value in request.query_params.multi_items() if name != "before" and value],
    )


def _senders() -> tuple[str, ...]:
    try:
        return settings.senders()
    except ConfigurationError:
        return ()


@router.get("/{number}", response_class=HTMLResponse)
def message(request: Request, number: Number, user: Annotated[BaseUser, requires(Right.READ_REGISTER)]) -> Response:
    """One message: what became of it, and why."""
    with reading() as connection:
        found = _read(connection, number)
        reports = bounces.of_message(connection, number)
        mail = mail_of(connection, number) if Right.READ_BODIES.of(user) else None
    actions = [name for name, (_, states) in ACTIONS.items() if found.status in states]
    title = f"Message {number}"
    return page(
        request, "message.html", title=title, user=user, message=found, reports=reports, mail=mail, actions=actions
    )


def _read(connection: Connection, number: int) -> register.RegisteredMessage:
    try:
        return register.read(connection, number)
    except TransitionError as error:
        raise NotFound(str(error)) from None


@router.get("/{number}/html", response_class=HTMLResponse, dependencies=[requires(Right.READ_BODIES)])
def html(number: Number) -> Response:
    """A mail as it looks, for a frame in which it can do and fetch nothing."""
    with reading() as connection:
        mail = mail_of(connection, number)
    if mail is None or mail.html is None:
        raise NotFound(f"Message {number} has no HTML.")
    return HTMLResponse(mail.html, headers={"Content-Security-Policy": headers.MAIL_POLICY})


@router.post("/{action}")
def act(
    request: Request,
    action: str,
    user: Annotated[BaseUser, requires(Right.CHANGE_MESSAGES)],
    id: Annotated[list[int], Form()],  # noqa: A002 - the field's name
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Do something to messages: to all of them, or, where one cannot, to none."""
    forgery.require_token(request, user, csrf_token)
    if action not in ACTIONS:
        raise NotFound(f"There is no action {action!r}.")
    if len(id) > MOST_AT_ONCE:
        raise UnusableQuery(f"At most {MOST_AT_ONCE} messages at once; these are {len(id)}.")
    with changing(user, "page") as connection:
        for number in sorted(set(id)):
            ACTIONS[action][0](connection, number)
    back = f"{request.scope['root_path']}/messages" + (f"/{id[0]}" if len(id) == 1 else "")
    return RedirectResponse(back, status_code=303)
