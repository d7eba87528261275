"""The register, for the page and the API alike: what is asked for, and what a person may do about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Path, Query
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName
from notify.domain.status import RESENDABLE, Status
from notify.storage import outbox, register
from notify.storage.search import Search
from notify.web.fields import OPTIONAL, sought_address
from notify.web.mail import Mail
from notify.web.problems import UnusableQuery

#: The most that one action may be about.
MOST_AT_ONCE = 1000

#: What a person may do to a message, and in which states that makes sense.
ACTIONS: dict[str, tuple[Callable[[Connection, int], None], frozenset[Status]]] = {
    "resend": (outbox.resend, RESENDABLE - {Status.HELD}),
    "hold": (outbox.hold, frozenset({Status.QUEUED})),
    "release": (outbox.release, frozenset({Status.HELD})),
    "cancel": (outbox.cancel, frozenset({Status.QUEUED, Status.HELD})),
    "arrived": (outbox.arrived, frozenset({Status.UNCERTAIN})),
}


#: The number of a row.
_NUMBER: dict[str, int] = {"ge": 1, "le": 2**63 - 1}


def _wanted(  # noqa: PLR0917 - one for each filter
    status: Annotated[
        list[Status] | None, OPTIONAL, Query(description="In one of these states; may be given again")
    ] = None,
    channel: Annotated[ChannelName | None, OPTIONAL, Query(description="By this channel")] = None,
    sender: Annotated[str, Query(description="Of this sender")] = "",
    site: Annotated[str, Query(description="Handed over for this site")] = "",
    kind: Annotated[str, Query(description="Of this kind: `send_message`, `digest`, or that of an event")] = "",
    campaign: Annotated[int | None, OPTIONAL, Query(description="Made for this campaign", **_NUMBER)] = None,
    address: Annotated[str, Query(description="To this address, in whatever case, or this telephone number")] = "",
    case: Annotated[str, Query(description="About this case")] = "",
    dag_id: Annotated[str, Query(description="With `run_id`: handed over by that run, or sent by it")] = "",
    run_id: Annotated[str, Query(description="With `dag_id`")] = "",
    task_id: Annotated[str, Query(description="Of such a run, the task")] = "",
    map_index: Annotated[int | None, Query(description="Of such a task, the mapped one", le=2**31 - 1)] = None,
    since: Annotated[str, Query(description="Handed over at this moment or later; ISO 8601, in UTC if no zone")] = "",
    until: Annotated[str, Query(description="Handed over before this moment")] = "",
) -> Search:
    if bool(dag_id) != bool(run_id):
        raise UnusableQuery("dag_id and run_id name a run together; give both, or neither.")
    return Search(
        statuses=frozenset(status or ()),
        channel=channel,
        sender=text_of("sender", sender),
        site=text_of("site", site),
        kind=text_of("kind", kind),
        campaign=campaign,
        address=text_of("address", sought_address(address)),
        case_id=text_of("case", case),
        dag_id=text_of("dag_id", dag_id),
        run_id=text_of("run_id", run_id),
        task_id=text_of("task_id", task_id),
        map_index=map_index,
        since=moment_of("since", since),
        until=moment_of("until", until),
    )


#: The filters of a request.
Wanted = Annotated[Search, Depends(_wanted)]

#: Where a page goes on.
Before = Annotated[int | None, Query(description="Only those with smaller numbers", **_NUMBER)]

#: Which message is meant.
Number = Annotated[int, Path(description="The message's number in the register", **_NUMBER)]


def text_of(field: str, text: str) -> str | None:
    """A text that is looked for; None where none was given.

    :raises UnusableQuery: the database knows no such text
    """
    if "\0" in text:
        raise UnusableQuery(f"{field}: no text here has a NUL character.")
    return text or None


def moment_of(field: str, text: str) -> datetime | None:
    """A moment that is looked for, in UTC where it says nothing else.

    :raises UnusableQuery: it is none
    """
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UnusableQuery(f"{field}: {text!r} is no date and time; write, e.g., 2026-03-02 14:00.") from None
    if not 1970 <= at.year <= 9000:
        raise UnusableQuery(f"{field}: {text!r} is not between the years 1970 and 9000.")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def mail_of(connection: Connection, number: int) -> Mail | None:
    """What a message says; None where nothing is kept of it any more."""
    text = register.text(connection, number)
    return None if text is None else Mail.of(text)
