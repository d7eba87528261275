"""Balance: whether every event has exactly one home for each of its recipients, as of when somebody checked it last."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from notify.domain.home import BECAUSE
from notify.storage import balance
from notify.web import forgery
from notify.web.balance import drawn_up
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.rights import Right, requires

router = APIRouter()

#: It reads all events, notifications and messages; that may take a while, and nobody waits longer for a page.
PATIENCE = timedelta(seconds=50)


@router.get("/balance", response_class=HTMLResponse)
def show(request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)]) -> Response:
    """The balance that was drawn up last, whoever did it, at whatever door."""
    with reading() as connection:
        last = balance.last(connection)
    return page(
        request,
        "balance.html",
        title="Balance",
        user=user,
        last=last,
        because=BECAUSE,
        invariants=list(balance.INVARIANTS),
        wrong={one.what: one for one in last.balance.wrong} if last else {},
    )


@router.post("/balance")
def check(
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_SETTINGS)],
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Draw it up now."""
    forgery.require_token(request, user, csrf_token)
    drawn_up(user, "page", PATIENCE)
    return RedirectResponse(f"{request.scope['root_path']}/balance", status_code=303)
