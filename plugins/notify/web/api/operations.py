"""For operators: why somebody did, or did not, get a mail; whether the balance is even; whether all is well."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Query

from notify import explaining
from notify.checks.check import Outcome
from notify.checks.running import LOOKOUT
from notify.explaining import Explanation, Sentence, Thing
from notify.web.api.answer import Answer, shown
from notify.web.api.description import problems, routes
from notify.web.api.request import DOOR, reads
from notify.web.balance import drawn_up
from notify.web.outbox import reading
from notify.web.problems import UnusableQuery
from notify.web.register import text_of
from notify.web.rights import Right

router = routes("", "operations")

#: How long drawing up the balance may take: it reads all that there is.
PATIENCE = timedelta(minutes=10)

#: Notifications that are told of at most.
MOST = 10_000

_Number = Annotated[int | None, Query(ge=1, le=2**63 - 1)]

# --- Explain ---------------------------------------------------------------------------------------------------------


@shown(sort="message", name="4711")
class Part(Answer):
    """Something that a sentence names and that can be looked at.

    :param sort: message, event, case or suppression
    :param name: its number, a case's id, or an address
    """

    sort: str
    name: str


@shown(text="mail, message 4711 to anna@example.com: sent 2026-11-30T08:03:02Z, 1 attempt", names=[Part])
class Told(Answer):
    """A sentence.

    :param text: for people
    :param names: what it names, for programs
    """

    text: str
    names: list[Part]


@shown(who="anna", told=Told)
class Home(Answer):
    """Where a notification is.

    :param who: login or address of whom it concerns
    :param told: a mail or a digest with its state, until when it waits, or why there is none
    """

    who: str
    told: Told


@shown(
    happened={
        "text": "event 12: case_changed of INV-2041 by brian, 2026-11-30T08:00:00Z",
        "names": [{"sort": "event", "name": "12"}, {"sort": "case", "name": "INV-2041"}],
    },
    homes=[Home],
)
class Story(Answer):
    """An event, and where its notifications are."""

    happened: Told
    homes: list[Home]


@shown(login="anna", since="2026-11-23T08:00:00Z", stories=[Story], direct=[], cut=False)
class Explained(Answer):
    """Why somebody did, or did not, get a mail.

    :param login: whom it is about, null where that is no person
    :param since: of what happened from then on, null for all of it
    :param direct: what somebody wrote to the person
    :param cut: whether there may be more
    """

    login: str | None
    since: datetime | None
    stories: list[Story]
    direct: list[Told]
    cut: bool


@router.get(
    "/explain",
    response_model=Explained,
    summary="Ask why somebody did, or did not, get a mail",
    dependencies=[reads(Right.READ_PEOPLE)],
    responses=problems(404),
)
def explain(  # noqa: PLR0917 - one for each thing that can be asked about
    person: Annotated[str, Query(description="Login or address: all that concerned them, newest first")] = "",
    event: Annotated[_Number, Query(description="An event's number: for each of its recipients")] = None,
    case: Annotated[str, Query(description="A case's id: all its events, newest first")] = "",
    message: Annotated[_Number, Query(description="A message's number: what it tells of")] = None,
    since: Annotated[
        str, Query(description=f"With `person`: a day, a moment with its zone, or a time back (`{explaining.USUAL}`)")
    ] = "",
    most: Annotated[int, Query(description="Notifications at most", ge=1, le=MOST)] = explaining.MOST,
) -> Explained:
    """The home of each notification; ask about one of person, event, case and message."""
    who, about = text_of("person", person), text_of("case", case)
    if since and who is None:
        raise UnusableQuery("since goes with person only; anything else is told whole. Leave it out.")
    asked: list[Callable[..., Explanation]] = []
    if who is not None:
        asked.append(partial(explaining.of_person, who=who, since=_since(since)))
    if event is not None:
        asked.append(partial(explaining.of_event, number=event))
    if about is not None:
        asked.append(partial(explaining.of_case, case=about))
    if message is not None:
        asked.append(partial(explaining.of_message, number=message))
    if len(asked) != 1:
        raise UnusableQuery("Ask about one of person, event, case and message.")
    with reading() as connection:
        return _explained(asked[0](connection, most=most))


def _since(text: str) -> datetime | timedelta | None:
    try:
        return explaining.read_since(text) if text else None
    except ValueError as error:
        raise UnusableQuery(f"since: {error}.") from None


def _explained(found: Explanation) -> Explained:
    return Explained(
        login=found.login,
        since=found.since,
        stories=[
            Story(happened=_told(one.happened), homes=[Home(who=who, told=_told(home)) for who, home in one.homes])
            for one in found.stories
        ],
        direct=[_told(one) for one in found.direct],
        cut=found.cut,
    )


def _told(sentence: Sentence) -> Told:
    return Told(
        text="".join(map(_written, sentence)),
        names=[Part(sort=one.sort, name=one.name) for one in sentence if isinstance(one, Thing)],
    )


def _written(one: str | datetime | Thing) -> str:
    if isinstance(one, datetime):
        return f"{one:%Y-%m-%dT%H:%M:%SZ}"
    return f"{one.sort} {one.name}" if isinstance(one, Thing) else one


# --- Check -----------------------------------------------------------------------------------------------------------


@shown(what="events told twice to the same address", count=1, examples=[12])
class Wrong(Answer):
    """Something that must not be.

    :param what: in words
    :param count: how often
    :param examples: numbers of the first of them
    """

    what: str
    count: int
    examples: list[int]


@shown(
    at="2026-11-30T08:20:00Z",
    even=True,
    events=100,
    expected=240,
    mails=100,
    in_digests=90,
    digests=21,
    waiting=30,
    refused={"never": 15, "own_action": 5},
    statuses={"queued": 12, "sent": 178},
    wrong=[],
)
class Balance(Answer):
    """Events times recipients on one side, homes on the other.

    :param at: the moment that all of it is of
    :param even: whether every notification has exactly one home; anything else must never happen
    :param expected: notifications that the events must have
    :param refused: without a mail, by reason
    :param statuses: the state of the messages that mails and digests are in, by notification
    :param wrong: what must not be; empty where all is well
    """

    at: datetime
    even: bool
    events: int
    expected: int
    mails: int
    in_digests: int
    digests: int
    waiting: int
    refused: dict[str, int]
    statuses: dict[str, int]
    wrong: list[Wrong]


@router.get(
    "/check",
    response_model=Balance,
    summary="Draw up the balance",
)
def check(user: Annotated[BaseUser, reads(Right.READ_SETTINGS)]) -> Balance:
    """Whether every event has exactly one home for each of its recipients.

    It reads all that there is, and may take minutes. While somebody else draws it up, the answer is 503. What came of
    it stands on the page until the next one.
    """
    return Balance.model_validate(drawn_up(user, DOOR, PATIENCE))


# --- Health ----------------------------------------------------------------------------------------------------------


@shown(
    id="notify.W001",
    outcome="warning",
    title="Notifications runs",
    told="Notifications is paused.",
    remedy="Unpause it in the list of DAGs.",
)
class Looked(Answer):
    """What came of a check.

    :param id: which stays the same for ever
    :param outcome: fine, warning, error, or unknown
    :param title: how it should be
    :param told: what was found; empty where all is well
    :param remedy: what to do
    """

    id: str
    outcome: str
    title: str
    told: str
    remedy: str


@shown(healthy=True, checks=[Looked])
class Health(Answer):
    """Whether all is well.

    :param healthy: no check has found an error
    :param checks: errors first, then warnings, then what could not be told, then what is fine
    """

    healthy: bool
    checks: list[Looked]


@router.get(
    "/health",
    response_model=Health,
    summary="Ask whether all is well",
    dependencies=[reads(Right.READ_SETTINGS)],
)
def health() -> Health:
    """All checks, made now: what keeps mail from flowing, or may do so one day, and what to do about it."""
    results = LOOKOUT.look()
    errors = any(one.outcome is Outcome.ERROR for one in results)
    return Health(healthy=not errors, checks=[Looked.model_validate(one) for one in results])
