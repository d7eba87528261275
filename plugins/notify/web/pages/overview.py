"""Overview: whether mail flows, how much of the hour is used, what became of the last day, and what runs next."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from notify import settings
from notify.channels import channel_of
from notify.storage import activity, balance, identity, outbox, senders
from notify.web import airflow, forecast
from notify.web.outbox import reading
from notify.web.pages.layout import page
from notify.web.plot import OUTCOMES, plot
from notify.web.rights import Right, requires
from notify.witness import Witness

router = APIRouter()

#: What is not done while a DAG of ours does not come by itself.
IDLE = {
    "Notifications": "no message is sent",
    "UserNotifications": "what is put aside stays there",
    "Reminders": "nobody is told of deadlines",
    "MassMailing": "no campaign's messages are made",
    "DeliveryReports": "nobody learns which mails came back",
    "Housekeeping": "nothing old is removed",
}


@router.get("/", response_class=HTMLResponse)
def overview(request: Request, user: Annotated[BaseUser, requires(Right.READ_SETTINGS)]) -> Response:
    """How each sender stands, the last day, and what runs next."""
    served, note = settings.served()
    with airflow.metadata() as session:
        dags = airflow.dag_states(session)
    with reading() as connection:
        now = outbox.now(connection)
        copy = identity.doubt(connection, Witness().read())
        standings = senders.standings(connection, served)
        outlooks = {one.sender: forecast.of_sender(connection, one, served, dags[0]) for one in standings}
        day = plot(activity.last_day(connection))
        checked = balance.last(connection)
    channels = {one.sender: channel_of(one.sender) for one in standings}
    return page(
        request,
        "overview.html",
        title="Overview",
        user=user,
        standings=standings,
        outlooks=outlooks,
        channels=channels,
        served=served,
        sites=settings.sites(one.sender for one in standings),
        copy=copy,
        note=note,
        dags=dags,
        idle=IDLE,
        now=now,
        zone=settings.variable("notify_timezone", settings.DEFAULT_TIMEZONE),
        plot=day,
        outcomes=OUTCOMES,
        checked=checked,
    )
