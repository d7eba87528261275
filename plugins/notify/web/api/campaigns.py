"""Campaigns: write them, ask how far they are."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Path, Query, Request
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.campaigns import authoring
from notify.domain.campaign import CampaignAction, CampaignDraft, CampaignStatus, Fate
from notify.settings import hand_over_settings
from notify.storage import campaign_messages, campaign_recipients, campaigns
from notify.web.api import paging
from notify.web.api.campaign_answers import (
    Campaign,
    CampaignProgress,
    Campaigns,
    CampaignState,
    LeftOuts,
    ListedCampaign,
    NamedOnes,
    state_of,
)
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import Change, changes, reads
from notify.web.campaigns import CONTENT, CampaignView, record, tell, view
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

#: In an address.
Number = Annotated[int, Path(description="The campaign's number", ge=1, le=2**63 - 1)]
#: A change, by somebody who may hand over.
Steering = Annotated[Change, changes(Right.HAND_OVER)]


# --- Looking at them -------------------------------------------------------------------------------------------------


@router.get("", response_model=Campaigns, summary="Look for campaigns", dependencies=[reads(Right.READ_REGISTER)])
def list_campaigns(
    request: Request,
    *,
    status: Annotated[
        list[CampaignStatus] | None, OPTIONAL, Query(description="In one of these states; may be given again")
    ] = None,
    text: Annotated[str, Query(description="A part of the description, or of the classification")] = "",
    progress: Annotated[bool, Query(description="With how far each is, which takes longer")] = False,
    before: Before = None,
    limit: paging.Limit = paging.USUAL,
) -> Campaigns:
    """Campaigns, newest first, without what they say."""
    wanted = text_of("text", text) or ""
    with reading() as connection:
        found = campaigns.page(connection, statuses=status or (), text=wanted, before=before, limit=limit)
        listed = [ListedCampaign.model_validate(one) for one in found.found]
        if progress:
            for one, told in zip(found.found, listed, strict=True):
                told.progress = CampaignProgress.model_validate(campaign_messages.progress(connection, one))
    following = None if found.next_before is None else paging.link(request, before=found.next_before)
    return Campaigns(campaigns=listed, next=following)


@router.get("/{number}", response_model=Campaign, summary="Ask how far a campaign is", responses=problems(404))
def get_campaign(number: Number, user: Annotated[BaseUser, reads(Right.READ_REGISTER)]) -> Campaign:
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
    number: Number,
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
    number: Number,
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


@router.post(
    "",
    status_code=201,
    response_model=CampaignState,
    summary="Write a campaign",
    openapi_extra=takes(CampaignDraft, EXAMPLE),
    responses=problems(*OF_BODY, 409),
)
def create_campaign(change: Steering) -> Response:
    """Store a campaign as a draft; nothing is made or sent of it yet.

    What is wrong is told at once, all of it, and then nothing is stored.
    """
    fields, settings = change.fields(), hand_over_settings()

    def work(connection: Connection) -> CampaignState:
        number, _ = authoring.create(connection, fields, settings)
        record(change.user, "create", number)
        return state_of(connection, number)

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
def edit_campaign(number: Number, change: Steering) -> Response:
    """Change the fields that are given; null takes one back. Of `recipients` and `csv` each stays unless given.

    A campaign that was generated is a draft again, and what was made of it goes when it is generated; but for
    `description`, `note` and `classification`, which can be changed in every state.
    """
    fields, settings = change.fields(), hand_over_settings()

    def work(connection: Connection) -> CampaignState:
        authoring.edit(connection, number, fields, settings)
        record(change.user, "edit", number, fields=sorted(fields))
        return state_of(connection, number)

    return change.once(work)


@router.delete("/{number}", status_code=204, summary="Forget a campaign", responses=problems(404, 409))
def delete_campaign(number: Number, change: Steering) -> Response:
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
def copy_campaign(number: Number, change: Steering) -> Response:
    """A new draft with the same fields, recipients and files; the answer has its number."""

    def work(connection: Connection) -> CampaignState:
        new = authoring.copy(connection, number)
        record(change.user, "copy", number, copy=new)
        return state_of(connection, new)

    return change.once(work, 201)
