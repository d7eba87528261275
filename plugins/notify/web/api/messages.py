"""Messages in the register: look for them, and ask what became of one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from notify.domain.channel import ChannelName
from notify.storage import bounces, register, sms_parts
from notify.storage.register import RegisteredMessage
from notify.storage.search import search
from notify.table import MEDIA_TYPES, Format
from notify.web import export, forecast
from notify.web.api import paging
from notify.web.api.answer import Answer, shown
from notify.web.api.description import problems, routes
from notify.web.api.request import reads
from notify.web.api.senders import Forecast
from notify.web.export import Wished
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.register import Before, Number, Wanted, mail_of
from notify.web.rights import Right

router = routes("/messages", "messages")

#: In what else the register may be had, beside JSON.
OTHERS = (Format.JSONL, Format.CSV)


# --- Answers ---------------------------------------------------------------------------------------------------------


@shown(
    id=4711,
    status="sent",
    status_reason=None,
    channel="email",
    parts=1,
    sender="smtp_default",
    site=None,
    kind="send_message",
    priority="normal",
    subject="[INV-2041] The load has finished",
    case_id="INV-2041",
    created_at="2026-11-30T08:00:00Z",
    not_before="2026-11-30T08:00:00Z",
    sent_at="2026-11-30T08:03:02Z",
)
class Registered(Answer):
    """A message in the register.

    :param id: its number in the register
    :param status: its state
    :param status_reason: why it is in it, where that is known
    :param channel: `email` or `sms`
    :param parts: of an SMS; of a mail 1
    :param site: the branch that it was handed over for
    :param kind: `send_message`, `digest`, or that of an event
    :param created_at: when it was handed over
    :param not_before: when it may leave
    """

    id: int
    status: str
    status_reason: str | None
    channel: str
    parts: int
    sender: str
    site: str | None
    kind: str
    priority: str
    subject: str
    case_id: str | None
    created_at: datetime
    not_before: datetime
    sent_at: datetime | None


@shown(**Registered.EXAMPLE, campaign_id=None, delivered_at=None, address="anna@example.com", recipients=1)
class Found(Registered):
    """A message in a page.

    :param campaign_id: the campaign that it was made for
    :param delivered_at: when it had arrived, where that is known
    :param address: of the first recipient
    :param recipients: how many there are
    """

    campaign_id: int | None
    delivered_at: datetime | None
    address: str | None
    recipients: int


@shown(messages=[Found], next="/notify/api/v1/messages?status=sent&before=4711", searched_to=None)
class Register(Answer):
    """A page of the register, newest first.

    :param next: address of the next page; null at the end
    :param searched_to: how far back this page looked, where no index serves its filter and it may be followed by others
    """

    messages: list[Found]
    next: str | None
    searched_to: datetime | None


@shown(role="to", address="anna@example.com", name="Anna", login="anna", outcome="accepted", code=250, response="OK")
class Recipient(Answer):
    """A recipient, and what came of them.

    :param role: to, cc or bcc
    :param login: the person's, where they are known
    :param outcome: pending, accepted, temporary, permanent or in_doubt
    :param code: the server's reply
    :param response: in the server's words
    """

    role: str
    address: str
    name: str
    login: str | None
    outcome: str
    code: int | None
    response: str | None


@shown(
    number=1,
    claimed_at="2026-11-30T08:03:00Z",
    begun_at="2026-11-30T08:03:01Z",
    ended_at="2026-11-30T08:03:02Z",
    outcome="accepted",
    code=250,
    response="OK",
)
class Attempt(Answer):
    """A try to send.

    :param outcome: null while it is under way
    """

    number: int
    claimed_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    code: int | None
    response: str | None


@shown(
    at="2026-11-30T08:03:02Z",
    from_status="sending",
    to_status="sent",
    attempt=1,
    reason=None,
    actor="Notifications/scheduled__2026-11-30T08:03:00+00:00",
)
class Moved(Answer):
    """A change of state.

    :param attempt: how many attempts there had been
    :param actor: who did it
    """

    at: datetime
    from_status: str
    to_status: str
    attempt: int
    reason: str | None
    actor: str | None


@shown(
    received_at="2026-11-30T08:10:00Z",
    address="anna@example.com",
    action="failed",
    status="5.1.1",
    blame="hard",
    counts=True,
    words="550 5.1.1 no such user",
    reporter="mx.example.com",
)
class Report(Answer):
    """What a delivery report said.

    :param action: failed, delayed, delivered, relayed or expanded
    :param status: its code, e.g. 5.1.1
    :param blame: hard, soft or none
    :param counts: whether it is held against the address
    """

    received_at: datetime
    address: str
    action: str
    status: str
    blame: str | None
    counts: bool
    words: str
    reporter: str


@shown(
    number=1,
    arrival="delivered",
    words="DELIVRD",
    reported_at="2026-11-30T08:03:09Z",
    price="0.0500",
    carrier="231.1",
)
class Arrival(Answer):
    """How it stands with a part of an SMS.

    :param number: of the part, from 1
    :param arrival: underway, delivered or undelivered
    :param words: how the gateway says it
    :param reported_at: when that was, by the gateway's clock
    :param price: what was charged for it, in the account's currency
    :param carrier: the network, as the gateway names it
    """

    number: int
    arrival: str
    words: str | None
    reported_at: datetime | None
    price: Decimal | None
    carrier: str | None


@shown(
    **Registered.EXAMPLE,
    message_id="<0e0c7c7d9a6f4c0b9d6a@firm.example>",
    guarantee="at_least_once",
    campaign_id=None,
    origin_dag_id=None,
    origin_run_id=None,
    created_by="loader (API)",
    expires_at=None,
    recipients=[Recipient],
)
class HandedOver(Registered):
    """A message with those whom it is for, and where it came from.

    :param message_id: its Message-ID
    :param campaign_id: the campaign that it was made for
    :param origin_dag_id: the DAG whose task handed it over, if one did
    :param origin_run_id: the run of that
    :param created_by: who else handed it over, and by what door
    """

    message_id: str
    guarantee: str
    campaign_id: int | None
    origin_dag_id: str | None
    origin_run_id: str | None
    created_by: str | None
    expires_at: datetime | None
    recipients: list[Recipient]


@shown(
    **HandedOver.EXAMPLE,
    delivered_at=None,
    leaves=None,
    leaves_reason=None,
    has_body=True,
    attempts=[Attempt],
    history=[Moved],
    reports=[],
    arrivals=[],
)
class Message(HandedOver):
    """A message with all that is known of it, its text aside.

    :param delivered_at: when it had arrived, where that is known
    :param leaves: when it is expected to leave; null where it is not queued, or nobody can tell
    :param leaves_reason: why nobody can tell
    :param has_body: whether its text is still kept
    :param attempts: to send it
    :param history: of its states
    :param reports: that came back
    :param arrivals: of the parts that an SMS gateway took, those of each attempt
    """

    delivered_at: datetime | None
    leaves: Forecast | None = None
    leaves_reason: str | None = None
    has_body: bool
    attempts: list[Attempt] = Field(validation_alias="tries")
    history: list[Moved] = Field(validation_alias="events")
    reports: list[Report] = Field(default_factory=list)
    arrivals: list[Arrival] = Field(default_factory=list)


@shown(**HandedOver.EXAMPLE, language="en", origin_task_id=None, attempts=1, size=4242, text=None)
class Entry(HandedOver):
    """A message as an export has it.

    :param origin_task_id: the task that handed it over
    :param attempts: how many there were to send it
    :param size: in bytes, attachments included
    :param text: what it says; there only with `bodies`
    """

    language: str | None
    origin_task_id: str | None
    attempts: int
    size: int
    text: str | None = None


@shown(name="Subject", value="[INV-2041] The load has finished")
class Header(Answer):
    """A line of a message's head."""

    name: str
    value: str


