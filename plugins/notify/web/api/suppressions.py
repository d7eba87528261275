"""The suppression list: addresses that get nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify.storage import suppressions
from notify.storage.suppressions import Source
from notify.suppressing import suppress
from notify.web import audit
from notify.web.api import paging
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import Change, changes, reads
from notify.web.fields import destination_of, sought_address
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.register import text_of
from notify.web.rights import Right

router = routes("/suppressions", "suppressions")

#: As a request may look that puts an address on the list.
EXAMPLE = {"reason": "asked by phone to be left alone", "days": 30}

_Address = Annotated[
    str, Path(description="A mailbox, such as `anna@example.com`, or a telephone number, such as `+421903622237`")
]


@shown(
    address="anna@example.com",
    reason="mailbox does not exist",
    source="bounce",
    created_at="2026-11-30T08:00:00Z",
    expires_at="2027-02-28T08:00:00Z",
    expired=False,
)
class Suppression(Answer):
    """An address on the list.

    :param address: a mailbox in lower case, or a telephone number; its hash, where the person was erased
    :param reason: why, for people who ask
    :param source: what put it there: person or bounce
    :param expires_at: until then; null is for good
    :param expired: whether that is past; then it counts no more
    """

    address: str
    reason: str
    source: str
    created_at: datetime
    expires_at: datetime | None
    expired: bool


@shown(suppressions=[Suppression], next=None, searched_to=None)
class Suppressions(Answer):
    """The list, by address.

    :param next: address of the next page; null at the end
    :param searched_to: the address up to which this page looked, where it may have missed some further on
    """

    suppressions: list[Suppression]
    next: str | None
    searched_to: str | None


@shown(changed=True, withheld=2)
class Suppressed(Answer):
    """What came of it.

    :param changed: False: the address stood there already, for at least as long
    :param withheld: queued messages that go to nobody now
    """

    changed: bool
    withheld: int


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", description="Why, for people who ask")
    days: Annotated[int, Field(strict=True)] | None = Field(
        default=None, description="For so long; left out: until it is lifted"
    )


@router.get(
    "",
    response_model=Suppressions,
    summary="Look at the suppression list",
    dependencies=[reads(Right.READ_PEOPLE)],
)
def list_suppressions(
    request: Request,
    address: Annotated[str, Query(description="A part of it; the whole also finds that of an erased person")] = "",
    source: Annotated[Source | None, Query(description="Only what this put there")] = None,
    after: paging.After = "",
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """The addresses on the list, those that count no more among them."""
    wanted, place = sought_address(text_of("address", address) or ""), text_of("after", after)
    with reading() as connection:
        found = suppressions.search(connection, wanted, source=source, after=place, limit=limit)
    following = None if found.next_after is None else paging.link(request, after=found.next_after)
    return {"suppressions": found.found, "next": following, "searched_to": found.searched_to}


@router.put(
    "/{address:path}",
    response_model=Suppressed,
    summary="Send nothing to an address",
    openapi_extra=takes(_Given.model_json_schema(), EXAMPLE),
    responses=problems(*OF_BODY, 409),
)
def put_suppression(address: _Address, change: Annotated[Change, changes(Right.CHANGE_PEOPLE)]) -> Response:
    """Put it on the list. Of two entries for the same address the one that lasts longer counts."""
    given = change.read(_Given)

    def work(connection: Connection) -> Suppressed:
        done = suppress(connection, address, given.reason, given.days)
        audit.record(change.user, "suppress", address=done.address, reason=given.reason, days=given.days)
        return Suppressed.model_validate(done)

    return change.once(work)


@router.delete(
    "/{address:path}",
    status_code=204,
    summary="Send to an address again",
    responses=problems(404, 409),
)
def delete_suppression(address: _Address, change: Annotated[Change, changes(Right.CHANGE_PEOPLE)]) -> Response:
    """Take it off the list; its bounces so far count no more. What was suppressed meanwhile stays so."""
    wanted = destination_of(address)

    def work(connection: Connection) -> None:
        if not suppressions.lift(connection, wanted):
            raise NotFound(f"{wanted} is not on the list.")
        audit.record(change.user, "lift_suppression", addresses=[wanted])

    return change.once(work)
