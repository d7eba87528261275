"""Previewing: what the first recipient of a campaign would get. Nothing is stored, and no query is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from sqlalchemy.engine import Connection

from notify.campaigns.authoring import book_of
from notify.domain.address import Address
from notify.domain.campaign import Campaign, Row
from notify.domain.channel import ChannelName
from notify.domain.message import RecipientRole
from notify.domain.phone import parse_number
from notify.doors.campaign import door_of
from notify.doors.sender import choose_sender
from notify.exceptions import Fault, InvalidCampaign, InvalidNumber, InvalidText, TemplateError
from notify.settings import HandOverSettings
from notify.storage import campaign_recipients, campaigns, outbox, schema
from notify.storage.outbox import NewMessage
from notify.storage.recipients import Phone, Receiver

#: Of the recipients, so many are looked at until one is found whom a message can reach.
MOST_TRIED = 100

#: Who stands in where nobody is known before the messages are made.
_SOMEBODY: Mapping[ChannelName, Address | Phone] = {
    ChannelName.EMAIL: Address("reader@example.com"),
    ChannelName.SMS: Phone(parse_number("+421903000000")),
}


@dataclass(frozen=True, slots=True)
class Preview:
    """A message as it would be made.

    :param place: where its recipient stands; empty: nobody is known before the messages are made
    """

    place: str
    message: NewMessage


def preview(connection: Connection, number: int, settings: HandOverSettings) -> Preview:
    """Make the message of the first recipient who was typed, came in a file or is in a group.

    :raises NoSuchCampaign: there is none of that number
    :raises InvalidCampaign: it cannot be made
    """
    schema.require(connection)
    campaign = campaigns.read(connection, number)
    faults: list[Fault] = []
    sender = choose_sender(campaign.channel, campaign.sender, campaign.site, settings, faults)
    if faults:
        raise InvalidCampaign(faults)
    row, receiver = _first(connection, campaign, settings)
    try:
        door = door_of(campaign, settings, sender, *campaigns.stored_files(connection, number))
        return Preview(row.place, door.message(receiver, row.fields, outbox.now(connection)))
    except (TemplateError, InvalidText, ValueError) as error:
        where = f"{row.place}: " if row.place else ""
        raise InvalidCampaign([Fault("message", f"{where}{error}")]) from error


def _first(connection: Connection, campaign: Campaign, settings: HandOverSettings) -> tuple[Row, Receiver]:
    rows = list(islice(_named(connection, campaign), MOST_TRIED))
    book = book_of(connection, campaign.channel, [row.recipient for row in rows], settings)
    for row in rows:
        try:
            address, person = next(iter(book.look_up(row.recipient, campaign.channel)))
        except (ValueError, InvalidNumber):
            continue
        return row, Receiver(RecipientRole.TO, address, person or book.readers.get(address.key))
    return Row("", ""), Receiver(RecipientRole.TO, _SOMEBODY[campaign.channel])


def _named(connection: Connection, campaign: Campaign) -> Iterator[Row]:
    """The first of those who are known before the messages are made; a query is asked only then."""
    yield from (row for _, row in campaigns.rows_after(connection, campaign.id, 0))
    for group in campaign.groups:
        yield from (Row(login, login) for login in campaign_recipients.members(connection, group, ""))
