"""Events: publish what happened to a case, and ask where its notifications are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from starlette.responses import Response

from notify.domain.event import EventDraft
from notify.publishing import publish_event
from notify.settings import hand_over_settings
from notify.storage import events
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import Change, changes, reads
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.register import Number
from notify.web.rights import Right

router = routes("/events", "events")

#: As an event may look that is published.
EXAMPLE = {
    "kind": "case_changed",
    "case": {"id": "INV-2041", "title": "Invoice 2041", "stage": "Approval", "owner": "anna"},
    "actor": "brian",
    "recipients": ["anna", "finance"],
    "data": {"changes": [{"what": "comment_added", "text": "Please check page 2."}]},
    "idempotency_key": "comment-118",
}


@shown(event_id=12, duplicate=False, mails=1, waiting=2, refused={"own_action": 1})
class Published(Answer):
    """The answer to an event: where its notifications are.

    :param event_id: the event's number
    :param duplicate: whether it was published before, under the same `idempotency_key`
    :param mails: in the outbox, as mails or SMS of their own or in a digest
    :param waiting: put aside until the person's time
    :param refused: without a mail, by reason
    """

    event_id: int
    duplicate: bool
    mails: int
    waiting: int
    refused: dict[str, int]


@shown(
    id=12,
    kind="case_changed",
    case_id="INV-2041",
    case_title="Invoice 2041",
    case_url=None,
    process=None,
    stage="Approval",
    owner="anna",
    site=None,
    actor="brian",
    occurred_at="2026-11-30T08:00:00Z",
    created_at="2026-11-30T08:00:01Z",
    origin_dag_id=None,
    origin_run_id=None,
    created_by="erp (API)",
    recipients=4,
    mails=1,
    waiting=2,
    refused={"own_action": 1},
)
class Event(Answer):
    """Something that happened to a case, and where the notifications of it are; what it told aside.

    :param site: the branch that the case belongs to
    :param actor: who did it
    :param created_at: when it was published
    :param origin_dag_id: the DAG whose task published it, if one did
    :param origin_run_id: the run of that
    :param created_by: who else published it, and by what door
    :param recipients: how many it concerns
    :param mails: in the outbox, as mails or SMS of their own or in a digest
    :param waiting: put aside until the person's time
    :param refused: without a mail, by reason
    """

    id: int
    kind: str
    case_id: str | None
    case_title: str
    case_url: str | None
    process: str | None
    stage: str | None
    owner: str | None
    site: str | None
    actor: str | None
    occurred_at: datetime
    created_at: datetime
    origin_dag_id: str | None
    origin_run_id: str | None
    created_by: str | None
    recipients: int
    mails: int
    waiting: int
    refused: dict[str, int]


@router.post(
    "",
    status_code=201,
    response_model=Published,
    summary="Publish an event",
    openapi_extra=takes(EventDraft, EXAMPLE),
    responses=problems(*OF_BODY, 409),
)
def publish(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Response:
    """Tell the people concerned that something happened, each at the time they chose.

    What is wrong is told at once, all of it, and then nothing is stored.
    """
    fields, settings = change.fields(), hand_over_settings()
    return change.once(
        lambda connection: Published.model_validate(publish_event(connection, fields, settings)), status=201
    )


@router.get(
    "/{number}",
    response_model=Event,
    summary="Ask where an event's notifications are",
    dependencies=[reads(Right.READ_REGISTER)],
    responses=problems(404),
)
def get_event(number: Number) -> Event:
    """An event, and how many of its notifications are where. For each one of them, see `/explain`."""
    with reading() as connection:
        found = events.read(connection, number)
        if found is None:
            raise NotFound(f"There is no event {number}.")
        counted = events.count(connection, number)
    return Event.model_validate(
        {**found, "mails": counted.mails, "waiting": counted.waiting, "refused": counted.refused}
    )
