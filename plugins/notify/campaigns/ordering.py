"""Ordering: a task or a command writes a campaign and asks for its messages, in one transaction and with one key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy.engine import Connection

from notify.campaigns import authoring, steering
from notify.domain.campaign import CampaignStatus
from notify.domain.faults import faults_of
from notify.domain.message import LONGEST_KEY, Moment, Text, moment_after, one_line
from notify.exceptions import Fault, InvalidCampaign
from notify.settings import HandOverSettings
from notify.storage import campaigns, outbox, schema, sources

#: Bytes of a file of recipients; whoever has more has a database to ask.
LARGEST_CSV = 10_000_000


@dataclass(frozen=True, slots=True)
class Ordered:
    """What came of it.

    :param campaign: its number
    :param status: its state now
    :param duplicate: it was ordered before under the same key; nothing was changed
    """

    campaign: int
    status: CampaignStatus
    duplicate: bool


class Wish(BaseModel):
    """What is wanted of a campaign beside what its author writes."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=10_000)

    csv_uri: Text = None
    send: bool = False
    send_after: Moment = None
    idempotency_key: Annotated[Text, Field(max_length=LONGEST_KEY)] = None

    @field_validator("csv_uri", "idempotency_key")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return None if value is None else one_line(value)


def order(connection: Connection, fields: Mapping[str, Any], settings: HandOverSettings) -> Ordered:
    """Store a campaign and have its messages made, by the next run of MassMailing.

    :param fields: those of :class:`notify.domain.campaign.CampaignDraft`; and ``csv_uri``, where the file of recipients
        lies in object storage; ``send``, whether the messages leave as soon as they are made; ``send_after``, in that
        case not before; ``idempotency_key``
    :raises InvalidCampaign: something is wrong with it; the error names every fault
    """
    schema.require(connection)
    wish, faults = _wished(fields)
    if wish.idempotency_key and (found := campaigns.find_by_key(connection, wish.idempotency_key)) is not None:
        return Ordered(found, campaigns.read(connection, found).status, duplicate=True)
    number = _written(connection, fields, wish, faults, settings)
    moment = moment_after(wish.send_after, outbox.now(connection))
    campaign = steering.generate(connection, number, send=wish.send, send_after=moment)
    return Ordered(number, campaign.status, duplicate=False)


def moment_of(connection: Connection, given: object) -> datetime | None:
    """The moment that ``send_after`` means now.

    :param given: a time with its zone or a delay, as text or as Python has it; None and blanks are none
    :raises InvalidCampaign: it is neither
    """
    try:
        wish = Wish.model_validate({"send_after": given})
    except ValidationError as error:
        raise InvalidCampaign(faults_of(error, Wish)) from error
    return moment_after(wish.send_after, outbox.now(connection))


def _wished(fields: Mapping[str, Any]) -> tuple[Wish, list[Fault]]:
    given = {name: fields[name] for name in Wish.model_fields if fields.get(name) is not None}
    try:
        wish = Wish.model_validate(given)
    except ValidationError as error:
        return Wish(), faults_of(error, Wish)
    if wish.send_after is not None and not wish.send:
        return wish, [Fault("send_after", "is of use only with send; without it, say when at the time of sending")]
    return wish, []


def _written(
    connection: Connection, fields: Mapping[str, Any], wish: Wish, faults: list[Fault], settings: HandOverSettings
) -> int:
    """Store it; what is wrong with it stands beside what is wrong with the wish."""
    written = {name: value for name, value in fields.items() if name not in Wish.model_fields}
    if wish.csv_uri is not None:
        written["csv"] = _file(wish.csv_uri, written.get("csv"), faults, settings)
    key = wish.idempotency_key
    return authoring.create(connection, written, settings, idempotency_key=key, faults=faults)[0]


def _file(uri: str, given: object, faults: list[Fault], settings: HandOverSettings) -> object:
    """The text of a file of recipients."""
    if given:
        faults.append(Fault("csv_uri", "cannot be given together with csv; use one of the two"))
        return given
    try:
        return sources.text_of(uri, settings.attachment_sources, LARGEST_CSV)
    except ValueError as error:
        faults.append(Fault("csv_uri", str(error)))
        return None
