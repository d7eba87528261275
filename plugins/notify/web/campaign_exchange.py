"""Campaigns as files, for the page and the API alike: who may take what along, and bring it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Depends, Query
from sqlalchemy.engine import Connection
from starlette.responses import StreamingResponse

from notify import settings
from notify.campaigns import exchange
from notify.campaigns.exchange import NoRoom, TakenIn
from notify.domain.campaign import CampaignStatus
from notify.storage import campaigns
from notify.table import Format
from notify.web import audit
from notify.web.campaigns import CONTENT, record
from notify.web.export import Shape, begun, download
from notify.web.fields import OPTIONAL
from notify.web.outbox import reading
from notify.web.problems import Forbidden, UnusableQuery
from notify.web.register import text_of
from notify.web.rights import Right

_Number = Annotated[int, Query(ge=1, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which campaigns are taken along.

    :param numbers: these; none: all that fit
    :param recipients: whether their recipients are; None: if they may be, and fit
    """

    numbers: tuple[int, ...]
    statuses: tuple[CampaignStatus, ...]
    text: str
    recipients: bool | None

    def told(self) -> dict[str, object]:
        """What of it chooses, as the audit log has it."""
        chosen = {"statuses": list(self.statuses), "text": self.text, "ids": list(self.numbers)}
        return {name: value for name, value in chosen.items() if value}


def _choice(
    number: Annotated[
        list[_Number] | None, OPTIONAL, Query(alias="id", description="Only these; may be given again")
    ] = None,
    status: Annotated[
        list[CampaignStatus] | None, OPTIONAL, Query(description="In one of these states; may be given again")
    ] = None,
    text: Annotated[str, Query(description="A part of the description, or of the classification")] = "",
    recipients: Annotated[
        bool | None,
        OPTIONAL,
        Query(description="Of JSON: with their recipients; left out: for whoever may read texts"),
    ] = None,
) -> Choice:
    if number and (status or text):
        raise UnusableQuery("id: name campaigns, or filter them by status and text; not both.")
    return Choice(tuple(number or ()), tuple(status or ()), text_of("text", text.strip()) or "", recipients)


#: Which campaigns a request asks for.
Chosen = Annotated[Choice, Depends(_choice)]


def answer(user: BaseUser, choice: Choice, shape: Shape, door: str, usual: Format) -> StreamingResponse:
    """Answer with campaigns as a file; the audit log says who took it.

    What they say, their files and their recipients are only for those who may read texts.

    :param door: the page or the API
    :param usual: the format, where none is wished for
    :raises Forbidden: recipients are wished for by somebody who may not read texts
    :raises UnusableQuery: they are wished for in CSV
    :raises NoSuchCampaign: one that was named is not there
    """
    reads, style = Right.READ_BODIES.of(user), shape.style(usual)
    if choice.recipients and not reads:
        raise Forbidden(Right.READ_BODIES.means)
    try:
        apart = exchange.parts(style.format, recipients=choice.recipients) if reads else ()
    except NoRoom as error:
        raise UnusableQuery(f"recipients: {error}") from None
    with reading() as connection:
        for number in choice.numbers:
            campaigns.read(connection, number)
    numbers = choice.numbers or exchange.numbers(reading, choice.statuses, choice.text)
    rows = begun(exchange.entries(reading, numbers, apart, without=() if reads else CONTENT))
    told = {"bodies": reads, "recipients": exchange.ROWS in apart, "filters": choice.told()}
    audit.record(user, "export_campaigns", door=door, format=style.format.value, **told)
    return download("campaigns", exchange.columns(style.format, apart), rows, style)


def take_in(connection: Connection, user: BaseUser, records: Sequence[object]) -> list[TakenIn]:
    """Store campaigns from a file as drafts; the audit log says who brought them.

    :param records: see :func:`notify.campaigns.exchange.read_file`
    :raises InvalidCampaign: something is wrong with one; nothing is stored then
    """
    taken = exchange.take_in(connection, records, settings.hand_over_settings())
    for one in taken:
        if one.new:
            record(user, "create", one.number, imported=True)
    return taken
