"""What the readers at an address want no more of: bulk mail, or, where they are nobody we know, a kind of event."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query, Request
from pydantic import Field
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify import settings
from notify.storage import unsubscriptions
from notify.storage.unsubscriptions import BULK
from notify.unsubscribing import stop
from notify.web import audit
from notify.web.api import paging
from notify.web.api.answer import Answer, shown
from notify.web.api.description import problems, routes
from notify.web.api.request import DOOR, Change, changes, reads
from notify.web.fields import destination_of, sought_address
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.register import text_of
from notify.web.rights import Right

router = routes("/unsubscriptions", "unsubscriptions")

_Address = Annotated[
    str, Path(description="A mailbox, such as `anna@example.com`, or a telephone number, such as `+421903622237`")
]
_Scope = Annotated[str, Path(description=f"`{BULK}`, or a kind of event that may be refused")]


@shown(scope="bulk-mail", created_by="the reader, by link (message 4711)", created_at="2026-11-30T08:00:00Z")
class Unsubscription(Answer):
    """Something that the readers at an address want no more of.

    :param scope: `bulk-mail`, or a kind of event
    :param created_by: who asked for it
    """

    scope: str
    created_by: str = Field(validation_alias="actor")
    created_at: datetime


@shown(address="zoe@customer.example", unsubscriptions=[Unsubscription])
class Unsubscribed(Answer):
    """An address, and all that its readers want no more of.

    :param address: a mailbox in lower case, or a telephone number; its hash, where the person was erased
    """

    address: str
    unsubscriptions: list[Unsubscription]


@shown(addresses=[Unsubscribed], next=None, searched_to=None)
class Unsubscriptions(Answer):
    """Addresses in their order.

    :param next: address of the next page; null at the end
    :param searched_to: the address up to which this page looked, where it may have missed some further on
    """

    addresses: list[Unsubscribed]
    next: str | None
    searched_to: str | None


@shown(changed=True, withheld=2)
class Stopped(Answer):
    """What came of it.

    :param changed: False: it stood there already
    :param withheld: queued messages that go to nobody now
    """

    changed: bool
    withheld: int


@router.get(
    "",
    response_model=Unsubscriptions,
    summary="Look for what readers have unsubscribed from",
    dependencies=[reads(Right.READ_PEOPLE)],
)
def list_unsubscriptions(
    request: Request,
    address: Annotated[str, Query(description="Only this one, in whatever case; also that of an erased person")] = "",
    scope: Annotated[str, Query(description=f"Only addresses that want no more of this: `{BULK}`, or a kind")] = "",
    after: paging.After = "",
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """Addresses, each with all that its readers want no more of. What people say of events, their preferences tell."""
    whose, wanted, place = text_of("address", address), text_of("scope", scope), text_of("after", after)
    with reading() as connection:
        found = unsubscriptions.search(
            connection, whose and sought_address(whose), scope=wanted, after=place, limit=limit
        )
    following = None if found.next_after is None else paging.link(request, after=found.next_after)
    return {"addresses": found.found, "next": following, "searched_to": found.searched_to}


@router.put(
    "/{address:path}/{scope}",
    response_model=Stopped,
    summary="Send no more of something to an address",
    responses=problems(409),
)
def put_unsubscription(
    address: _Address, scope: _Scope, change: Annotated[Change, changes(Right.CHANGE_PEOPLE)]
) -> Response:
    """On its reader's word, as the link in a mail does it: of bulk mail also nothing that is queued goes there.

    What people want of events, their preferences say; so a kind of event goes with mailboxes of others only.
    """
    kinds = settings.kinds()

    def work(connection: Connection) -> Stopped:
        done = stop(connection, address, scope, f"{change.user.get_name()} ({DOOR})", kinds)
        audit.record(change.user, "unsubscribe", address=done.address, scope=scope)
        return Stopped.model_validate(done)

    return change.once(work)


@router.delete(
    "/{address:path}/{scope}",
    status_code=204,
    summary="Send of it to an address again",
    responses=problems(404, 409),
)
def delete_unsubscription(
    address: _Address, scope: _Scope, change: Annotated[Change, changes(Right.CHANGE_PEOPLE)]
) -> Response:
    """Take back, on its reader's word, what it was unsubscribed from. What was suppressed meanwhile stays so."""
    whose, wanted = destination_of(address), text_of("scope", scope) or ""

    def work(connection: Connection) -> None:
        if not unsubscriptions.remove(connection, whose, wanted):
            raise NotFound(f"{whose} has not unsubscribed from {wanted!r}.")
        audit.record(change.user, "resubscribe", address=whose, scope=wanted)

    return change.once(work)
