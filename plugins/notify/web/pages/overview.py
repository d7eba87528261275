"""Overview: whether mail flows, and how much of the hour is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage import identity, senders
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.rights import Right, requires
from notify.witness import Witness

router = APIRouter()


@router.get("/", response_class=HTMLResponse)
def overview(request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)]) -> Response:
    """How each sender stands."""
    served, note = _served()
    with reading() as connection:
        copy = identity.doubt(connection, Witness().read())
        standings = senders.standings(connection, served)
    return page(
        request, "overview.html", title="Overview", user=user, standings=standings, served=served, copy=copy, note=note
    )


def _served() -> tuple[Sequence[str], str]:
    try:
        return settings.senders(), ""
    except ConfigurationError as error:
        return settings.DEFAULT_SENDERS, str(error)
