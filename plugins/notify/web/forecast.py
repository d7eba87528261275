"""When what waits is expected to leave, or why nobody can tell: the same for page, API and command line.

What is due and what the limit allows stands in the outbox; when runs come, Airflow knows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from notify import settings
from notify.domain.campaign import Campaign, CampaignStatus
from notify.domain.forecast import Certainty, Expected
from notify.domain.status import Status
from notify.storage import drains, forecast, identity, outbox
from notify.storage.register import RegisteredMessage
from notify.storage.senders import Standing
from notify.web import airflow
from notify.web.airflow import DagState
from notify.witness import Witness

#: Where nothing stands in the way, and the forecast does not come to an end.
_TOO_FAR = "it is more than a year away, or no run comes"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is ahead of what waits.

    :param expected: when it leaves; None where nobody can tell
    :param why: why nobody can, as a part of a sentence
    :param stuck: it is not sent as things stand, and somebody has to do something about it
    """

    expected: Expected | None = None
    why: str = ""
    stuck: bool = False


def of_sender(connection: Connection, standing: Standing, served: Collection[str], sending: DagState) -> Outlook:
    """When a sender's queue is empty, if nothing more comes in; an empty outlook where nothing is due.

    :param served: the senders that runs serve
    :param sending: how Notifications stands
    """
    if not standing.queue.due:
        return Outlook()
    if why := _obstacle(standing.sender, standing.limit, served, sending):
        return Outlook(why=why, stuck=True)
    return _told(forecast.of_sender(connection, standing, airflow.runs_of(sending, standing.at)))


def of_message(connection: Connection, message: RegisteredMessage) -> Outlook:
    """When a message leaves that is queued: of one that is not due yet, not before it is.

    :returns: an empty outlook for one that is not queued
    """
    if message.status is not Status.QUEUED:
        return Outlook()
    sending = airflow.state_of(airflow.NOTIFICATIONS)
    if why := _in_the_way(connection, message.sender, sending):
        return Outlook(why=why, stuck=True)
    now = outbox.now(connection)
    if message.not_before > now:
        return Outlook(Expected(message.not_before, Certainty.AFTER))
    return _told(forecast.of_message(connection, message.id, airflow.runs_of(sending, now)))


def of_campaign(connection: Connection, campaign: Campaign, sender: str, states: Mapping[str, int]) -> Outlook:
    """When a campaign is over that is being sent; one that is generated, if it were sent now.

    :param sender: that its messages leave through
    :param states: of its messages, see :class:`notify.domain.campaign.Progress`
    :returns: an empty outlook for one of which nothing waits to be sent
    """
    if campaign.status is CampaignStatus.PAUSED:
        return Outlook(why="it is paused")
    waiting = states.get(Status.QUEUED, 0) + states.get(Status.HELD, 0)
    if not waiting or campaign.status not in {CampaignStatus.GENERATED, CampaignStatus.SENDING}:
        return Outlook()
    sending = airflow.state_of(airflow.NOTIFICATIONS)
    if why := _in_the_way(connection, sender, sending):
        return Outlook(why=why, stuck=True)
    runs = airflow.runs_of(sending, outbox.now(connection))
    expected = forecast.of_campaign(connection, campaign, sender, runs)
    return _told(expected) if expected or states.get(Status.QUEUED) else Outlook()


def _in_the_way(connection: Connection, sender: str, sending: DagState) -> str:
    """Why nothing leaves through a sender as things stand, the outbox itself being a reason; empty: nothing is."""
    if copy := identity.doubt(connection, Witness().read()):
        return f"this outbox may be a restored copy: {copy}"
    served, _ = settings.served()
    return _obstacle(sender, drains.last_limit(connection, sender), served, sending)


def _obstacle(sender: str, limit: int | None, served: Collection[str], sending: DagState) -> str:
    """Why nothing of a sender leaves as things stand; empty where nothing is in the way."""
    if sending.why:
        return sending.why
    if sender not in served:
        return f"no run serves the sender {sender}, which is not in the Variable notify_senders"
    return f"the pool {sender} has 0 slots, which holds everything" if limit == 0 else ""


def _told(expected: Expected | None) -> Outlook:
    return Outlook(expected) if expected else Outlook(why=_TOO_FAR)
