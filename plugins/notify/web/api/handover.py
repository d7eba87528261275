"""Messages that are handed over, one or a thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from starlette.responses import Response

from notify import handover
from notify.domain.message import Draft
from notify.exceptions import Fault
from notify.settings import hand_over_settings
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, schema_of, takes
from notify.web.api.request import Change, changes
from notify.web.problems import InvalidRequest
from notify.web.rights import Right

#: Messages that may be handed over at once.
MOST = 1000

router = routes("/messages", "messages")

#: As a message may look that is handed over.
EXAMPLE = {
    "recipient": ["anna@example.com", "finance"],
    "subject": "The load has finished",
    "message": "All invoices are in.",
    "case_id": "INV-2041",
    "idempotency_key": "load-2026-11-30",
}


@shown(id=4711, message_id="<0e0c7c7d9a6f4c0b9d6a@firm.example>")
class Stored(Answer):
    """A message in the outbox.

    :param id: its number in the register
    :param message_id: its Message-ID
    """

    id: int
    message_id: str


@shown(messages=[Stored], duplicate=False, suppressed=0)
class HandedOver(Answer):
    """The answer to a hand-over.

    :param messages: in the outbox now, one for each recipient or one to all; or there already under the same
        `idempotency_key`
    :param duplicate: whether they were there already
    :param suppressed: how many of the recipients get nothing, because they are on the suppression list
    """

    messages: list[Stored]
    duplicate: bool
    suppressed: int


@shown(handed_over=[HandedOver])
class Batch(Answer):
    """The answers to several hand-overs, in their order.

    :param handed_over: the answer to each
    """

    handed_over: list[HandedOver]


@router.post(
    "",
    status_code=201,
    response_model=HandedOver,
    summary="Hand a message over",
    openapi_extra=takes(Draft, EXAMPLE),
    responses=problems(*OF_BODY, 409),
)
def hand_over_message(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Response:
    """Put a message into the outbox; the next run of Notifications sends it.

    The fields are those of SendMessage. What is wrong is told at once, all of it, and then nothing is stored.
    """
    fields, settings = change.fields(), hand_over_settings()
    return change.once(
        lambda connection: HandedOver.model_validate(handover.hand_over(connection, fields, settings)), 201
    )


_BATCH = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "maxItems": MOST,
            "items": schema_of(Draft),
            "description": "Each with the fields of a message",
        }
    },
}


@router.post(
    "/batch",
    status_code=201,
    response_model=Batch,
    summary=f"Hand up to {MOST:,} messages over",
    openapi_extra=takes(_BATCH, {"messages": [EXAMPLE, EXAMPLE | {"recipient": "brian", "idempotency_key": "b"}]}),
    responses=problems(*OF_BODY, 409),
)
def hand_over_messages(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Response:
    """Put several messages into the outbox: all of them, or, where one cannot be taken, none.

    Each has its own fields. What is wrong names the message that it is wrong with, as in `messages[17].recipient`.
    """
    drafts, settings = _drafts(change.fields()), hand_over_settings()
    return change.once(lambda connection: _batch(handover.hand_over_all(connection, drafts, settings)), 201)


def _batch(answers: Sequence[handover.HandedOver]) -> Batch:
    return Batch(handed_over=[HandedOver.model_validate(one) for one in answers])


def _drafts(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages of a batch, each with its fields.

    :raises InvalidRequest: there are none, too many, or one is no object
    """
    faults = [Fault(name, "there is no such field") for name in fields if name != "messages"]
    given = fields.get("messages")
    if not isinstance(given, list) or not 0 < len(given) <= MOST:
        faults.append(Fault("messages", f"must be a list of 1 to {MOST:,} messages"))
        raise InvalidRequest(faults)
    faults += [
        Fault(f"messages[{position}]", "must be an object, {…}")
        for position, one in enumerate(given)
        if not isinstance(one, dict)
    ]
    if faults:
        raise InvalidRequest(faults)
    return given
