"""What a person may do to messages, to one or to several together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.storage import outbox, register
from notify.storage.outbox import Action
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import Change, changes
from notify.web.register import MOST_AT_ONCE, Number
from notify.web.rights import Right

router = routes("/messages", "messages")


@shown(id=4711, status="held")
class State(Answer):
    """A message, and its state."""

    id: int
    status: str


@shown(messages=[State])
class States(Answer):
    """Messages, and their states."""

    messages: list[State]


@dataclass(frozen=True, slots=True)
class _Does:
    """What an action does, in words.

    :param one: done to one message, as a title
    :param many: done to several
    :param more: what comes of it
    """

    one: str
    many: str
    more: str


_DOES = {
    Action.RESEND: _Does(
        "Send a message again",
        "Send messages again",
        "As a new attempt of the same message, with the same Message-ID: to those whom it has not reached, or, where "
        "it has reached everybody, to everybody once more.",
    ),
    Action.HOLD: _Does(
        "Hold a message",
        "Hold messages",
        "It is not sent until somebody releases it. Only what is queued can be held.",
    ),
    Action.RELEASE: _Does(
        "Release a message",
        "Release messages",
        "It goes back into the queue. Only what is held can be released.",
    ),
    Action.CANCEL: _Does(
        "Cancel a message",
        "Cancel messages",
        "It is not sent. It stays in the register, and can be sent again.",
    ),
    Action.ARRIVED: _Does(
        "Say that a message arrived",
        "Say that messages arrived",
        "Settles the doubt about one that is uncertain: somebody knows that it was sent, and arrived.",
    ),
}


class _Numbers(BaseModel):
    """The numbers of messages."""

    model_config = ConfigDict(extra="forbid")

    messages: list[Annotated[int, Field(ge=1, le=2**63 - 1, strict=True)]] = Field(
        min_length=1, max_length=MOST_AT_ONCE
    )


def _act(connection: Connection, action: Action, numbers: list[int]) -> States:
    """Do something to all of these messages, in an order that is the same for everybody."""
    for number in sorted(set(numbers)):
        outbox.act(connection, action, number)
    found = register.statuses(connection, numbers)
    return States(messages=[State(id=number, status=status) for number, status in found.items()])


def _to_one(action: Action) -> Callable[..., Response]:
    def act(number: Number, change: Annotated[Change, changes(Right.CHANGE_MESSAGES)]) -> Response:
        return change.once(lambda connection: _act(connection, action, [number]).messages[0])

    return act


def _to_many(action: Action) -> Callable[..., Response]:
    def act(change: Annotated[Change, changes(Right.CHANGE_MESSAGES)]) -> Response:
        numbers = change.read(_Numbers).messages
        return change.once(lambda connection: _act(connection, action, numbers))

    return act


for _action, _does in _DOES.items():
    router.add_api_route(
        f"/{{number}}/{_action}",
        _to_one(_action),
        methods=["POST"],
        name=f"{_action}_message",
        response_model=State,
        summary=_does.one,
        description=_does.more,
        responses=problems(404, 409),
    )
    router.add_api_route(
        f"/{_action}",
        _to_many(_action),
        methods=["POST"],
        name=f"{_action}_messages",
        response_model=States,
        summary=_does.many,
        description=f"Up to {MOST_AT_ONCE:,}: all of them, or, where it is not possible with one, none. {_does.more}",
        openapi_extra=takes(_Numbers.model_json_schema(), {"messages": [4711, 4712]}),
        responses=problems(*OF_BODY, 404, 409),
    )
