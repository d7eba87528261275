"""Put aside: who gets what when, and what it would look like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.engine import Connection

from notify import settings
from notify.domain.home import BECAUSE, Reason
from notify.domain.person import Person
from notify.merge import Preview, preview
from notify.storage import deferred, outbox, people, suppressions
from notify.storage.deferred import Pile, Piles
from notify.web import airflow, headers
from notify.web.mail import Mail
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound
from notify.web.register import text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/put-aside")

#: People on a page.
PAGE = 50

#: Notifications of a person that are listed.
LISTED = 200

#: The DAG that moves what is due.
USER_NOTIFICATIONS = "UserNotifications"


@dataclass(frozen=True, slots=True)
class Row:
    """A person for whom something is put aside.

    :param obstacle: why they get nothing of it as things stand, None where they do
    """

    pile: Pile
    person: Person
    obstacle: str | None


@router.get("", response_class=HTMLResponse)
def listing(
    request: Request, user: Annotated[BaseUser, requires(Right.READ_PEOPLE)], after: str = "", login: str = ""
) -> Response:
    """For whom something is put aside, by login."""
    start, only = text_of("after", after) or "", text_of("login", login.strip())
    moving = airflow.state_of(USER_NOTIFICATIONS)
    with reading() as connection:
        now = outbox.now(connection)
        found = _one(connection, only) if only else deferred.piles(connection, after=start, limit=PAGE)
        rows = _rows(connection, found.found)
    return page(
        request,
        "put_aside.html",
        title="Put aside",
        user=user,
        rows=rows,
        next_after=found.next_after,
        first=not start,
        login=only or "",
        moving=moving,
        now=now,
    )


def _one(connection: Connection, login: str) -> Piles:
    pile = deferred.pile(connection, login)
    return Piles((pile,) if pile else (), None)


def _rows(connection: Connection, piles: Iterable[Pile]) -> list[Row]:
    piles = list(piles)
    found = people.find(connection, [pile.login for pile in piles])
    addresses = [person.email for person in found.values() if person.email]
    unwanted = suppressions.among(connection, addresses)
    return [Row(pile, found[pile.login], _obstacle(found[pile.login], unwanted)) for pile in piles]


def _obstacle(person: Person, unwanted: Iterable[str]) -> str | None:
    """What keeps every mail from a person; the run of UserNotifications finds the same."""
    if not person.active:
        return BECAUSE[Reason.INACTIVE]
    if person.email is None and person.phone is None:
        return BECAUSE[Reason.NO_ADDRESS]
    if person.email is None or person.phone is not None:
        return None  # what of it goes by SMS, each notification knows
    return BECAUSE[Reason.SUPPRESSED] if person.email.lower() in unwanted else None


# The login is no part of the path: it may have a slash.
@router.get("/person", response_class=HTMLResponse)
def person(request: Request, user: Annotated[BaseUser, requires(Right.READ_BODIES)], login: str) -> Response:
    """What is put aside for somebody, and the mail that they would get of it."""
    text_of("login", login)
    given = settings.hand_over_settings()
    with reading() as connection:
        pile = deferred.pile(connection, login)
        if pile is None:
            raise _nothing(login)
        [row] = _rows(connection, [pile])
        waiting = deferred.look(connection, login, most=LISTED)
        made = preview(connection, given, login)
    return page(
        request,
        "person_put_aside.html",
        title=f"Put aside for {row.person.name or login}",
        user=user,
        row=row,
        waiting=waiting,
        preview=made,
        mail=Mail.of(made.mail) if made and made.mail else None,
        because=BECAUSE,
    )


@router.get("/person/html", response_class=HTMLResponse, dependencies=[requires(Right.READ_BODIES)])
def html(login: str) -> Response:
    """That mail as it looks, for a frame in which it can do and fetch nothing."""
    text_of("login", login)
    given = settings.hand_over_settings()
    with reading() as connection:
        made: Preview | None = preview(connection, given, login)
    mail = Mail.of(made.mail) if made and made.mail else None
    if mail is None or mail.html is None:
        raise _nothing(login)
    return HTMLResponse(mail.html, headers={"Content-Security-Policy": headers.MAIL_POLICY})


def _nothing(login: str) -> NotFound:
    return NotFound(f"Nothing is put aside for {login!r} at this moment.")
