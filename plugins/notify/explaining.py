"""Why somebody did, or did not, get a mail, in sentences: for the command line and for the page.

A sentence is made of words, of moments, and of things that can be looked at: a :class:`Thing`, which each door writes
in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby

from pydantic import AwareDatetime, TypeAdapter
from sqlalchemy.engine import Connection

from notify.domain.channel import ChannelName
from notify.domain.destination import Region, is_number, sought
from notify.domain.home import BECAUSE, WHY_NOT_BY_SMS, Home, NotBySms, Reason
from notify.domain.person import Person
from notify.exceptions import NothingKnown
from notify.settings import phone_region
from notify.storage import explanation, outbox, people, register
from notify.storage.explanation import Direct, Told

#: How far back a person's story goes, unless somebody asks for more.
USUAL = "P7D"

#: Notifications, and messages, that are told unless somebody asks for more.
MOST = 200

#: The longest time back; whoever wants all has all by then.
_LONGEST = timedelta(days=36_500)

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = TypeAdapter(AwareDatetime)
_BACK = TypeAdapter(timedelta)


class Sort(StrEnum):
    """What can be looked at."""

    MESSAGE = "message"
    EVENT = "event"
    CASE = "case"
    SUPPRESSION = "suppression"


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be looked at.

    :param name: its number, a case's id, or an address on the suppression list
    """

    sort: Sort
    name: str