@shown(
    headers=[Header],
    text="All invoices are in.\n",
    html="<p>All invoices are in.</p>",
    source="Subject: [INV-2041] The load has finished\r\n…",
    cut=False,
)
class Content(Answer):
    """What a message says.

    :param headers: those that were written when it was handed over; From, Date and Reply-To are written when it leaves
    :param source: as it is stored, without attachments
    :param cut: whether the source is longer
    """

    headers: list[Header]
    text: str | None
    html: str | None
    source: str
    cut: bool


# --- The register ----------------------------------------------------------------------------------------------------


@router.get("", response_model=Register, summary="Look for messages", dependencies=[reads(Right.READ_REGISTER)])
def list_messages(
    request: Request, wanted: Wanted, before: Before = None, limit: paging.Limit = paging.USUAL
) -> dict[str, object]:
    """The register, newest first, by any of the filters together.

    A page has fewer messages than it may have, and yet a `next`, where no index serves its filter: follow it.
    """
    with reading() as connection:
        found = search(connection, wanted, before=before, limit=limit)
    following = None if found.next_before is None else paging.link(request, before=found.next_before)
    return {"messages": found.found, "next": following, "searched_to": found.searched_to}


@router.get(
    "/export",
    response_model=list[Entry],
    summary="Take the register along as a file",
    responses={
        200: {"description": "The file", "content": {MEDIA_TYPES[one]: {} for one in (Format.JSONL, Format.CSV)}}
    },
)
def export_messages(user: Annotated[BaseUser, reads(Right.READ_REGISTER)], wanted: Wanted, wish: Wished) -> Response:
    """All messages that fit the filters, newest first, with their recipients, as JSON or CSV.

    It has no pages: the file is made while it is fetched, however long the register is. Each message is as it was when
    it was read. In CSV an apostrophe stands before whatever a spreadsheet would take for a formula, telephone numbers
    among it; with `raw` nothing is put before anything.
    """
    return export.answer(user, wanted, wish, "API", Format.JSON)


@router.get(
    "/{number}",
    response_model=Message,
    summary="Ask what became of a message",
    dependencies=[reads(Right.READ_REGISTER)],
    responses=problems(404),
)
def get_message(number: Number) -> Message:
    """A message with its recipients, its attempts, its history, and what came back; without its text.

    Of one that is queued also when it is expected to leave.
    """
    with reading() as connection:
        found = register.read(connection, number)
        reports = bounces.of_message(connection, number)
        arrivals = sms_parts.of_message(connection, number) if found.channel is ChannelName.SMS else ()
        outlook = forecast.of_message(connection, found)
    told = {name: getattr(found, name) for name in RegisteredMessage.__dataclass_fields__}
    told |= {"leaves": outlook.expected, "leaves_reason": outlook.why or None}
    return Message.model_validate(told | {"reports": reports, "arrivals": arrivals})


@router.get(
    "/{number}/content",
    response_model=Content,
    summary="Read a message",
    dependencies=[reads(Right.READ_BODIES)],
    responses=problems(404),
)
def get_content(number: Number) -> dict[str, object]:
    """What a message says: its text, its HTML, its source."""
    with reading() as connection:
        register.read(connection, number)  # or there is no such message
        mail = mail_of(connection, number)
    if mail is None:
        raise NotFound(
            f"Message {number} has no text any more: Housekeeping has removed it after the time in notify_keep_bodies, "
            "or a person was erased."
        )
    headers = [{"name": name, "value": value} for name, value in mail.headers]
    return {"headers": headers, "text": mail.text, "html": mail.html, "source": mail.source, "cut": mail.cut}
