"""What the API tells of campaigns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Connection

from notify.storage import campaigns
from notify.web.api.answer import Answer, shown
from notify.web.api.handover import Stored
from notify.web.api.senders import Forecast

#: What its author wrote, as it may look.
WRITTEN = {
    "subject": "{{ first_name }}, our spring sale begins",
    "message": "Dear {{ first_name }}, come and see.",
    "html": False,
    "template": None,
    "data": {},
    "add_template": True,
    "language": None,
    "transliterate": False,
    "reply_to": None,
    "query_connection": None,
    "query": None,
    "note": None,
}


@shown(id=7, status="draft")
class CampaignState(Answer):
    """A campaign, and its state.

    :param id: its number
    :param status: draft, generating, generated, sending, paused, done or cancelled
    """

    id: int
    status: str


def state_of(connection: Connection, number: int) -> CampaignState:
    """A campaign's state now."""
    return CampaignState(id=number, status=campaigns.read(connection, number).status)


@shown(
    created=1000,
    waiting=250,
    sent=748,
    share=0.75,
    parts=250,
    states={"sent": 748, "queued": 250, "failed": 2},
    left_out={"suppressed": 3, "doubled": 1},
    last_sent_at="2026-11-30T09:12:00Z",
)
class CampaignProgress(Answer):
    """How far a campaign is.

    :param created: messages that were made of it
    :param waiting: those that have not left
    :param sent: those that left; whatever became of them then
    :param share: how much of it is over, from 0 to 1
    :param parts: what those that have not left count against the limit
    :param states: messages by their state
    :param left_out: recipients who got none, by the reason; `doubled` are those who were named more than once
    :param last_sent_at: when the last of them left
    """

    created: int
    waiting: int
    sent: int
    share: float
    parts: int
    states: Mapping[str, int]
    left_out: Mapping[str, int]
    last_sent_at: datetime | None


@shown(
    id=7,
    description="Spring sale",
    status="sending",
    channel="email",
    sender=None,
    site=None,
    classification="marketing",
    send_after=None,
    created_at="2026-11-30T08:00:00Z",
    created_by="anna (API)",
    changed_at="2026-11-30T08:00:00Z",
    generated_at="2026-11-30T08:03:00Z",
    started_at="2026-11-30T08:05:00Z",
    ended_at=None,
    progress=CampaignProgress,
)
class ListedCampaign(Answer):
    """A campaign in a list.

    :param id: its number
    :param description: what it is
    :param status: draft, generating, generated, sending, paused, done or cancelled
    :param channel: `email` or `sms`
    :param sender: that was named for it, if one was
    :param site: the branch in whose name it is sent
    :param classification: a word to find it by
    :param send_after: it is not sent before
    :param created_by: who wrote it, and by what door
    :param generated_at: when its messages were made
    :param started_at: when it was sent first
    :param ended_at: when it was done, or cancelled
    :param progress: how far it is; in a list only where that is asked for
    """

    id: int
    description: str
    status: str
    channel: str
    sender: str | None
    site: str | None
    classification: str | None
    send_after: datetime | None
    created_at: datetime
    created_by: str | None
    changed_at: datetime
    generated_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    progress: CampaignProgress | None = None


@shown(campaigns=[ListedCampaign], next="/notify/api/v1/campaigns?status=sending&before=7")
class Campaigns(Answer):
    """A page of campaigns, newest first.

    :param next: address of the next page; null at the end
    """

    campaigns: list[ListedCampaign]
    next: str | None


@shown(filename="sale.pdf", content_type="application/pdf", uri="s3://campaigns/sale.pdf")
class CarriedFile(Answer):
    """A file that the messages of a campaign carry.

    :param uri: where it was fetched; null where it was handed over, and for who may not read texts
    """

    filename: str
    content_type: str
    uri: str | None


@shown(
    **ListedCampaign.EXAMPLE,
    **WRITTEN,
    leaves_through="smtp_default",
    guarantee="at_least_once",
    attachments=[CarriedFile],
    groups=["customers"],
    typed=0,
    rows=1000,
    rows_read=1000,
    send_when_generated=False,
    fault=None,
    over=Forecast,
    over_reason=None,
    actions=["pause", "cancel", "refresh"],
)
class Campaign(ListedCampaign):
    """A campaign, and how far it is. Who may not read texts sees null for what it says and asks.

    :param leaves_through: the sender that its messages leave through; null where there is none for it
    :param subject: for who may read texts
    :param message: for who may read texts
    :param data: fields that are the same for all, for who may read texts
    :param typed: how many recipients were typed
    :param rows: how many came as CSV
    :param query: for who may read texts
    :param note: for who may read texts
    :param rows_read: how many recipients were read, by those who make its messages
    :param send_when_generated: whether it is sent as soon as its messages are made
    :param fault: why its messages could not be made, for who may read texts
    :param over: when its last message is expected to leave; of one that is generated, if it were sent now; else null
    :param over_reason: why nobody can tell
    :param actions: what can be done to it now: edit, generate, send, pause, resume, cancel, refresh, delete
    """

    leaves_through: str | None
    subject: str | None
    message: str | None
    html: bool
    template: str | None
    data: dict[str, Any] | None
    add_template: bool
    language: str | None
    transliterate: bool
    guarantee: str
    reply_to: str | None
    attachments: list[CarriedFile]
    groups: list[str]
    typed: int
    rows: int
    query_connection: str | None
    query: str | None
    note: str | None
    rows_read: int
    send_when_generated: bool
    fault: str | None
    progress: CampaignProgress
    over: Forecast | None
    over_reason: str | None
    actions: list[str]


@shown(place="row 17", reason="suppressed")
class LeftOut(Answer):
    """A recipient who gets none.

    :param place: where they stand: `row 17` of the CSV, `typed 3`, `query row 4`, or the login of a group's member
    :param reason: suppressed, unsubscribed, invalid, unreachable, incomplete or left
    """

    place: str
    reason: str


@shown(left_out=[LeftOut], next=None)
class LeftOuts(Answer):
    """Who gets none, by where they stand; groups' members come last.

    :param next: address of the next page; null at the end
    """

    left_out: list[LeftOut]
    next: str | None


@shown(place="row 2", recipient="anna@example.com", fields={"first_name": "Anna"})
class Named(Answer):
    """A recipient who was typed, or came as CSV.

    :param place: where they stand
    :param fields: what belongs to them, for the template
    """

    place: str
    recipient: str
    fields: Mapping[str, Any]


@shown(recipients=[Named], next=None)
class NamedOnes(Answer):
    """Recipients, in their order.

    :param next: address of the next page; null at the end
    """

    recipients: list[Named]
    next: str | None


@shown(messages=[Stored])
class Tested(Answer):
    """The messages that a test has put into the outbox."""

    messages: list[Stored]


@shown(files=1, messages=250)
class RefreshedFiles(Answer):
    """What came of it.

    :param files: how many files the campaign carries now
    :param messages: how many messages that have not left carry them
    """

    files: int
    messages: int
