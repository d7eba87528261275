"""Senders: what waits for each, its limit and what is used of it, and when its queue is empty."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import Path
from sqlalchemy.engine import Connection

from notify import settings
from notify.channels import channel_of
from notify.storage import identity, senders
from notify.storage.senders import Standing
from notify.web import airflow, forecast
from notify.web.airflow import DagState
from notify.web.api.answer import Answer, shown
from notify.web.api.description import problems, routes
from notify.web.api.request import reads
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.rights import Right
from notify.witness import Witness

router = routes("/senders", "senders")


@shown(due=120, due_bulk=0, due_parts=120, later=3, due_since="2026-11-30T08:00:00Z", next_at="2026-11-30T18:00:00Z")
class Queue(Answer):
    """What waits for a sender.

    :param due: could leave now, if the limit allowed it
    :param due_bulk: of that, bulk
    :param due_parts: what of it counts against the limit: an SMS its parts, a mail one
    :param later: waits for its time or its next try
    :param due_since: since when the first of it is due
    :param next_at: when the next of it will be due
    """

    due: int
    due_bulk: int
    due_parts: int
    later: int
    due_since: datetime | None
    next_at: datetime | None


@shown(total=100, bulk=0)
class Usage(Answer):
    """What counts against the limit: attempts that are open, or that ended in the last 60 minutes; of SMS their parts.

    :param bulk: those of bulk messages, which may use 80 % of the limit
    """

    total: int
    bulk: int


@shown(
    started_at="2026-11-30T08:03:00Z",
    ended_at="2026-11-30T08:03:20Z",
    end_reason="the limit is reached",
    alive=False,
    worker="worker-1:4242",
    dag_id="Notifications",
    run_id="scheduled__2026-11-30T08:03:00+00:00",
    accepted=100,
)
class Run(Answer):
    """A run over a sender's queue.

    :param ended_at: null while it lives; and where it died, until the next run ends it
    :param alive: it is at the queue now
    :param worker: host and process
    :param accepted: messages that the server took from it
    """

    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    alive: bool
    worker: str
    dag_id: str | None
    run_id: str | None
    accepted: int


@shown(at="2026-11-30T10:06:00Z", certainty="at")
class Forecast(Answer):
    """When something is expected to leave, if nothing more comes in before it.

    :param certainty: `at`: played through, run by run; `about`: told from the pace; `after`: not before
    """

    at: datetime
    certainty: str


@shown(credit="80.693 EUR", amount="80.693", warning="20", low=False, at="2026-11-30T08:10:00Z")
class Account(Answer):
    """What was left on a sender's account when DeliveryReports asked its gateway last.

    :param credit: as the gateway says it, with the currency
    :param amount: the number in it
    :param warning: below it somebody is warned, the connection's extra `credit_warning`; null: where nothing is left
    :param low: whether somebody should see to it
    :param at: when it was asked
    """

    credit: str
    amount: Decimal
    warning: Decimal | None
    low: bool
    at: datetime


@shown(
    sender="smtp_default",
    channel="email",
    served=True,
    summary="the limit holds it back until",
    until="2026-11-30T09:03:00Z",
    at="2026-11-30T08:20:00Z",
    queue=Queue,
    held=0,
    parked=0,
    limit=100,
    limit_seen_at="2026-11-30T08:03:00Z",
    used=Usage,
    held_back=120,
    next_slot_at="2026-11-30T09:03:00Z",
    empty=Forecast,
    empty_reason=None,
    last_run=Run,
    fault=None,
    remedy=None,
    fault_at=None,
    account=None,
)
class Sender(Answer):
    """How a sender stands.

    :param channel: `email` or `sms`; null where no connection says so
    :param served: whether runs of Notifications serve it
    :param summary: in a few words, what stands between its messages and their readers
    :param until: the moment that these words end in, if they do
    :param at: the moment that all of it is of
    :param held: messages that a person holds
    :param parked: messages of campaigns that are not sent yet, or are paused
    :param limit: messages in any 60 minutes, or parts where it is a sender of SMS; -1: none, 0: it holds everything
    :param limit_seen_at: when a run found that in the pool; null if none did yet
    :param held_back: due, and held back by the limit
    :param next_slot_at: when the limit lets the next of it through, where a time can be told
    :param empty: when its queue is empty, the last of what is due having left; null where nothing is due, or nobody
        can tell
    :param empty_reason: why nobody can tell
    :param fault: why the last run could not send, null if it could
    :param remedy: what to do about it
    :param account: what is left on its account; null where its gateway does not tell, or was never asked
    """

    sender: str
    channel: str | None
    served: bool
    summary: str
    until: datetime | None
    at: datetime
    queue: Queue
    held: int
    parked: int
    limit: int
    limit_seen_at: datetime | None
    used: Usage
    held_back: int
    next_slot_at: datetime | None
    empty: Forecast | None
    empty_reason: str | None
    last_run: Run | None
    fault: str | None
    remedy: str | None
    fault_at: datetime | None
    account: Account | None


@shown(refused=None, note="", senders=[Sender])
class Senders(Answer):
    """How each sender stands.

    :param refused: why nothing is sent from this outbox at all: it may be a restored copy
    :param note: what is wrong with the list of senders in the Variable `notify_senders`
    """

    refused: str | None
    note: str
    senders: list[Sender]


@router.get("", response_model=Senders, summary="Ask how each sender stands", dependencies=[reads(Right.READ_SETTINGS)])
def list_senders() -> Senders:
    """What waits for each sender, what its limit allows, when its queue is empty, and how its last run ended."""
    served, note = settings.served()
    sending = airflow.state_of(airflow.NOTIFICATIONS)
    with reading() as connection:
        return Senders(
            refused=identity.doubt(connection, Witness().read()),
            note=note,
            senders=[_told(connection, one, served, sending) for one in senders.standings(connection, served)],
        )


@router.get(
    "/{name}",
    response_model=Sender,
    summary="Ask how a sender stands",
    dependencies=[reads(Right.READ_SETTINGS)],
    responses=problems(404),
)
def get_sender(name: Annotated[str, Path(description="The sender's connection id")]) -> Sender:
    """One of them; also one that no run serves, as long as something waits for it or ever had a run."""
    served, _ = settings.served()
    sending = airflow.state_of(airflow.NOTIFICATIONS)
    with reading() as connection:
        if name not in {*served, *senders.names(connection)}:
            raise NotFound(f"There is no sender {name!r}.")
        return _told(connection, senders.standing(connection, name), served, sending)


def _told(connection: Connection, one: Standing, served: Collection[str], sending: DagState) -> Sender:
    summary, until = one.answer(served)
    outlook = forecast.of_sender(connection, one, served, sending)
    queue = {name: getattr(one.queue, name) for name in Queue.model_fields if name != "due_parts"}
    queue |= {"due_parts": one.queue.parts.total}
    told = {name: getattr(one, name) for name in Standing.__dataclass_fields__}
    told |= {"served": one.sender in served, "summary": summary, "until": until}
    told |= {"channel": channel_of(one.sender), "queue": queue}
    told |= {"account": one.account.document() if one.account else None}
    return Sender.model_validate(told | {"empty": outlook.expected, "empty_reason": outlook.why or None})