Sentence = tuple[str | datetime | Thing, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """An event, and where notifications of it are.

    :param homes: whom each concerns, and where it is
    """

    happened: Sentence
    homes: tuple[tuple[str, Sentence], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer.

    :param login: whom it is about, None where that is no person
    :param since: of what happened from then on, None for all of it
    :param count: notifications that are told of
    :param direct: what somebody wrote to the person
    :param cut: whether there may be more
    """

    stories: tuple[Story, ...]
    count: int
    cut: bool
    login: str | None = None
    since: datetime | None = None
    direct: tuple[Sentence, ...] = ()


# --- What is asked about ---------------------------------------------------------------------------------------------


def read_since(text: str) -> datetime | timedelta:
    """From when on: a day, a moment with its zone, or a time back from now.

    A number could be taken for seconds since 1970, and so could a day without dashes.

    :raises ValueError: it is none of these; the message says what would be
    """
    try:
        return _ago(text.upper()) if text[:1] in {"P", "p"} else _moment_in(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no moment; write 2026-11-01, 2026-11-01T08:00+01:00, or P7D for the last seven days"
        ) from None


def _ago(text: str) -> timedelta:
    back = _BACK.validate_python(text)
    if not timedelta(0) <= back <= _LONGEST:
        raise ValueError
    return back


def _moment_in(text: str) -> datetime:
    if _DAY.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    moment = _MOMENT.validate_python(text) if _DAY.match(text) else None
    if moment is None or not 1970 <= moment.year <= 9000:
        raise ValueError
    return moment.astimezone(UTC)


def of_event(connection: Connection, number: int, *, most: int = MOST) -> Explanation:
    """Where an event's notifications are.

    :raises NothingKnown: there is no such event
    """
    return _by_event(explanation.of_event(connection, number, most=most), most, f"There is no event {number}.")


def of_events(connection: Connection, numbers: Iterable[int], *, most: int = MOST) -> dict[int, Story]:
    """Where the notifications of several events are, by the event's number; those that there are not are left out."""
    told = explanation.of_events(connection, numbers, most=most)
    return {number: _story(list(group)) for number, group in groupby(told, key=lambda one: one.event_id)}


def of_case(connection: Connection, case: str, *, most: int = MOST) -> Explanation:
    """Where the notifications about a case are, the newest event first.

    :raises NothingKnown: nothing was published about it
    """
    told = explanation.of_case(connection, case, most=most)
    return _by_event(told, most, f"Nothing was published about the case {case!r}.")


def of_message(connection: Connection, number: int, *, most: int = MOST) -> Explanation:
    """What a mail or a digest tells of.

    :raises notify.exceptions.TransitionError: there is no such message
    :raises NothingKnown: it tells of no event
    """
    register.read(connection, number)  # or there is no such message
    told = explanation.in_message(connection, number, most=most)
    return _by_event(told, most, f"Message {number} tells of no event: somebody wrote it directly.")


def of_person(
    connection: Connection,
    who: str,
    *,
    since: datetime | timedelta | None = None,
    most: int = MOST,
    region: Region = phone_region,
) -> Explanation:
    """Where a person's notifications are, newest first, and what was written to them directly.

    :param who: login, address or telephone number
    :param since: of those published from then on, or so long ago; None: the usual time back
    :param region: the country of numbers without the code of one
    :raises NothingKnown: there is no such person
    """
    person = _person(connection, who, region)
    given = _ago(USUAL) if since is None else since
    begin = given if isinstance(given, datetime) else outbox.now(connection) - given
    told = explanation.of_person(connection, person.login, since=begin, most=most)
    number = people.number_of(person, region)
    addresses = [one for one in (person.email, number) if one]
    written = explanation.direct(connection, addresses, since=begin, most=most) if addresses else []
    return Explanation(
        stories=tuple(Story(_happened(one), ((person.login, _home(one)),)) for one in told),
        count=len(told),
        cut=len(told) == most,
        login=person.login,
        since=begin,
        direct=tuple(_direct(one) for one in written),
    )


def _person(connection: Connection, who: str, region: Region) -> Person:
    """A person by login, address or telephone number."""
    found = people.find(connection, [who]) or people.find_by_email(connection, [who], inactive=True)
    for person in found.values():
        return person
    number = sought(who, region)
    if is_number(number):
        for person in people.find_by_phone(connection, number, region):
            return person
        raise NothingKnown(f"No person has the telephone number {number}.")
    raise NothingKnown(f"No person has the address {who}." if "@" in who else f"There is no person {who!r}.")


# --- The answer ------------------------------------------------------------------------------------------------------


def _by_event(told: Sequence[Told], most: int, nothing: str) -> Explanation:
    if not told:
        raise NothingKnown(nothing)
    stories = tuple(_story(list(group)) for _, group in groupby(told, key=lambda one: one.event_id))
    return Explanation(stories, len(told), cut=len(told) == most)


def _story(told: Sequence[Told]) -> Story:
    return Story(_happened(told[0]), tuple((one.login or one.address or "", _home(one)) for one in told))


def _happened(one: Told) -> Sentence:
    return tuple(_words_of(one))


def _words_of(one: Told) -> Iterator[str | datetime | Thing]:
    yield Thing(Sort.EVENT, str(one.event_id))
    yield f": {one.kind}"
    if one.case_id:
        yield " of "
        yield Thing(Sort.CASE, one.case_id)
        yield f" {one.case_title!r}" if one.case_title else ""
    yield f" by {one.actor}, " if one.actor else ", "
    yield one.occurred_at
    yield _origin(one)


def _home(one: Told) -> Sentence:
    home = _where(one)
    if one.not_by_sms is None:
        return home
    return (*home, f"; chosen was SMS, but {WHY_NOT_BY_SMS[NotBySms(one.not_by_sms)]}")


def _where(one: Told) -> Sentence:
    by_sms = one.channel == ChannelName.SMS and (one.not_by_sms is None or one.reason is not None)
    if one.reason is not None:
        why = f"no {'SMS' if by_sms else 'mail'}, reason {one.reason}: {BECAUSE[Reason(one.reason)]}"
        if one.reason == Reason.SUPPRESSED and one.address:
            return (f"{why}; see ", Thing(Sort.SUPPRESSION, one.address), ", and lift")
        return (why,)
    if one.home is Home.WAITING:
        return (
            "waiting until ",
            one.due_at or "?",
            f", then UserNotifications moves it{' to an SMS' if by_sms else ''}",
        )
    single = "SMS" if by_sms else "mail"
    mail = f"digest of {one.in_message}{' by SMS' if by_sms else ''}" if one.home is Home.DIGEST else single
    return (f"{mail}, ", Thing(Sort.MESSAGE, str(one.message_id)), f" to {one.address}: ", *_state(one))


def _state(one: Told | Direct) -> Sentence:
    tries = f"{one.attempts} attempt{'' if one.attempts == 1 else 's'}"
    end = f", {tries}" + (f" ({one.status_reason})" if one.status_reason else "")
    if isinstance(one, Told) and one.sent_at:
        return (f"{one.status} ", one.sent_at, end)
    return (f"{one.status}{end}",)


def _direct(one: Direct) -> Sentence:
    begin = (Thing(Sort.MESSAGE, str(one.message_id)), f": {one.subject!r}, ", one.created_at)
    return (*begin, f"{_origin(one)}: ", *_state(one))


def _origin(one: Told | Direct) -> str:
    """The run that published or wrote it; Python code has none."""
    return f", from {one.origin_dag_id} / {one.origin_run_id}" if one.origin_dag_id else ""
