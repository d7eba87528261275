"""Steering: a campaign is told what to do, in the caller's transaction; its messages then follow.

What is told holds as soon as it is committed. See :mod:`notify.campaigns.following` for what becomes of the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.engine import Connection

from notify.domain.campaign import Campaign, CampaignAction, CampaignStatus
from notify.exceptions import CampaignError, Fault, InvalidCampaign
from notify.storage import campaign_messages, campaigns, schema


def generate(
    connection: Connection, number: int, *, send: bool = False, send_after: datetime | None = None
) -> Campaign:
    """Have a campaign's messages made, by the next run of MassMailing; whoever has one gets no other.

    :param send: whether they are sent as soon as they are made
    :param send_after: in that case, not before
    :raises CampaignError: its state does not allow it
    :raises InvalidCampaign: a moment is given for what is not to be sent
    """
    schema.require(connection)
    campaigns.expect(connection, number, CampaignAction.GENERATE)
    if send_after is not None and not send:
        raise InvalidCampaign([Fault("send_after", "is of use only with send; without it, say when as you send it")])
    campaigns.request(connection, number, send=send, send_after=send_after)
    return campaigns.read(connection, number)


def send(connection: Connection, number: int, *, send_after: datetime | None = None) -> Campaign:
    """Let its messages go, at once or from a moment on. They follow, see :mod:`notify.campaigns.following`."""
    schema.require(connection)
    campaigns.expect(connection, number, CampaignAction.SEND)
    campaigns.send(connection, number, send_after)
    return campaigns.read(connection, number)


def pause(connection: Connection, number: int) -> Campaign:
    """Let none of its messages go from now on; what has been given to a server is gone. They follow."""
    schema.require(connection)
    campaigns.expect(connection, number, CampaignAction.PAUSE)
    campaigns.pause(connection, number)
    return campaigns.read(connection, number)


def resume(connection: Connection, number: int, *, send_after: datetime | None = None) -> Campaign:
    """Let it go on, at once or from a moment on. Its messages follow."""
    schema.require(connection)
    campaigns.expect(connection, number, CampaignAction.RESUME)
    campaigns.send(connection, number, send_after)
    return campaigns.read(connection, number)


def cancel(connection: Connection, number: int) -> Campaign:
    """Take back what has not left. Its messages follow."""
    schema.require(connection)
    campaigns.expect(connection, number, CampaignAction.CANCEL)
    campaigns.cancel(connection, number)
    return campaigns.read(connection, number)


def tell(
    connection: Connection, number: int, action: CampaignAction, *, send_after: datetime | None = None
) -> Campaign:
    """Tell it by the name of what it is to do: generate, send, pause, resume or cancel.

    :param send_after: of send and resume: not before
    """
    if action in _AT_A_TIME:
        return _AT_A_TIME[action](connection, number, send_after=send_after)
    return _AT_ONCE[action](connection, number)


_AT_A_TIME: Mapping[CampaignAction, Callable[..., Campaign]] = {
    CampaignAction.SEND: send,
    CampaignAction.RESUME: resume,
}
_AT_ONCE: Mapping[CampaignAction, Callable[..., Campaign]] = {
    CampaignAction.GENERATE: generate,
    CampaignAction.PAUSE: pause,
    CampaignAction.CANCEL: cancel,
}


def delete(connection: Connection, number: int) -> None:
    """Forget a campaign of which nothing was sent, and its messages."""
    schema.require(connection)
    campaign = campaigns.expect(connection, number, CampaignAction.DELETE)
    if campaign.status is CampaignStatus.CANCELLED and campaign.started_at is not None:
        raise CampaignError(
            f"Campaign {number} was cancelled after it had begun to be sent; it stays, to tell what became of it, "
            "until Housekeeping removes it."
        )
    while campaign_messages.throw_away(connection, campaign):
        pass
    campaigns.remove(connection, number)
