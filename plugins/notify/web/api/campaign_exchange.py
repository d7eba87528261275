"""Campaigns as files: taken along, and brought back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.campaigns import exchange
from notify.domain.campaign import CampaignDraft
from notify.table import MEDIA_TYPES, Format
from notify.web import campaign_exchange
from notify.web.api.answer import Answer, shown
from notify.web.api.campaign_answers import WRITTEN, CampaignProgress, ListedCampaign
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import DOOR, Change, changes, reads
from notify.web.campaign_exchange import Chosen
from notify.web.export import Shaped
from notify.web.problems import Malformed, WrongMedia
from notify.web.rights import Right

router = routes("/campaigns", "campaigns")

#: In what else campaigns come and go, beside JSON.
OTHERS = (Format.JSONL, Format.CSV)

#: What a body may say that it is.
_MEDIA = {MEDIA_TYPES[one].partition(";")[0]: one for one in OTHERS}

#: How far it is, in an export.
_COUNTS = ("created", "sent", "waiting", "left_out", "states", "last_sent_at")


class WrongFile(WrongMedia):
    """The body must say what it is: Content-Type application/json, application/x-ndjson (JSON Lines) or text/csv."""


# --- Answers ---------------------------------------------------------------------------------------------------------


@shown(
    **{name: value for name, value in ListedCampaign.EXAMPLE.items() if name not in {"changed_at", "progress"}},
    **WRITTEN,
    **{name: CampaignProgress.EXAMPLE[name] for name in _COUNTS},
    guarantee=None,
    groups=[],
    fault=None,
    rows=[{"recipient": "anna@example.com", "fields": {"first_name": "Anna"}}],
    attachments=[],
)
class ExportedCampaign(Answer):
    """A campaign as an export has it. Who may not read texts gets null for what it says, and neither rows nor files.

    :param id: its number
    :param status: draft, generating, generated, sending, paused, done or cancelled
    :param created: messages that were made of it
    :param sent: those that left; whatever became of them then
    :param waiting: those that have not left
    :param left_out: recipients who got none, by the reason
    :param states: messages by their state
    :param last_sent_at: when the last of them left
    :param created_by: who wrote it, and by what door
    :param fault: why its messages could not be made
    :param description: this and what follows is what its author wrote, and is read back
    :param rows: recipients who were typed or came in a file; left out with `recipients=false`
    :param attachments: files, each with its content in Base64, or the URI that it was fetched from
    """

    id: int
    status: str
    created: int
    sent: int
    waiting: int
    left_out: dict[str, int]
    states: dict[str, int]
    last_sent_at: datetime | None
    send_after: datetime | None
    created_at: datetime
    created_by: str | None
    generated_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    fault: str | None
    description: str
    channel: str
    subject: str | None
    message: str | None
    html: bool
    template: str | None
    data: dict[str, Any] | None
    add_template: bool
    language: str | None
    transliterate: bool
    guarantee: str | None
    sender: str | None
    site: str | None
    reply_to: str | None
    groups: list[str]
    query_connection: str | None
    query: str | None
    note: str | None
    classification: str | None
    rows: list[dict[str, Any]] | None = None
    attachments: list[dict[str, Any]] | None = None


@shown(id=8, new=True)
class ImportedCampaign(Answer):
    """A campaign that was in a file.

    :param id: the number of the draft that it became
    :param new: false: the same was read before, and that draft is of then
    """

    id: int
    new: bool


@shown(campaigns=[ImportedCampaign])
class ImportedCampaigns(Answer):
    """What became of the campaigns in a file, in their order."""

    campaigns: list[ImportedCampaign]


# --- Routes ----------------------------------------------------------------------------------------------------------


@router.get(
    "/export",
    response_model=list[ExportedCampaign],
    summary="Take campaigns along as a file",
    responses={
        200: {"description": "The file", "content": {MEDIA_TYPES[one]: {} for one in OTHERS}},
        **problems(404),
    },
)
def export_campaigns(user: Annotated[BaseUser, reads(Right.READ_REGISTER)], choice: Chosen, shape: Shaped) -> Response:
    """Campaigns, newest first: how far each is, and what its author wrote, as JSON or CSV.

    In JSON also its recipients and its files, so that another installation can read it back. The file is made while it
    is fetched, however many recipients there are; where a campaign is changed meanwhile, it breaks off.
    """
    return campaign_exchange.answer(user, choice, shape, DOOR, Format.JSON)


_ROW = {
    "type": "object",
    "additionalProperties": False,
    "required": ["recipient"],
    "properties": {"recipient": {"type": "string"}, "fields": {"type": "object"}},
}
_CAMPAIGN = {
    "type": "object",
    "description": "What an export has; how far it is, is not read",
    "properties": {
        **{
            name: {"$ref": f"#/components/schemas/CampaignDraft/properties/{name}"}
            for name in CampaignDraft.model_fields
        },
        exchange.ROWS: {"type": ["array", "null"], "items": _ROW, "description": "Recipients, each with their fields"},
    },
}
_EXAMPLE = {
    "description": "Spring sale",
    "subject": "{{ first_name }}, our spring sale begins",
    "message": "Dear {{ first_name }}, come and see.",
    "rows": [{"recipient": "anna@example.com", "fields": {"first_name": "Anna"}}],
}
_BODY = takes({"type": "array", "items": _CAMPAIGN}, [_EXAMPLE])
_BODY["requestBody"]["content"] |= {one: {} for one in _MEDIA}


@router.post(
    "/import",
    response_model=ImportedCampaigns,
    summary="Store campaigns from a file",
    openapi_extra=_BODY,
    responses=problems(*OF_BODY, 409),
)
def import_campaigns(change: Annotated[Change, changes(Right.HAND_OVER)]) -> Response:
    """Store the campaigns that an export has as drafts: all of them, or none.

    The same campaign once more is not stored again. How far they were is not read, nor what an export has no room for.
    """
    records = exchange.read_file(_text(change), _format(change))

    def work(connection: Connection) -> ImportedCampaigns:
        taken = campaign_exchange.take_in(connection, change.user, records)
        return ImportedCampaigns(campaigns=[ImportedCampaign(id=one.number, new=one.new) for one in taken])

    return change.once(work)


def _format(change: Change) -> Format:
    if change.is_json:
        return Format.JSON
    found = _MEDIA.get(change.media.partition(";")[0].strip().lower())
    if found is None:
        raise WrongFile
    return found


def _text(change: Change) -> str:
    try:
        return change.body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not in UTF-8: {error}.") from None
