"""People: who is known, and how often they want to hear of what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query, Request
from sqlalchemy.engine import Connection
from starlette.responses import Response

from notify import settings
from notify.domain.preference import Preference, in_words
from notify.preferences import clear_preference, set_preference_fields
from notify.storage import directory, people, suppressions, unsubscriptions
from notify.storage.people import Record
from notify.storage.suppressions import Suppression
from notify.web import audit
from notify.web.api import paging
from notify.web.api.answer import Answer, shown
from notify.web.api.description import OF_BODY, problems, routes, takes
from notify.web.api.request import Change, changes, reads
from notify.web.outbox import reading
from notify.web.problems import NotFound
from notify.web.register import text_of
from notify.web.rights import Right

router = routes("/people", "people")

#: As a preference may look that is put down.
EXAMPLE = {"frequency": "daily", "hour": "17:30"}

_Login = Annotated[str, Path(description="The person's login")]
_Kind = Annotated[str, Path(description="A kind of event, or `*` for all of which the person says nothing else")]

# --- Answers ---------------------------------------------------------------------------------------------------------


@shown(login="anna", name="Anna Nowak", email="anna@example.com", active=True, supervisor="eve")
class Entry(Answer):
    """A person in a page.

    :param active: False: they have left
    :param supervisor: login of the person who is told when a deadline is missed
    """

    login: str
    name: str
    email: str | None
    active: bool
    supervisor: str | None


@shown(people=[Entry], next="/notify/api/v1/people?group=finance&after=anna", searched_to=None)
class People(Answer):
    """People by login.

    :param next: address of the next page; null at the end
    :param searched_to: the login up to which this page looked, where it may have missed some further on
    """

    people: list[Entry]
    next: str | None
    searched_to: str | None


@shown(frequency="daily", hour="17:30", weekday=None, quiet_from=None, quiet_until=None, channel=None)
class Said(Answer):
    """What a person said of a kind of event; null is "nothing said".

    :param hour: when a day's or week's mail is due, on the clock of the person's zone
    :param weekday: day of a week's mail, 1 (Monday) to 7
    :param quiet_from: from then on nothing but what is mandatory, until
    :param quiet_until: this hour
    :param channel: email, sms or both
    """

    frequency: str | None
    hour: str | None
    weekday: int | None
    quiet_from: str | None
    quiet_until: str | None
    channel: str | None


@shown(mandatory=False, frequency="daily", hour="17:30", weekday=1, quiet_from=None, quiet_until=None, channel="email")
class Applies(Answer):
    """What applies to a kind of event: what the person said of it, else of all kinds, else its default.

    :param mandatory: nobody may choose anything but the channel; it is always immediate
    :param hour: when a day's or week's mail is due, on the clock of the person's zone
    :param weekday: day of a week's mail, 1 (Monday) to 7
    :param channel: email, sms or both
    """

    mandatory: bool
    frequency: str
    hour: str
    weekday: int
    quiet_from: str | None
    quiet_until: str | None
    channel: str


@shown(said={"case_changed": Said}, applies={"case_changed": Applies})
class Preferences(Answer):
    """How often a person wants to hear of what.

    :param said: by kind, `*` for all of which the person says nothing else
    :param applies: what comes of it, by kind
    """

    said: dict[str, Said]
    applies: dict[str, Applies]


@shown(reason="mailbox does not exist", source="bounce", created_at="2026-11-30T08:00:00Z", expires_at=None)
class Kept(Answer):
    """That the person's address is on the suppression list, and so gets nothing.

    :param source: person or bounce
    :param expires_at: until then; null is for good
    """

    reason: str
    source: str
    created_at: datetime
    expires_at: datetime | None


@shown(
    login="anna",
    name="Anna Nowak",
    email="anna@example.com",
    phone=None,
    language="pl",
    timezone="Europe/Warsaw",
    active=True,
    supervisor="eve",
    groups=["finance"],
    source="sync:hr",
    updated_at="2026-11-30T08:00:00Z",
    put_aside=3,
    next_due="2026-11-30T17:00:00Z",
    suppressed=None,
    unsubscribed=[],
    phone_suppressed=None,
    phone_unsubscribed=[],
)
class Person(Answer):
    """All that is known of a person, their preferences aside.

    :param language: null: that of the message, else `en`
    :param timezone: null: that of the Variable `notify_timezone`
    :param active: False: they have left
    :param supervisor: login of the person who is told when a deadline is missed
    :param source: what brought them last
    :param put_aside: how many notifications wait for them
    :param next_due: when the first of these is due
    :param suppressed: why the address gets nothing, if it does
    :param unsubscribed: what its reader wants no more of, beside preferences: `bulk-mail`
    :param phone_suppressed: why the telephone number gets nothing, if it does
    :param phone_unsubscribed: what its reader wants no more of
    """

    login: str
    name: str
    email: str | None
    phone: str | None
    language: str | None
    timezone: str | None
    active: bool
    supervisor: str | None
    groups: list[str]
    source: str | None
    updated_at: datetime
    put_aside: int
    next_due: datetime | None
    suppressed: Kept | None
    unsubscribed: list[str]
    phone_suppressed: Kept | None
    phone_unsubscribed: list[str]


# --- Looking at them -------------------------------------------------------------------------------------------------


@router.get("", response_model=People, summary="Look for people", dependencies=[reads(Right.READ_PEOPLE)])
def list_people(  # noqa: PLR0917 - one for each filter
    request: Request,
    text: Annotated[str, Query(description="A part of the login, the name, the address or the telephone number")] = "",
    group: Annotated[str, Query(description="That they are in")] = "",
    active: Annotated[bool | None, Query(description="Only those who are, or only those who have left")] = None,
    after: paging.After = "",
    limit: paging.Limit = paging.USUAL,
) -> dict[str, object]:
    """People by login; whose login or address is just the text that was looked for stands first."""
    wanted = directory.Wanted(text_of("text", text) or "", text_of("group", group), active)
    with reading() as connection:
        found = directory.search(connection, wanted, after=text_of("after", after), limit=limit)
    following = None if found.next_after is None else paging.link(request, after=found.next_after)
    return {"people": found.found, "next": following, "searched_to": found.searched_to}


@router.get(
    "/{login:path}/preferences",
    response_model=Preferences,
    summary="Ask how often somebody wants to hear of what",
    dependencies=[reads(Right.READ_PEOPLE)],
    responses=problems(404),
)
def get_preferences(login: _Login) -> Preferences:
    """What a person said, and what applies to each kind of event."""
    kinds = settings.kinds()
    with reading() as connection:
        said = _record(connection, login).person.preferences or {}
    applying = {name: (kind.mandatory, kind.wish(said.get(name), said.get("*"))) for name, kind in kinds.items()}
    return Preferences(
        said={kind: _said(one) for kind, one in said.items()},
        applies={
            name: Applies(
                mandatory=mandatory,
                frequency=wish.frequency,
                hour=f"{wish.hour:%H:%M}",
                weekday=wish.weekday,
                quiet_from=f"{wish.quiet.start:%H:%M}" if wish.quiet else None,
                quiet_until=f"{wish.quiet.until:%H:%M}" if wish.quiet else None,
                channel=wish.channel,
            )
            for name, (mandatory, wish) in applying.items()
        },
    )


def _said(one: Preference) -> Said:
    written: dict[str, Any] = {
        name: f"{value:%H:%M}" if (value := getattr(one, name)) is not None else None
        for name in ("hour", "quiet_from", "quiet_until")
    }
    return Said(frequency=one.frequency, weekday=one.weekday, channel=one.channel, **written)


def _record(connection: Connection, login: str) -> Record:
    found = people.read(connection, text_of("login", login) or "")
    if found is None:
        raise NotFound(f"There is no person {login!r}.")
    return found


# --- Changing --------------------------------------------------------------------------------------------------------


@router.put(
    "/{login:path}/preferences/{kind}",
    status_code=204,
    summary="Put down how often somebody wants to hear of a kind of event",
    openapi_extra=takes(Preference, EXAMPLE),
    responses=problems(*OF_BODY, 409),
)
def put_preference(login: _Login, kind: _Kind, change: Annotated[Change, changes(Right.CHANGE_PEOPLE)]) -> Response:
    """Instead of what they said of it before; what is left out of the body, they say nothing of."""
    fields = change.fields()

    def work(connection: Connection) -> None:
        said = set_preference_fields(login, kind, fields, connection=connection)
        audit.record(change.user, "set_preferences", login=login, preferences={kind: in_words(said)})

    return change.once(work)


@router.delete(
    "/{login:path}/preferences/{kind}",
    status_code=204,
    summary="Forget what somebody said of a kind of event",
    responses=problems(409),
)
def delete_preference(login: _Login, kind: _Kind, change: Annotated[Change, changes(Right.CHANGE_PEOPLE)]) -> Response:
    """What they said of all kinds applies again, else the kind's default."""

    def work(connection: Connection) -> None:
        if clear_preference(login, kind, connection=connection):
            audit.record(change.user, "set_preferences", login=login, preferences={kind: "nothing said"})

    return change.once(work)


@router.get(
    "/{login:path}",
    response_model=Person,
    summary="Ask what is known of a person",
    dependencies=[reads(Right.READ_PEOPLE)],
    responses=problems(404),
)
def get_person(login: _Login) -> Person:
    """A person's record and groups, how much is put aside, and what their address and telephone number do not get."""
    with reading() as connection:
        record = _record(connection, login)
        email = record.person.email
        number = people.number_of(record.person, settings.phone_region)
        kept, scopes = _kept(connection, email), _scopes(connection, email)
        phone_kept, phone_scopes = _kept(connection, number), _scopes(connection, number)
    return Person.model_validate(
        {
            **record.person.model_dump(exclude={"preferences"}),
            "source": record.source,
            "updated_at": record.updated_at,
            "put_aside": record.put_aside,
            "next_due": record.next_due,
            "suppressed": kept,
            "unsubscribed": scopes,
            "phone_suppressed": phone_kept,
            "phone_unsubscribed": phone_scopes,
        }
    )


def _kept(connection: Connection, address: str | None) -> Suppression | None:
    return suppressions.find(connection, [address]).get(address.lower()) if address else None


def _scopes(connection: Connection, address: str | None) -> list[str]:
    return sorted(unsubscriptions.of(connection, address)) if address else []
