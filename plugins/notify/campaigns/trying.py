"""Trying: a campaign is sent to some, to see what the others would get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.engine import Connection

from notify.campaigns.authoring import book_of
from notify.domain.campaign import Campaign
from notify.domain.message import Priority, RecipientRole, one_line
from notify.doors.campaign import CampaignDoor, door_of
from notify.doors.sender import choose_sender
from notify.exceptions import Fault, InvalidCampaign, InvalidNumber, InvalidText, TemplateError
from notify.settings import HandOverSettings
from notify.storage import campaigns, outbox, schema
from notify.storage.outbox import NewMessage, Stored
from notify.storage.recipients import Receiver

#: Who tries a campaign looks at it; more than these is sending it, past its own share of the limit.
MOST = 20

#: In front of the subject of a test.
TEST = "[Test] "


def send_test(
    connection: Connection,
    number: int,
    recipients: Sequence[str],
    settings: HandOverSettings,
    *,
    fields: Mapping[str, Any] | None = None,
) -> list[Stored]:
    """Send a campaign as it would be to some, at once, whatever its state; each with what belongs to its first row.

    :param recipients: addresses, of an SMS numbers, or logins
    :param fields: instead, the personal fields to show
    :raises InvalidCampaign: a recipient is none or gets nothing, or the text cannot be made
    """
    schema.require(connection)
    campaign = campaigns.read(connection, number)
    faults: list[Fault] = []
    if not recipients:
        faults.append(Fault("recipients", "is empty; name at least one"))
    sender = choose_sender(campaign.channel, campaign.sender, campaign.site, settings, faults)
    receivers = _receivers(connection, campaign, recipients, settings, faults)
    if len(receivers) > MOST:
        faults.append(Fault("recipients", f"are {len(receivers):,}; a test goes to {MOST} at most"))
    if faults:
        raise InvalidCampaign(faults)
    door = door_of(campaign, settings, sender, *campaigns.stored_files(connection, number))
    shown = _sample(connection, number) if fields is None else fields
    return outbox.add(connection, [_tested(connection, door, one, shown) for one in receivers])


def _receivers(
    connection: Connection,
    campaign: Campaign,
    recipients: Sequence[str],
    settings: HandOverSettings,
    faults: list[Fault],
) -> list[Receiver]:
    named = []
    for name in recipients:
        try:
            named.append(one_line(name))
        except ValueError as error:
            faults.append(Fault("recipients", str(error)))
    book = book_of(connection, campaign.channel, named, settings)
    found: dict[str, Receiver] = {}
    for name in named:
        try:
            for address, person in book.look_up(name, campaign.channel):
                reader = person or book.readers.get(address.key)
                found.setdefault(address.key, Receiver(RecipientRole.TO, address, reader))
        except (ValueError, InvalidNumber) as error:
            faults.append(Fault("recipients", str(error)))
    faults += [
        Fault("recipients", f"{key} is on the suppression list: {book.suppressed[key]}")
        for key in found
        if key in book.suppressed
    ]
    return list(found.values())


def _sample(connection: Connection, number: int) -> Mapping[str, Any]:
    """What belongs to the first who came in a file."""
    for _, row in campaigns.rows_after(connection, number, 0):
        if row.fields:
            return row.fields
    return {}


def _tested(
    connection: Connection, door: CampaignDoor[Any], receiver: Receiver, fields: Mapping[str, Any]
) -> NewMessage:
    try:
        message = door.message(receiver, fields, outbox.now(connection), TEST)
    except (TemplateError, InvalidText, ValueError) as error:
        raise InvalidCampaign([Fault("message", str(error))]) from error
    return replace(message, priority=Priority.URGENT)
