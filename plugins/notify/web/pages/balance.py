"""Balance: whether every event has exactly one home for each of its recipients, drawn up when somebody asks."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from notify.domain.home import BECAUSE
from notify.storage import balance, outbox
from notify.web.balance import drawn_up
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.rights import Right, requires

router = APIRouter()

#: It reads all events, notifications and messages; that may take a while, and nobody waits longer for a page.
PATIENCE = timedelta(seconds=50)


@router.get("/balance", response_class=HTMLResponse)
def show(request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)]) -> Response:
    """Draw up the balance."""
    with reading() as connection:
        at = outbox.now(connection)
        found = drawn_up(connection, PATIENCE)
    return page(
        request,
        "balance.html",
        title="Balance",
        user=user,
        balance=found,
        at=at,
        because=BECAUSE,
        invariants=list(balance.INVARIANTS),
        wrong={one.what: one for one in found.wrong},
    )
