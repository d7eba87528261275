"""The suppression list: addresses that get nothing."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from notify import settings
from notify.domain.destination import parse_destination
from notify.storage import suppressions, unsubscriptions
from notify.storage.suppressions import Source
from notify.suppressing import suppress
from notify.web import audit, forgery
from notify.web.fields import OPTIONAL, destination_of, sought_address
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page, place_of
from notify.web.problems import NotFound, UnusableQuery
from notify.web.register import MOST_AT_ONCE, text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/suppressions")

#: Addresses on a page.
PAGE = 50


@router.get("", response_class=HTMLResponse)
def listing(  # noqa: PLR0917 - one for each filter
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_PEOPLE)],
    address: str = "",
    source: Annotated[Source | None, OPTIONAL] = None,
    newest: bool = False,
    after: str = "",
    kept: bool = False,
    withheld: Annotated[int, Query(ge=0, le=2**31)] = 0,
) -> Response:
    """The list by address, or those that were put there last."""
    wanted = sought_address(text_of("address", address.strip()) or "")
    with reading() as connection:
        if newest:
            found = suppressions.Page(tuple(suppressions.newest(connection, PAGE, source=source)), None)
        else:
            place = text_of("after", after)
            found = suppressions.search(connection, wanted, source=source, after=place, limit=PAGE)
        whole = _is_address(wanted)
        scopes = sorted(unsubscriptions.of(connection, wanted)) if whole else []
    return page(
        request,
        "suppressions.html",
        title="Suppression list",
        user=user,
        under="people",
        page=found,
        wanted=wanted,
        whole=whole,
        scopes=scopes,
        source=source,
        sources=list(Source),
        newest=newest,
        kept=kept,
        withheld=withheld,
        first=not after,
        filters=[(name, value) for name, value in (("address", wanted), ("source", source or "")) if value],
    )


def _is_address(text: str) -> bool:
    try:
        return parse_destination(text, settings.phone_region).lower() == text.lower()
    except ValueError:
        return False


@router.post("/add")
def add(  # noqa: PLR0917 - one for each field
    request: Request,
    user: Annotated[BaseUser, requires(Right.CHANGE_PEOPLE)],
    address: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    days: Annotated[str, Form()] = "",
    login: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Put an address on the list."""
    forgery.require_token(request, user, csrf_token)
    with changing(user, "page") as connection:
        done = suppress(connection, address, reason, days.strip())
        audit.record(user, "suppress", address=done.address, reason=reason.strip(), days=days.strip() or None)
    told = {"kept": "1"} if not done.changed else {}
    if done.withheld:
        told["withheld"] = str(done.withheld)
    return _back(request, [done.address], login, told)


@router.post("/lift")
def lift(  # noqa: PLR0917 - one for each field
    request: Request,
    user: Annotated[BaseUser, requires(Right.CHANGE_PEOPLE)],
    address: Annotated[list[str] | None, Form()] = None,
    confirmed: Annotated[bool, Form()] = False,
    login: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Take addresses off the list: all of them, or, where one is not on it, none."""
    forgery.require_token(request, user, csrf_token)
    named = sorted({destination_of(one) for one in address or ()})
    if not 0 < len(named) <= MOST_AT_ONCE:
        raise UnusableQuery(f"Choose addresses, from 1 to {MOST_AT_ONCE}; these are {len(named)}.")
    if not confirmed:
        return _ask(request, user, named)
    with changing(user, "page") as connection:
        for one in named:
            if not suppressions.lift(connection, one):
                raise NotFound(f"{one} is not on the list; nothing was changed.")
        audit.record(user, "lift_suppression", addresses=named)
    return _back(request, named, login, {})


@router.post("/resubscribe")
def resubscribe(
    request: Request,
    user: Annotated[BaseUser, requires(Right.CHANGE_PEOPLE)],
    address: Annotated[str, Form()] = "",
    scope: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Take back, on its reader's word, what an address has unsubscribed from."""
    forgery.require_token(request, user, csrf_token)
    whose = destination_of(address)
    with changing(user, "page") as connection:
        if not unsubscriptions.remove(connection, whose, text_of("scope", scope) or ""):
            raise NotFound(f"{whose} has not unsubscribed from {scope!r}.")
        audit.record(user, "resubscribe", address=whose, scope=scope)
    return _back(request, [whose], "", {})


def _ask(request: Request, user: BaseUser, named: list[str]) -> Response:
    root = request.scope["root_path"]
    return page(
        request,
        "sure.html",
        title=f"Send to {len(named)} {'address' if len(named) == 1 else 'addresses'} again?",
        user=user,
        under="people",
        action=f"{root}/suppressions/lift",
        hidden=[("address", one) for one in named],
        told="Their bounces so far count no more. What was suppressed meanwhile stays so, and can be sent again.",
        lines=named,
        yes=f"Yes, lift {len(named)}",
        back=f"{root}/suppressions",
    )


def _back(request: Request, named: list[str], login: str, told: dict[str, str]) -> Response:
    """To the person from whose page it came, or to the list."""
    root = request.scope["root_path"]
    if login:
        return RedirectResponse(f"{root}{place_of(login)}", status_code=303)
    query = urlencode(({"address": named[0]} if len(named) == 1 else {}) | told)
    return RedirectResponse(f"{root}/suppressions?{query}" if query else f"{root}/suppressions", status_code=303)
