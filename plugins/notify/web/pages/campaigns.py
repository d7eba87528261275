"""Campaigns: what is mailed to many, how far each is, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.engine import Connection

from notify import settings
from notify.campaigns import authoring, previewing, trying
from notify.domain.address import split_names
from notify.domain.campaign import Campaign, CampaignAction, CampaignStatus, Progress
from notify.domain.channel import ChannelName
from notify.domain.gsm import outside, shown
from notify.exceptions import Fault, InvalidCampaign
from notify.storage import campaign_messages, campaigns, drains, outbox
from notify.storage.register import StoredText
from notify.web import airflow, audit, forecast, forgery, headers
from notify.web.campaigns import Wish, act, record, sender_of, view
from notify.web.fields import OPTIONAL
from notify.web.forecast import Outlook
from notify.web.mail import Mail
from notify.web.outbox import changing, reading
from notify.web.pages.layout import page
from notify.web.problems import NotFound, UnusableQuery
from notify.web.register import Before, Number, text_of
from notify.web.rights import Right, requires

router = APIRouter(prefix="/campaigns")

#: Campaigns on a page: of each it is counted how far it is.
PAGE = 20

#: How people call the channels.
CHANNELS = {ChannelName.EMAIL: "mail", ChannelName.SMS: "SMS"}

#: Of the messages of a test, so many are linked.
MOST_TOLD = 10

#: What this page tells a campaign by a button; files have a form of their own.
STEERED = frozenset(CampaignAction) - {CampaignAction.EDIT, CampaignAction.REFRESH}

#: States in which something goes on by itself: their page looks again after a while.
MOVING = frozenset({CampaignStatus.GENERATING, CampaignStatus.SENDING})

#: States before anything of it leaves: what the first recipient would get is shown.
_BEFORE = frozenset({CampaignStatus.DRAFT, CampaignStatus.GENERATED})


@dataclass(frozen=True, slots=True)
class Line:
    """A campaign in the list."""

    campaign: Campaign
    progress: Progress
    outlook: Outlook


@dataclass(frozen=True, slots=True)
class Preview:
    """What the first recipient gets, or why that cannot be told.

    :param place: where they stand; empty: nobody is known before the messages are made
    :param outside: of an SMS, the characters that GSM's alphabet lacks
    """

    problem: str = ""
    place: str = ""
    subject: str = ""
    text: str = ""
    has_html: bool = False
    parts: int = 1
    outside: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """A test that could not be sent.

    :param recipients: as they were typed
    :param faults: what is wrong
    """

    recipients: str = ""
    faults: tuple[Fault, ...] = ()


_NO_TRIAL = Trial()


@router.get("", response_class=HTMLResponse)
def listing(  # noqa: PLR0917 - one for each field
    request: Request,
    user: Annotated[BaseUser, requires(Right.READ_REGISTER)],
    status: Annotated[CampaignStatus | None, OPTIONAL, Query()] = None,
    text: str = "",
    before: Before = None,
    read: Annotated[int | None, Query(ge=0)] = None,
    imported: Annotated[list[Number] | None, Query()] = None,
    known: Annotated[list[Number] | None, Query()] = None,
) -> Response:
    """All campaigns, newest first; and what became of a file of them."""
    wanted = text_of("text", text.strip()) or ""
    with reading() as connection:
        statuses = () if status is None else (status,)
        found = campaigns.page(connection, statuses=statuses, text=wanted, before=before, limit=PAGE)
        lines = [_line(connection, one) for one in found.found]
    return page(
        request,
        "campaigns.html",
        title="Campaigns",
        user=user,
        lines=lines,
        channels=CHANNELS,
        statuses=list(CampaignStatus),
        state=status,
        text=wanted,
        first=before is None,
        next_before=found.next_before,
        filters=[(name, value) for name, value in (("status", status or ""), ("text", wanted)) if value],
        read=read,
        imported=imported or [],
        known=known or [],
    )


def _line(connection: Connection, campaign: Campaign) -> Line:
    progress = campaign_messages.progress(connection, campaign)
    sender = sender_of(connection, campaign) if campaign.status is CampaignStatus.SENDING else None
    outlook = forecast.of_campaign(connection, campaign, sender, progress.states) if sender else Outlook()
    return Line(campaign, progress, outlook)


# --- One of them -----------------------------------------------------------------------------------------------------


@router.get("/{number}", response_class=HTMLResponse)
def campaign(
    request: Request,
    number: Number,
    user: Annotated[BaseUser, requires(Right.READ_REGISTER)],
    tested: Annotated[list[Number] | None, Query()] = None,
    refreshed: bool = False,
) -> Response:
    """How far a campaign is, and what can be done about it."""
    return _shown(request, user, number, tested=tested or (), refreshed=refreshed)


def _shown(
    request: Request,
    user: BaseUser,
    number: int,
    *,
    trial: Trial = _NO_TRIAL,
    tested: Iterable[int] = (),
    refreshed: bool = False,
) -> HTMLResponse:
    reads = Right.READ_BODIES.of(user)
    with reading() as connection:
        found = view(connection, number)
        preview = _preview(connection, number) if reads and found.campaign.status in _BEFORE else None
        limit = drains.last_limit(connection, found.sender) if found.sender else None
        now = outbox.now(connection)
    with airflow.metadata() as session:
        history = audit.of_campaign(session, number)
        [making] = airflow.dag_states(session, [airflow.MASS_MAILING])
    return page(
        request,
        "campaign.html",
        title=f"{found.campaign.description} · Campaign {number}",
        user=user,
        status=422 if trial.faults else 200,
        view=found,
        campaign=found.campaign,
        progress=found.progress,
        actions={one.value for one in found.actions},
        moving=found.campaign.status in MOVING or found.campaign.unsettled,
        preview=preview,
        channels=CHANNELS,
        limit=limit,
        making=making,
        history=history,
        trial=trial,
        tested=list(tested),
        refreshed=refreshed,
        zone=_zone(),
        now=now,
    )


def _zone() -> str:
    """The zone that moments are typed in."""
    return settings.timezone()


def _preview(connection: Connection, number: int) -> Preview:
    try:
        found = previewing.preview(connection, number, settings.hand_over_settings())
    except InvalidCampaign as invalid:
        return Preview(problem=". ".join(fault.problem for fault in invalid.faults))
    message = found.message
    mail = Mail.of(StoredText(message.headers, message.body, message.boundary is not None))
    text = mail.text or ""
    return Preview(
        place=found.place,
        subject=message.subject,
        text=text,
        has_html=mail.html is not None,
        parts=message.parts,
        outside=" ".join(map(shown, outside(text))) if message.channel is ChannelName.SMS else "",
    )


@router.get("/{number}/html", response_class=HTMLResponse, dependencies=[requires(Right.READ_BODIES)])
def html(number: Number) -> Response:
    """What the first recipient gets as it looks, for a frame in which it can do and fetch nothing."""
    with reading() as connection:
        message = previewing.preview(connection, number, settings.hand_over_settings()).message
    mail = Mail.of(StoredText(message.headers, message.body, message.boundary is not None))
    if mail.html is None:
        raise NotFound(f"The messages of campaign {number} have text only.")
    return HTMLResponse(mail.html, headers={"Content-Security-Policy": headers.MAIL_POLICY})


# --- What can be done ------------------------------------------------------------------------------------------------


@router.post("/{number}/copy")
def copy(
    request: Request,
    number: Number,
    user: Annotated[BaseUser, requires(Right.HAND_OVER)],
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Write a campaign once more, and open that to be changed."""
    forgery.require_token(request, user, csrf_token)
    with changing(user, "page") as connection:
        new = authoring.copy(connection, number)
        record(user, "copy", number, copy=new)
    return _to(request, f"{new}/edit" if Right.READ_BODIES.of(user) else str(new))


