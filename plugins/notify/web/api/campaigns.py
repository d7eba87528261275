"""Campaigns: write them, steer them, ask how far they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.campaigns import authoring, trying
from notify.domain.campaign import CampaignAction, CampaignDraft, CampaignStatus, Fate
from notify.domain.message import Attachment, Moment, Names, moment_after
from notify.settings import hand_over_settings
from notify.storage import campaign_recipients, campaigns, outbox
from notify.web.api import paging
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, schema_of, takes
from notify.web.api.handover import Stored
from notify.web.api.request import DOOR, Change, changes, reads
from notify.web.api.senders import Forecast
from notify.web.campaigns import CONTENT, CampaignView, Wish, follow, record, tell, view
from notify.web.fields import OPTIONAL
from notify.web.outbox import reading
from notify.web.problems import UnusableQuery
from notify.web.register import Before, text_of
from notify.web.rights import Right

router = routes("/campaigns", "campaigns")

#: As a campaign may look that is written, and changed.
EXAMPLE = {
    "description": "Spring sale",
    "subject": "{{ first_name }}, our spring sale begins",
    "message": "Dear {{ first_name }}, come and see.",
    "csv": "email,first_name\nanna@example.com,Anna\nbrian@example.com,Brian\n",
    "classification": "marketing",
}
EDIT_EXAMPLE = {"description": "Spring sale, north", "note": "Asked for by Eve"}

_Number = Annotated[int, Path(description="The campaign's number", ge=1, le=2**63 - 1)]
_Steering = Annotated[Change, changes(Right.HAND_OVER)]


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


# --- Answers ---------------------------------------------------------------------------------------------------------


@shown(id=7, status="draft")
class CampaignState(Answer):
    """A campaign, and its state.

    :param id: its number
    :param status: draft, generating, generated, sending, paused, done or cancelled
    """

    id: int
    status: str


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


@shown(campaigns=[ListedCampaign], next="/notify/api/v1/campaigns?status=sending&before=7")
class Campaigns(Answer):
    """A page of campaigns, newest first.

    :param next: address of the next page; null at the end
    """

    campaigns: list[ListedCampaign]
    next: str | None


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
    progress=CampaignProgress,
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


# --- Looking at them -------------------------------------------------------------------------------------------------


@router.get("", response_model=Campaigns, summary="Look for campaigns", dependencies=[reads(Right.READ_REGISTER)])
def list_campaigns(
    request: Request,
    status: Annotated[
        list[CampaignStatus] | None, OPTIONAL, Query(description="In one of these states; may be given again")
    ] = None,
    text: Annotated[str, Query(description="A part of the description, or of the classification")] = "",
    before: Before = None,
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """Campaigns, newest first, without what they say."""
    wanted = text_of("text", text) or ""
    with reading() as connection:
        found = campaigns.page(connection, statuses=status or (), text=wanted, before=before, limit=limit)
    following = None if found.next_before is None else paging.link(request, before=found.next_before)
    return {"campaigns": found.found, "next": following}


@router.get("/{number}", response_model=Campaign, summary="Ask how far a campaign is", responses=problems(404))
def get_campaign(number: _Number, user: Annotated[BaseUser, reads(Right.READ_REGISTER)]) -> Campaign:
    """A campaign with all that its author wrote, how far it is, when it is over, and what can be done to it now."""
    with reading() as connection:
        found = view(connection, number, places=0)
    return _shown(found, whole=Right.READ_BODIES.of(user))


def _shown(found: CampaignView, *, whole: bool) -> Campaign:
    """What is told of a campaign.

    :param whole: also what it says
    """
    files = [
        {"filename": one.filename, "content_type": one.content_type, "uri": one.uri if whole else None}
        for one in found.files
    ]
    told = {name: getattr(found.campaign, name) for name in Campaign.model_fields if hasattr(found.campaign, name)}
    told |= {"guarantee": found.campaign.promise, "groups": list(found.campaign.groups), "attachments": files}
    told |= {} if whole else dict.fromkeys(CONTENT)
    return Campaign.model_validate(
        told
        | {
            "leaves_through": found.sender,
            "typed": found.typed,
            "rows": found.rows,
            "progress": found.progress,
            "over": found.outlook.expected,
            "over_reason": found.outlook.why or None,
            "actions": list(found.actions),
        }
    )


_Reasons = Annotated[
    list[Fate] | None, OPTIONAL, Query(description="Only those of this reason; may be given again", alias="reason")
]


@router.get(
    "/{number}/left-out",
    response_model=LeftOuts,
    summary="Ask who gets none of a campaign",
    dependencies=[reads(Right.READ_REGISTER)],
    responses=problems(404),
)
def list_left_out(
    request: Request,
    number: _Number,
    reasons: _Reasons = None,
    after: paging.After = "",
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """Where those stand in its sources who got no message, and why: to correct them there.

    Those who were named more than once are only counted, see `left_out` of the campaign.
    """
    wanted = [fate for fate in reasons or Fate if fate is not Fate.CREATED]
    place = _place_of(after)
    with reading() as connection:
        campaigns.read(connection, number)
        found = campaign_recipients.left_out(connection, number, wanted, place, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    following = None if last is None else paging.link(request, after=f"{last.number}_{last.place}")
    told = [{"place": one.place, "reason": one.fate} for one in found[:limit]]
    return {"left_out": told, "next": following}


def _place_of(text: str) -> tuple[int, str] | None:
    """Where a page goes on; None where nothing stands there.

    :raises UnusableQuery: no page before it said so
    """
    if not text:
        return None
    number, _, place = (text_of("after", text) or "").partition("_")
    if not place or not (number.isascii() and number.isdecimal() and int(number[:20]) < 2**63):
        raise UnusableQuery(f"after: {text!r} is no place in the list; begin at its first page.")
    return int(number), place


@router.get(
    "/{number}/recipients",
    response_model=NamedOnes,
    summary="Read whom a campaign names",
    dependencies=[reads(Right.READ_BODIES)],
    responses=problems(404),
)
def list_recipients(
    request: Request,
    number: _Number,
    after: Annotated[int, Query(description="Where to go on; the link `next` has it", ge=0, le=2**31 - 1)] = 0,
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """Who was typed or came as CSV, with what belongs to them; not the members of groups, nor the rows of a query."""
    with reading() as connection:
        campaigns.read(connection, number)
        found = campaigns.rows_after(connection, number, after)
    following = None if len(found) <= limit else paging.link(request, after=found[limit - 1][0])
    return {"recipients": [row for _, row in found[:limit]], "next": following}


# --- Writing them ----------------------------------------------------------------------------------------------------


def _state(connection: Connection, number: int) -> CampaignState:
    return CampaignState(id=number, status=campaigns.read(connection, number).status)


@router.post(
    "",
    status_code=201,
    response_model=CampaignState,
    summary="Write a campaign",
    openapi_extra=takes(CampaignDraft, EXAMPLE),
    responses=problems(*OF_BODY, 409),
)
def create_campaign(change: _Steering) -> Response:
    """Store a campaign as a draft; nothing is made or sent of it yet.

    What is wrong is told at once, all of it, and then nothing is stored.
    """
    fields, settings = change.fields(), hand_over_settings()

    def work(connection: Connection) -> CampaignState:
        number, _ = authoring.create(connection, fields, settings)
        record(change.user, "create", number)
        return _state(connection, number)

    return change.once(work, 201)


_EDIT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        name: {"$ref": f"#/components/schemas/CampaignDraft/properties/{name}"} for name in CampaignDraft.model_fields
    },
}


@router.patch(
    "/{number}",
    response_model=CampaignState,
    summary="Change a campaign",
    openapi_extra=takes(_EDIT, EDIT_EXAMPLE),
    responses=problems(*OF_BODY, 404, 409),
)
def edit_campaign(number: _Number, change: _Steering) -> Response:
    """Change the fields that are given; null takes one back. Of `recipients` and `csv` each stays unless given.

    A campaign that was generated is a draft again, and what was made of it goes when it is generated; but for
    `description`, `note` and `classification`, which can be changed in every state.
    """
    fields, settings = change.fields(), hand_over_settings()

    def work(connection: Connection) -> CampaignState:
        authoring.edit(connection, number, fields, settings)
        record(change.user, "edit", number, fields=sorted(fields))
        return _state(connection, number)

    return change.once(work)


@router.delete("/{number}", status_code=204, summary="Forget a campaign", responses=problems(404, 409))
def delete_campaign(number: _Number, change: _Steering) -> Response:
    """Forget a campaign of which nothing was sent, with the messages that were made of it."""

    def work(connection: Connection) -> None:
        tell(connection, change.user, number, CampaignAction.DELETE)

    return change.once(work)


@router.post(
    "/{number}/copy",
    status_code=201,
    response_model=CampaignState,
    summary="Write a campaign once more",
    responses=problems(404, 409),
)
def copy_campaign(number: _Number, change: _Steering) -> Response:
    """A new draft with the same fields, recipients and files; the answer has its number."""

    def work(connection: Connection) -> CampaignState:
        new = authoring.copy(connection, number)
        record(change.user, "copy", number, copy=new)
        return _state(connection, new)

    return change.once(work, 201)


# --- Steering them ---------------------------------------------------------------------------------------------------


class _When(BaseModel):
    """From when on it is sent."""

    model_config = ConfigDict(extra="forbid")

    send_after: Moment = Field(default=None, description="Not before: a time with its zone, or a delay such as PT2H")


class _Generate(_When):
    """Whether it is sent as soon as its messages are made."""

    send: bool = Field(default=False, description="Send it as soon as its messages are made", strict=True)


class _Nothing(BaseModel):
    """Nothing goes with it."""

    model_config = ConfigDict(extra="forbid")


class _Refresh(BaseModel):
    """Which files."""

    model_config = ConfigDict(extra="forbid")

    attachments: list[Attachment] | None = Field(
        default=None, description="Other files instead of all; left out: the same, as they are now where they lie"
    )


class _Test(BaseModel):
    """Who gets a test."""

    model_config = ConfigDict(extra="forbid")

    recipients: Names = Field(description="Addresses, of an SMS numbers, or logins")
    fields: dict[str, Any] | None = Field(
        default=None, description="Personal fields to show; left out: those of the first row of its CSV"
    )


def _steers(action: CampaignAction, model: type[BaseModel]) -> Callable[..., Response]:
    """A route that tells a campaign to do something, and lets its messages follow for a while."""

    def act(number: _Number, change: _Steering) -> Response:
        given = change.read(model, required=False, nested=False)

        def work(connection: Connection) -> CampaignState:
            after = moment_after(getattr(given, "send_after", None), outbox.now(connection))
            tell(connection, change.user, number, action, Wish(send=getattr(given, "send", False), send_after=after))
            return _state(connection, number)

        answer = change.once(work)
        follow(change.user, DOOR, number)
        return answer

    return act


@dataclass(frozen=True, slots=True)
class _Does:
    """What an action does, in words.

    :param title: done to a campaign
    :param more: what comes of it
    :param takes: what goes with it
    :param example: as that may look
    """

    title: str
    more: str
    takes: type[BaseModel] = _Nothing
    example: Mapping[str, Any] | None = None


_DOES = {
    CampaignAction.GENERATE: _Does(
        "Make the messages of a campaign",
        "The DAG MassMailing makes them, at once if you may trigger it, and they are held. Done once more, whoever has "
        "one keeps it, and only who is new gets one.",
        _Generate,
        {"send": True, "send_after": "PT2H"},
    ),
    CampaignAction.SEND: _Does(
        "Send a campaign",
        "Its messages go into the queue, as bulk, at once or for a time to come.",
        _When,
        {"send_after": "2099-01-31T08:00+01:00"},
    ),
    CampaignAction.PAUSE: _Does(
        "Pause a campaign", "Nothing of it leaves until it is resumed; what a server has been given is gone."
    ),
    CampaignAction.RESUME: _Does(
        "Let a paused campaign go on", "At once, or from a moment on.", _When, {"send_after": "PT1H"}
    ),
    CampaignAction.CANCEL: _Does("Cancel a campaign", "What has not left is taken back for good. It can be copied."),
}

for _action, _does in _DOES.items():
    router.add_api_route(
        f"/{{number}}/{_action}",
        _steers(_action, _does.takes),
        methods=["POST"],
        name=f"{_action}_campaign",
        response_model=CampaignState,
        summary=_does.title,
        description=_does.more,
        openapi_extra=takes(_does.takes.model_json_schema(), _does.example, required=False) if _does.example else None,
        responses=problems(*OF_BODY, 404, 409),
    )


@router.post(
    "/{number}/refresh",
    response_model=RefreshedFiles,
    summary="Put files anew into what has not left",
    openapi_extra=takes(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "attachments": {
                    "type": ["array", "null"],
                    "items": schema_of(Attachment),
                    "description": "Other files instead of all; left out: the same, as they are now where they lie",
                }
            },
        },
        {"attachments": []},
        required=False,
    ),
    responses=problems(*OF_BODY, 404, 409),
)
def refresh_campaign(number: _Number, change: _Steering) -> Response:
    """Fetch the files of a campaign again from where they lie, or take others instead of all."""
    given = change.read(_Refresh, required=False, nested=False)

    def work(connection: Connection) -> RefreshedFiles:
        wish = Wish(attachments=given.attachments)
        done = tell(connection, change.user, number, CampaignAction.REFRESH, wish)
        return RefreshedFiles.model_validate(done)

    return change.once(work)


@router.post(
    "/{number}/test",
    response_model=Tested,
    summary="Send a campaign to some, to see it",
    openapi_extra=takes(
        _Test.model_json_schema(), {"recipients": ["anna@example.com"], "fields": {"first_name": "Anna"}}
    ),
    responses=problems(*OF_BODY, 404, 409),
)
def test_campaign(number: _Number, change: _Steering) -> Response:
    """What the others would get goes to these at once, in whatever state it is; `[Test]` stands before the subject."""
    given, settings = change.read(_Test, nested=False), hand_over_settings()

    def work(connection: Connection) -> Tested:
        sent = trying.send_test(connection, number, given.recipients, settings, fields=given.fields)
        record(change.user, "test", number, messages=[one.id for one in sent])
        return Tested.model_validate({"messages": sent})

    return change.once(work)
