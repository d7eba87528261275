"""Campaigns are told what to do: make messages, send, pause, go on, cancel; other files, a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.campaigns import trying
from notify.domain.campaign import CampaignAction
from notify.domain.message import Attachment, Moment, Names, moment_after
from notify.settings import hand_over_settings
from notify.storage import outbox
from notify.web.api.campaign_answers import CampaignState, RefreshedFiles, Tested, state_of
from notify.web.api.campaigns import Number, Steering
from notify.web.api.description import OF_BODY, problems, routes, schema_of, takes
from notify.web.api.request import DOOR
from notify.web.campaigns import Wish, follow, record, tell

router = routes("/campaigns", "campaigns")


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

    def act(number: Number, change: Steering) -> Response:
        given = change.read(model, required=False, nested=False)

        def work(connection: Connection) -> CampaignState:
            after = moment_after(getattr(given, "send_after", None), outbox.now(connection))
            tell(connection, change.user, number, action, Wish(send=getattr(given, "send", False), send_after=after))
            return state_of(connection, number)

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
def refresh_campaign(number: Number, change: Steering) -> Response:
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
def test_campaign(number: Number, change: Steering) -> Response:
    """What the others would get goes to these at once, in whatever state it is; `[Test]` stands before the subject."""
    given, settings = change.read(_Test, nested=False), hand_over_settings()

    def work(connection: Connection) -> Tested:
        sent = trying.send_test(connection, number, given.recipients, settings, fields=given.fields)
        record(change.user, "test", number, messages=[one.id for one in sent])
        return Tested.model_validate({"messages": sent})

    return change.once(work)
