"""Following: the messages of a campaign go where its state wants them, and a campaign of which nothing waits is done.

What a person or a task says of a campaign holds from the moment that it is stored: the claim takes nothing of one
that is paused. Its messages follow in steps; whoever dies between two of them leaves the rest to the next run of
MassMailing.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.engine import Engine

from notify.domain.campaign import Campaign, CampaignStatus
from notify.exceptions import NoSuchCampaign
from notify.progress import Progress
from notify.storage import campaign_messages, campaigns
from notify.storage.engine import transaction

log = logging.getLogger(__name__)

#: The history names it as who moved the messages, where nobody else is named.
ACTOR = "MassMailing"


@dataclass(frozen=True, slots=True)
class Followed:
    """What was done.

    :param moved: messages
    :param settled: whether all are where they belong
    :param status: the campaign's state now
    """

    moved: int
    settled: bool
    status: CampaignStatus


def follow(
    engine: Engine,
    number: int,
    *,
    actor: str = ACTOR,
    budget: timedelta | None = None,
    stop: threading.Event | None = None,
) -> Followed:
    """Move a campaign's messages to where its state wants them, step by step.

    :param actor: who wanted it, for the history
    :param budget: after this time the rest is left to the next run; None: none is left
    :param stop: set it, and no new step is begun
    :raises NoSuchCampaign: there is none of that number
    """
    started, moved, progress = time.monotonic(), 0, Progress(log)
    while True:
        with transaction(engine, actor=actor) as connection:
            campaign = campaigns.read(connection, number, lock=True)
            count = campaign_messages.follow(connection, campaign)
            moved += count
            if not count:
                settled = campaign_messages.settled(connection, campaign)
                if settled and campaign.unsettled:
                    campaigns.settled(connection, number)
                ended = settled and _ended(campaign) and campaign_messages.over(connection, campaign)
                if ended:
                    campaigns.done(connection, number)
                return Followed(moved, settled, CampaignStatus.DONE if ended else campaign.status)
        progress.tell("campaign %s: %s messages moved", number, moved)
        over = budget is not None and time.monotonic() - started > budget.total_seconds()
        if over or (stop is not None and stop.is_set()):
            return Followed(moved, settled=False, status=campaign.status)


def _ended(campaign: Campaign) -> bool:
    """Whether it may be done: it is being sent."""
    return campaign.status is CampaignStatus.SENDING


def follow_all(engine: Engine, *, stop: threading.Event | None = None) -> dict[int, Followed]:
    """Have the messages of all campaigns follow them.

    :returns: what was done with each of which anything was
    """
    with engine.connect() as connection:
        numbers = campaigns.under_way(connection)
    done: dict[int, Followed] = {}
    for number in numbers:
        with suppress(NoSuchCampaign):  # it was deleted meanwhile
            done[number] = follow(engine, number, stop=stop)
    return {
        number: one for number, one in done.items() if one.moved or one.status is CampaignStatus.DONE or not one.settled
    }
