"""Messages: the register, and what became of one of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy.engine import Connection

from notify import settings
from notify.domain.channel import ChannelName
from notify.domain.status import Status
from notify.exceptions import ConfigurationError, TransitionError
from notify.storage import bounces, outbox, register, sms_parts
from notify.storage.outbox import Action
from notify.storage.search import Found, lines, search
from notify.table import Format
from notify.web import export, forecast, forgery, headers
from notify.web.export import Wished
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound, UnusableQuery
from notify.web.register import ACTIONS, MOST_AT_ONCE, Before, Number, Wanted, mail_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/messages")

#: How people call the channels.
CHANNELS = {ChannelName.EMAIL: "mail", ChannelName.SMS: "SMS"}

#: Messages on a page.
PAGE = 50

#: What the address of the register says that is no filter.
_NO_FILTERS = frozenset({"before", "done", "count"})

#: Filters that a link sets, and no field of the form.
_OF_A_RUN = frozenset({"dag_id", "run_id", "task_id", "map_index", "campaign"})

#: The number of a message in a list of them.
_Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
_NUMBERS = TypeAdapter(list[_Number])


@dataclass(frozen=True, slots=True)
class Review:
    """What would come of doing something to several messages.

    :param possible: those with which it can be done
    :param refused: of each of the others its number, what is known of it, and why it cannot be done
    """

    action: Action
    possible: tuple[Found, ...]
    refused: tuple[tuple[int, Found | None, str], ...]


@router.get("", response_class=HTMLResponse)
def listing(  # noqa: PLR0917 - one for each field
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_REGISTER)],
    wanted: Wanted,
    before: Before = None,
    done: Action | None = None,
    count: int = 0,
) -> Response:
    """The register, newest first; behind an action on several messages, with what was done."""
    with reading() as connection:
        found = search(connection, wanted, before=before, limit=PAGE)
        texts = _texts(connection, found.found) if Right.READ_BODIES.of(user) else {}
    given = [(name, value) for name, value in request.query_params.multi_items() if value]
    filters = [(name, value) for name, value in given if name not in _NO_FILTERS]
    return page(
        request,
        "messages.html",
        title="Messages",
        user=user,
        page=found,
        texts=texts,
        wanted=wanted,
        channels=CHANNELS,
        statuses=list(Status),
        senders=_senders(),
        first=before is None,
        filters=filters,
        narrowed=sum(name not in _OF_A_RUN for name, _ in filters),
        actions=list(ACTIONS),
        done=done,
        count=count,
    )


def _texts(connection: Connection, found: Collection[Found]) -> dict[int, str]:
    """What the SMS of a page say, in place of subjects, which they have none of."""
    return register.texts_of_sms(connection, [one.id for one in found if one.channel is ChannelName.SMS])


def _senders() -> tuple[str, ...]:
    try:
        return settings.senders()
    except ConfigurationError:
        return ()


@router.get("/export")
def take_along(user: Annotated[BaseUser, requires(Right.READ_REGISTER)], wanted: Wanted, wish: Wished) -> Response:
    """The messages that fit the filters, as a file."""
    return export.answer(user, wanted, wish, "page", Format.CSV)


# --- Several at once -------------------------------------------------------------------------------------------------


@router.get("/confirm", response_class=HTMLResponse)
def confirm(
    request: Request,
    user: Annotated[BaseUser, requires(Right.CHANGE_MESSAGES)],
    action: Action,
    id: Annotated[list[_Number] | None, Query()] = None,  # noqa: A002 - the field's name
    back: str = "",
) -> Response:
    """What would come of doing something to several messages, before it is done."""
    return _confirm(request, user, action, _chosen(id or ()), _filters(back))


def _chosen(numbers: Collection[int]) -> list[int]:
    if not numbers:
        raise UnusableQuery("No message is selected. Tick one or more in the register, then say what to do.")
    if len(numbers) > MOST_AT_ONCE:
        raise UnusableQuery(f"At most {MOST_AT_ONCE} messages at once; these are {len(numbers)}.")
    return sorted(set(numbers))


def _filters(query: str) -> str:
    """The filters of the page that an action was begun on, so that it can be gone back to."""
    return urlencode([(name, value) for name, value in parse_qsl(query) if name not in _NO_FILTERS])


def _confirm(
    request: Request, user: BaseUser, action: Action, numbers: Collection[int], back: str, *, status: int = 200
) -> HTMLResponse:
    with reading() as connection:
        review = _review(connection, action, numbers)
    size = len(numbers)
    title = f"{action.capitalize()}: {size} message{'' if size == 1 else 's'}"
    return page(
        request,
        "confirm.html",
        title=title,
        user=user,
        status=status,
        review=review,
        undone=status != 200,
        back=back,
    )


def _review(connection: Connection, action: Action, numbers: Collection[int]) -> Review:
    known = {one.id: one for one in lines(connection, numbers)}
    obstacles = {number: outbox.obstacle(connection, action, number) for number in numbers}
    return Review(
        action,
        tuple(known[number] for number, why in obstacles.items() if why is None),
        tuple((number, known.get(number), why) for number, why in obstacles.items() if why is not None),
    )


# --- One of them -----------------------------------------------------------------------------------------------------


@router.get("/{number}", response_class=HTMLResponse)
def message(request: Request, number: Number, user: Annotated[BaseUser, requires(Right.READ_REGISTER)]) -> Response:
    """One message: what became of it, and why."""
    with reading() as connection:
        found = _read(connection, number)
        reports = bounces.of_message(connection, number)
        parts = sms_parts.of_message(connection, number) if found.channel is ChannelName.SMS else ()
        mail = mail_of(connection, number) if Right.READ_BODIES.of(user) else None
        outlook = forecast.of_message(connection, found)
    return page(
        request,
        "message.html",
        title=f"Message {number}",
        user=user,
        message=found,
        reports=reports,
        parts=parts,
        mail=mail,
        actions=[name for name, (_, states) in ACTIONS.items() if found.status in states],
        outlook=outlook,
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


# --- Changing --------------------------------------------------------------------------------------------------------


@router.post("/{action}")
def act(  # noqa: PLR0917 - one for each field
    request: Request,
    action: str,
    user: Annotated[BaseUser, requires(Right.CHANGE_MESSAGES)],
    id: Annotated[list[_Number] | None, Form()] = None,  # noqa: A002 - the field's name
    numbers: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
    back: Annotated[str, Form()] = "",
) -> Response:
    """Do something to messages: to all of them, or, where one cannot, to none, and say which and why."""
    forgery.require_token(request, user, csrf_token)
    if action not in ACTIONS:
        raise NotFound(f"There is no action {action!r}.")
    chosen = _chosen([*(id or ()), *_read_numbers(numbers)])
    try:
        with changing(user, "page") as connection:
            for number in chosen:
                ACTIONS[action][0](connection, number)
    except TransitionError:
        if len(chosen) == 1:
            raise
        return _confirm(request, user, Action(action), chosen, _filters(back), status=409)
    root = f"{request.scope['root_path']}/messages"
    if len(chosen) == 1:
        return RedirectResponse(f"{root}/{chosen[0]}", status_code=303)
    done = urlencode([*parse_qsl(_filters(back)), ("done", action), ("count", len(chosen))])
    return RedirectResponse(f"{root}?{done}", status_code=303)


def _read_numbers(text: str) -> list[int]:
    """The numbers of a field that has many, for a form may not have as many fields."""
    try:
        return _NUMBERS.validate_python(text.split())
    except ValidationError:
        raise UnusableQuery("numbers: these are no numbers of messages, with blanks between them.") from None
