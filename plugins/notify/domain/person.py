"""People whom a message may be for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from notify.domain.address import CONTROL, parse_address, split_names
from notify.domain.faults import faults_of
from notify.domain.kind import BUILT_IN, Kind
from notify.domain.message import Text
from notify.domain.preference import ANY_KIND, Frequency, Preference
from notify.exceptions import Fault

#: Faults shown of a list of people; there are never so few as one.
SHOWN = 20

#: The longest name of a group, as that of a login.
LONGEST_GROUP = 200


def _groups(value: object) -> object:
    """None means "as they are"; a string is separated by semicolons or commas."""
    return split_names(value) if isinstance(value, str) else value


def _preferences(value: object) -> object:
    """None means "as they are"; a string is JSON, so that a cell of a CSV can hold it, or a frequency for all kinds."""
    if isinstance(value, str):
        value = _json(value.strip())
    if isinstance(value, str):
        value = {ANY_KIND: value}
    if isinstance(value, Mapping):
        return {kind: {"frequency": said} if isinstance(said, str) else said for kind, said in value.items()}
    if value is None:
        return None
    raise ValueError('is no JSON object; write, for example, {"case_changed": "daily"}, or one frequency for all kinds')


def _json(text: str) -> object:
    """What a text says in JSON, False where it is none; an empty one says None, and a bare word is itself."""
    if not text or text.isalpha():
        return text or None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return False


def _said(value: dict[str, Preference] | None) -> dict[str, Preference] | None:
    """Only kinds of which something was said: a preference without anything in it is none."""
    return value and {kind: said for kind, said in value.items() if said != Preference()}


@cache
def _zones() -> frozenset[str]:
    """The standard library reads its folders anew each time, which took two minutes of an import of 20,000 people."""
    return frozenset(available_timezones())


class Person(BaseModel):
    """A person, as imported and as stored.

    :param login: how producers name them; no at sign, comma or semicolon
    :param name: as it stands in a mail's To
    :param language: e.g. ``pl``; None: the message's, else ``en``
    :param timezone: IANA name, e.g. ``Europe/Warsaw``; None: ``notify_timezone``
    :param supervisor: login of the person who is told when a deadline is missed
    :param groups: names of all their groups; None leaves them as they are
    :param preferences: all that they said, by kind or ``*``; None leaves it as it is. As a string it is JSON; a
        frequency stands for a preference that says no more, or, alone, for that of all kinds
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    login: str = Field(min_length=1, max_length=200, pattern=r"^[^@;,\s<>\"][^@;,<>\"]*$")
    name: str = Field(default="", max_length=200)
    email: Text = None
    phone: Text = Field(default=None, max_length=40)
    language: Text = Field(default=None, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")
    timezone: Text = None
    active: bool = True
    supervisor: Text = Field(default=None, max_length=200)
    groups: Annotated[list[str] | None, BeforeValidator(_groups)] = None
    preferences: Annotated[dict[str, Preference] | None, BeforeValidator(_preferences), AfterValidator(_said)] = None

    @field_validator("login", "name", "phone", "supervisor")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        if value is not None and CONTROL.search(value):
            raise ValueError("a line break or control character is not allowed")
        return value

    @field_validator("email")
    @classmethod
    def _mailbox(cls, value: str | None) -> str | None:
        return None if value is None else parse_address(value).mailbox

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None and value not in _zones():
            raise ValueError(f"{value!r} is no time zone; write an IANA name such as Europe/Warsaw")
        return value

    @field_validator("groups")
    @classmethod
    def _group_names(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if not name or "@" in name or CONTROL.search(name):
                raise ValueError(f"{name!r} is no group name: no at sign, no line break, not empty")
            if len(name) > LONGEST_GROUP:  # an index of PostgreSQL holds no longer one
                raise ValueError(f"a group's name has more than {LONGEST_GROUP} characters")
        return value


def fault_of_choice(
    kind: str, frequency: Frequency | None, kinds: Mapping[str, Kind], *, only_channel: bool = False
) -> Fault | None:
    """Whether a person may say something of a kind, and choose this frequency for it.

    :param kind: its name, or ``*``
    :param only_channel: whether all that they say is through which channel, which nobody but they can know
    :param kinds: all that are known
    """
    if kind == ANY_KIND:
        return None
    if kind not in kinds:
        return Fault("kind", f"{kind!r} is unknown; there are {', '.join(sorted(kinds))}, and * for all of them")
    if kinds[kind].mandatory and not only_channel:
        told = f"{kind!r} is mandatory: everybody hears of it at once, and nothing but the channel can be chosen"
        return Fault("kind", told)
    if kinds[kind].mandatory:
        return None
    choices = kinds[kind].choices
    if frequency is not None and frequency not in choices:
        return Fault("frequency", f"{frequency.value!r} cannot be chosen for {kind}; {', '.join(choices)} can")
    return None


def check_people(
    records: Iterable[tuple[str, object]], kinds: Callable[[], Mapping[str, Kind]], *, whole: str
) -> tuple[list[Person], list[str]]:
    """Check people as they come from outside.

    :param records: where each stands, e.g. ``line 2``, and its fields
    :param kinds: all kinds that are known; asked for where somebody speaks of one that is not built in
    :param whole: what the records are taken from, e.g. ``the file``
    :returns: the people, and all that is wrong, each fault with its place and field
    """
    found: dict[str, Person] = {}
    faults: list[str] = []
    for place, record in records:
        try:
            person = Person.model_validate(record)
        except ValidationError as error:
            wrong = faults_of(error, Person, nested=True) if isinstance(record, Mapping) else ["is no object"]
            faults += [f"{place}: {fault}" for fault in wrong]
            continue
        faults += [f"{place}: {fault}" for fault in _faults_of_choices(person, kinds)]
        if person.login in found:
            faults.append(f"{place}: login: {person.login!r} stands in {whole} twice")
        found[person.login] = person
    return list(found.values()), faults


def told(faults: Sequence[str]) -> str:
    """Faults for reading, a line for each."""
    more = [f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "".join(f"\n  * {fault}" for fault in faults[:SHOWN]) + "".join(f"\n  {line}" for line in more)


def _faults_of_choices(person: Person, kinds: Callable[[], Mapping[str, Kind]]) -> list[Fault]:
    said = person.preferences or {}
    found = {
        kind: fault_of_choice(
            kind,
            one.frequency,
            BUILT_IN if kind in BUILT_IN or kind == ANY_KIND else kinds(),
            only_channel=one.only_channel,
        )
        for kind, one in said.items()
    }
    return [Fault(f"preferences.{kind}", fault.problem) for kind, fault in found.items() if fault]