@router.post("/{number}/test")
def try_out(
    request: Request,
    number: Number,
    user: Annotated[BaseUser, requires(Right.HAND_OVER)],
    recipients: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Send a campaign to some, to see what the others would get."""
    forgery.require_token(request, user, csrf_token)
    named = split_names(text_of("recipients", recipients) or "")
    try:
        with changing(user, "page") as connection:
            sent = trying.send_test(connection, number, named, settings.hand_over_settings())
            record(user, "test", number, messages=[one.id for one in sent])
    except InvalidCampaign as invalid:
        return _shown(request, user, number, trial=Trial(recipients, invalid.faults))
    return _to(request, f"{number}?{'&'.join(f'tested={one.id}' for one in sent[:MOST_TOLD])}")


@router.post("/{number}/{action}")
def steer(  # noqa: PLR0917 - one for each field
    request: Request,
    number: Number,
    action: str,
    user: Annotated[BaseUser, requires(Right.HAND_OVER)],
    send: Annotated[bool, Form()] = False,
    send_after: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
) -> Response:
    """Tell a campaign to do something; what that takes longer than a request may, MassMailing does."""
    forgery.require_token(request, user, csrf_token)
    if action not in STEERED:
        raise NotFound(f"There is no action {action!r}.")
    wish = Wish(send=send, send_after=_moment(send_after))
    act(user, "page", number, CampaignAction(action), wish)
    return _to(request, "" if action == CampaignAction.DELETE else str(number))


def _moment(text: str) -> datetime | None:
    """A moment as its field has it: by the clock of the zone that is named beside it."""
    if not text.strip():
        return None
    with suppress(ValueError):
        at = datetime.fromisoformat(text.strip())
        if 1970 <= at.year <= 9000:
            return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(_zone()))
    raise UnusableQuery(f"send_after: {text!r} is no date and time; write, e.g., 2026-03-02T14:00.")


def _to(request: Request, place: str) -> Response:
    return RedirectResponse(f"{request.scope['root_path']}/campaigns/{place}".rstrip("/"), status_code=303)
