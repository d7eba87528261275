"""Campaigns, for the page and the API alike: how one stands, and what a person may tell it to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from sqlalchemy.engine import Connection

from notify import settings
from notify.campaigns import attaching, following, steering
from notify.campaigns.attaching import Refreshed
from notify.campaigns.following import Followed
from notify.domain.campaign import Campaign, CampaignAction, CampaignStatus, Fate, Progress
from notify.domain.message import Attachment
from notify.doors.sender import choose_sender
from notify.exceptions import Fault, NoSuchCampaign
from notify.storage import campaign_messages, campaign_recipients, campaigns
from notify.storage.campaigns import CampaignFile
from notify.storage.engine import engine_for
from notify.web import audit, forecast
from notify.web.forecast import Outlook
from notify.web.outbox import changing
from notify.web.trigger import trigger_mass_mailing

log = logging.getLogger(__name__)

#: Of those left out, so many are shown for each reason.
PLACES = 10

#: What a campaign says, and whom it says it to: only for who may read the texts of messages.
CONTENT = ("subject", "message", "data", "note", "query", "fault")

#: How long a request moves messages; the rest is the next run's.
BUDGET = timedelta(seconds=3)


# --- How it stands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CampaignView:
    """A campaign, and all that is told of it.

    :param sender: that its messages leave through; None where there is none for it
    :param outlook: when it is over; of one that is generated, if it were sent now
    :param actions: what can be done to it now, in the order of :class:`notify.domain.campaign.CampaignAction`
    :param left_out: where the first of those stand who get none, by the reason
    :param files: that its messages carry
    :param typed: recipients that were typed
    :param rows: recipients that came in a file
    """

    campaign: Campaign
    progress: Progress
    sender: str | None
    outlook: Outlook
    actions: tuple[CampaignAction, ...]
    left_out: Mapping[Fate, Sequence[str]]
    files: Sequence[CampaignFile]
    typed: int
    rows: int


def view(connection: Connection, number: int, *, places: int = PLACES) -> CampaignView:
    """How a campaign stands; what it costs does not grow beyond what is counted from indexes.

    :param places: of those left out, so many are told for each reason
    :raises NoSuchCampaign: there is none of that number
    """
    campaign = campaigns.read(connection, number)
    progress = campaign_messages.progress(connection, campaign)
    sender = sender_of(connection, campaign)
    counted = campaigns.count_rows(connection, number)
    return CampaignView(
        campaign=campaign,
        progress=progress,
        sender=sender,
        outlook=forecast.of_campaign(connection, campaign, sender, progress.states) if sender else Outlook(),
        actions=actions(campaign),
        left_out={
            fate: campaign_recipients.places(connection, number, fate, places)
            for fate in Fate
            if places and progress.left_out.get(fate)
        },
        files=campaigns.files(connection, number),
        typed=counted.typed,
        rows=counted.given,
    )


def sender_of(connection: Connection, campaign: Campaign) -> str | None:
    """The sender that the messages of a campaign leave through, or will; None where there is none for it."""
    made = campaign_messages.sender(connection, campaign.id)
    if made is not None:
        return made
    faults: list[Fault] = []
    found = choose_sender(campaign.channel, campaign.sender, campaign.site, settings.hand_over_settings(), faults)
    return None if faults else found


def actions(campaign: Campaign) -> tuple[CampaignAction, ...]:
    """What can be done to a campaign in its state."""
    return tuple(one for one in CampaignAction if campaign.may(one) and not _must_stay(campaign, one))


def _must_stay(campaign: Campaign, action: CampaignAction) -> bool:
    """What has begun to be sent stays, to tell what became of it."""
    return action is CampaignAction.DELETE and campaign.started_at is not None


# --- What it is told -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """What goes with an action.

    :param send: with generate: send as soon as all is made
    :param send_after: with that, with send and with resume: not before
    :param attachments: with refresh: other files instead; None: the same, fetched anew
    """

    send: bool = False
    send_after: datetime | None = None
    attachments: Sequence[Attachment] | None = None

    def told(self) -> dict[str, object]:
        """As the audit log has it."""
        told: dict[str, object] = {"send": True} if self.send else {}
        if self.send_after is not None:
            told["send_after"] = self.send_after.isoformat()
        if self.attachments is not None:
            told["attachments"] = [one.uri or one.filename for one in self.attachments]
        return told


NOTHING = Wish()


def act(user: BaseUser, door: str, number: int, action: CampaignAction, wish: Wish = NOTHING) -> Followed | None:
    """Tell a campaign to do something, and let its messages follow for a while.

    :param door: ``page`` or ``API``, for the history
    :returns: how far they have followed; None where nothing is to follow, or the next run does it
    :raises CampaignError: its state does not allow it
    """
    with changing(user, door) as connection:
        tell(connection, user, number, action, wish)
    return None if action is CampaignAction.DELETE else follow(user, door, number)


def tell(
    connection: Connection, user: BaseUser, number: int, action: CampaignAction, wish: Wish = NOTHING
) -> Refreshed | None:
    """Tell a campaign to do something, in the caller's transaction; :func:`follow` afterwards.

    :returns: of refresh, what came of it
    :raises CampaignError: its state does not allow it
    :raises InvalidCampaign: files to be refreshed cannot be had
    """
    refreshed = None
    match action:
        case CampaignAction.GENERATE:
            steering.generate(connection, number, send=wish.send, send_after=wish.send_after)
        case CampaignAction.SEND:
            steering.send(connection, number, send_after=wish.send_after)
        case CampaignAction.RESUME:
            steering.resume(connection, number, send_after=wish.send_after)
        case CampaignAction.REFRESH:
            refreshed = attaching.refresh(connection, number, settings.hand_over_settings(), wish.attachments)
        case CampaignAction.PAUSE:
            steering.pause(connection, number)
        case CampaignAction.CANCEL:
            steering.cancel(connection, number)
        case CampaignAction.DELETE:
            steering.delete(connection, number)
        case CampaignAction.EDIT:
            raise ValueError("a campaign is edited by notify.campaigns.authoring")
    record(user, action, number, **wish.told())
    return refreshed


def record(user: BaseUser, what: str, number: int, **about: object) -> None:
    """Put down in Airflow's audit log what somebody does to a campaign; last in the transaction that does it."""
    audit.record(user, f"{what}_campaign", campaign=number, **about)


def follow(user: BaseUser, door: str, number: int) -> Followed | None:
    """Let the messages of a campaign follow what it was told; what takes longer than a request may, a run does.

    What it was told is committed, so nothing that goes wrong here is the user's: the next run of MassMailing goes on.

    :returns: how far they have followed; None where that is not known
    """
    actor = f"{user.get_name()} ({door})"
    try:
        followed = following.follow(engine_for(settings.database_url()), number, actor=actor, budget=BUDGET)
    except NoSuchCampaign:  # somebody was faster
        return None
    except (sa.exc.DBAPIError, sa.exc.TimeoutError):
        log.exception("The messages of campaign %s are left to the next run of MassMailing", number)
        followed = None
    if awaits_a_run(followed):
        trigger_mass_mailing(user)
    return followed


def awaits_a_run(followed: Followed | None) -> bool:
    """Whether there is something to do for a run of MassMailing."""
    return followed is None or not followed.settled or followed.status is CampaignStatus.GENERATING
