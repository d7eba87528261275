"""Explain: why somebody did, or did not, get a mail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.engine import Connection

from notify import explaining
from notify.exceptions import NothingKnown
from notify.explaining import Explanation
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.problems import UnusableQuery
from notify.web.register import text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/explain")

#: How far back a person's story may go, in words.
BACK = {"P1D": "the last day", "P7D": "the last 7 days", "P31D": "the last 31 days", "P366D": "the last year"}

_LARGEST = 2**63 - 1


@router.get("", response_class=HTMLResponse)
def explain(  # noqa: PLR0917 - one for each thing that can be asked about
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_PEOPLE)],
    person: str = "",
    message: str = "",
    event: str = "",
    case: str = "",
    since: str = explaining.USUAL,
) -> Response:
    """The answer to one question, or the form to ask it."""
    given = {"person": person, "message": message, "event": event, "case": case}
    asked = {name: found for name, text in given.items() if (found := text_of(name, text.strip()))}
    if len(asked) > 1:
        raise UnusableQuery(f"Ask about one of {', '.join(asked)}, and leave the others empty.")
    answer, nothing = _answered(asked, since)
    return page(
        request,
        "explain.html",
        title="Explain",
        user=user,
        under="people",
        status=404 if nothing else 200,
        asked=asked,
        since=since,
        back=BACK if since in BACK else {since: f"since {since}", **BACK},
        answer=answer,
        nothing=nothing,
    )


def _answered(asked: dict[str, str], since: str) -> tuple[Explanation | None, str]:
    """The answer, or why there is none."""
    ask = _question(asked, since)
    if ask is None:
        return None, ""
    with reading() as connection:
        try:
            return ask(connection), ""
        except NothingKnown as error:
            return None, str(error)


def _question(asked: dict[str, str], since: str) -> Callable[[Connection], Explanation] | None:
    if who := asked.get("person"):
        try:
            begin = explaining.read_since(since)
        except ValueError as error:
            raise UnusableQuery(f"since: {error}.") from None
        return lambda connection: explaining.of_person(connection, who, since=begin)
    if case := asked.get("case"):
        return lambda connection: explaining.of_case(connection, case)
    for name, ask in (("message", explaining.of_message), ("event", explaining.of_event)):
        if name in asked:
            number = _number(name, asked[name])
            return lambda connection: ask(connection, number)
    return None


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= (number := int(text[:20])) <= _LARGEST:
        raise UnusableQuery(f"{name}: {text!r} is no number from 1 on.")
    return number
