"""Campaigns as files: taken along from the list, and brought back to it."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import UploadFile

from notify.campaigns import exchange
from notify.table import Format
from notify.web import campaign_exchange, forgery
from notify.web.campaign_exchange import Chosen
from notify.web.export import Shaped
from notify.web.fields import Form
from notify.web.outbox import changing
from notify.web.problems import UnusableQuery
from notify.web.rights import Right, requires

router = APIRouter(prefix="/campaigns")

#: Below the app, where files come to.
PLACES = frozenset({"/campaigns/import"})

#: Of the campaigns that were in a file, so many are linked.
MOST_TOLD = 20


@router.get("/export")
def export(user: Annotated[BaseUser, requires(Right.READ_REGISTER)], choice: Chosen, shape: Shaped) -> Response:
    """What the filters of the list fit, as a file."""
    return campaign_exchange.answer(user, choice, shape, "page", Format.CSV)


@router.post("/import")
def take_in(request: Request, user: Annotated[BaseUser, requires(Right.HAND_OVER)], form: Form) -> Response:
    """Store the campaigns in a file as drafts."""
    token, file = form.get("csrf_token"), form.get("file")
    forgery.require_token(request, user, token if isinstance(token, str) else "")
    if not isinstance(file, UploadFile) or not file.filename:
        raise UnusableQuery("file: choose one; an export of campaigns, for example.")
    records = exchange.read_file(_text(file), _format(file.filename))
    with changing(user, "page") as connection:
        taken = campaign_exchange.take_in(connection, user, records)
    places = [("imported" if one.new else "known", one.number) for one in taken[:MOST_TOLD]]
    count = [("read", len(taken))]
    return RedirectResponse(f"{request.scope['root_path']}/campaigns?{urlencode(count + places)}", status_code=303)


def _format(name: str) -> Format:
    found = exchange.format_of(name)
    if found is None:
        raise UnusableQuery(f"file: the name {name!r} does not say what it is; it must end in .csv, .json or .jsonl.")
    return found


def _text(file: UploadFile) -> str:
    try:
        return file.file.read().decode()
    except UnicodeDecodeError:
        raise UnusableQuery(f"file: {file.filename!r} is not in UTF-8; save it as CSV UTF-8.") from None
