"""Who is meant by a recipient: an address, a person's login, or a group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy.engine import Connection

from notify.domain.address import CONTROL, Address, parse_address
from notify.domain.channel import ChannelName
from notify.domain.message import Draft, RecipientRole
from notify.domain.person import Person
from notify.domain.phone import Number, parse_number
from notify.exceptions import Fault, InvalidNumber
from notify.storage import people, suppressions, unsubscriptions

#: The fields that name recipients, in the order that decides where somebody named twice stands.
FIELDS = (
    ("recipient", RecipientRole.TO),
    ("cc", RecipientRole.CC),
    ("bcc", RecipientRole.BCC),
)


@dataclass(frozen=True, slots=True)
class Phone:
    """Where an SMS goes.

    :param name: whose it is, or empty
    """

    number: Number
    name: str = ""

    @property
    def key(self) -> str:
        """What two spellings of the same number have in common."""
        return self.number.e164

    @property
    def destination(self) -> str:
        """Where a message goes, as the outbox keeps it: E.164, with its plus."""
        return self.number.e164


@dataclass(frozen=True, slots=True)
class Receiver:
    """A recipient, resolved.

    :param person: who they are, where that is known
    """

    role: RecipientRole
    address: Address | Phone
    person: Person | None = None


def resolve(book: Book, draft: Draft, faults: list[Fault]) -> list[Receiver]:
    """Find the address, or of an SMS the number, of everybody named; who is named twice counts once.

    :param book: that knows the draft's names, see :func:`book_of`
    :param faults: what is wrong is added here: no address, nobody of that name, nobody in the group, no longer active
    :returns: the receivers, To before Cc before Bcc
    """
    receivers: dict[str, Receiver] = {}
    for field, role in FIELDS:
        for name in getattr(draft, field):
            try:
                for address, person in book.look_up(name, draft.channel):
                    receivers.setdefault(address.key, Receiver(role, address, person))
            except (ValueError, InvalidNumber) as error:
                faults.append(Fault(field, str(error)))
    return [
        replace(found, person=book.readers.get(key)) if found.person is None else found
        for key, found in receivers.items()
    ]


def book_of(connection: Connection, drafts: Iterable[Draft], region: str = "") -> Book:
    """Ask for everybody whom messages name.

    :param region: the country of telephone numbers that are written without a country code; empty: there is none
    """
    names: dict[ChannelName, list[str]] = {channel: [] for channel in ChannelName}
    for draft in drafts:
        names[draft.channel] += [name for field, _ in FIELDS for name in getattr(draft, field)]
    return Book(connection, names[ChannelName.EMAIL], numbers=names[ChannelName.SMS], region=region)


class Book:
    """Who is behind names, of one message or of many: each question is asked of the database once.

    :param names: of mails
    :param numbers: of SMS
    :param region: see :func:`book_of`
    """

    def __init__(
        self, connection: Connection, names: Sequence[str], *, numbers: Sequence[str] = (), region: str = ""
    ) -> None:
        # No text may hold NUL.
        logins = {name for name in (*names, *numbers) if "@" not in name and not CONTROL.search(name)}
        self.people = people.find(connection, logins) if logins else {}
        self.groups = people.members(connection, logins) if logins else {}
        self._connection = connection
        self._names = names
        self._wanted = numbers
        self._region = region

    @cached_property
    def _addresses(self) -> dict[str, Address]:
        """The names that are addresses."""
        found = {}
        for name in self._names:
            if "@" in name and name not in found:
                with suppress(ValueError):  # told where it is looked up
                    found[name] = parse_address(name)
        return found

    @cached_property
    def _numbers(self) -> dict[str, Phone]:
        """The telephone numbers that are meant, as they are written."""
        known = [person.phone for person in self._known if person.phone] if self._wanted else []
        found = {}
        for written in {*self._wanted, *known}:
            with suppress(InvalidNumber):  # told where it is looked up
                found[written] = Phone(parse_number(written, self._region or None))
        return found

    @cached_property
    def readers(self) -> dict[str, Person]:
        """The active people who have an address that is named, by its key."""
        keys = {address.key for address in self._addresses.values()}
        return people.find_by_email(self._connection, keys) if keys else {}

    @cached_property
    def suppressed(self) -> dict[str, str]:
        """Of all addresses and numbers that are meant, those that get nothing: why, by their keys."""
        return suppressions.among(self._connection, self._keys)

    @cached_property
    def unsubscribed(self) -> set[str]:
        """Those that get nothing that goes to many."""
        return unsubscriptions.among(self._connection, self._keys, unsubscriptions.BULK)

    @property
    def _known(self) -> list[Person]:
        return [*self.people.values(), *(person for members in self.groups.values() for person in members)]

    @cached_property
    def _keys(self) -> set[str]:
        emails = {person.email.lower() for person in self._known if person.email}
        return emails | {one.key for one in self._addresses.values()} | {one.key for one in self._numbers.values()}

    def look_up(
        self, name: str, channel: ChannelName = ChannelName.EMAIL
    ) -> Iterator[tuple[Address | Phone, Person | None]]:
        """The addresses that a name stands for, or, of an SMS, the numbers.

        :raises ValueError: it stands for none; the message says why
        """
        if name in self.people and name in self.groups:
            raise ValueError(f"{name!r} is both a login and a group; write the {_WAY[channel]} instead")
        if name in self.people:
            return iter([self.reach(self.people[name], channel)])
        if name in self.groups:
            return self._reach_group(name, channel)
        return iter([(self._number(name) if channel is ChannelName.SMS else self._address(name), None)])

    def _reach_group(self, name: str, channel: ChannelName) -> Iterator[tuple[Address | Phone, Person]]:
        reachable = [person for person in self.groups[name] if person.active and _written(person, channel)]
        if not reachable:
            article = "an" if channel is ChannelName.EMAIL else "a"
            raise ValueError(f"the group {name!r} has no active member with {article} {_WAY[channel]}")
        return (self.reach(person, channel) for person in reachable)

    def reach(self, person: Person, channel: ChannelName) -> tuple[Address | Phone, Person]:
        """The address of somebody who is known, or, of an SMS, the number.

        :raises ValueError: they have none, or are no longer active
        """
        if not person.active:
            raise ValueError(f"{person.login!r} is no longer active")
        written = _written(person, channel)
        if written is None:
            raise ValueError(f"{person.login!r} has no {_WAY[channel]}")
        if channel is ChannelName.SMS:
            return replace(self._number(written), name=person.name), person
        return Address(written, person.name), person

    def _address(self, name: str) -> Address:
        if "@" not in name:
            raise ValueError(f"{name!r} is no address, and no login or group of that name is known")
        return self._addresses.get(name) or parse_address(name)

    def _number(self, name: str) -> Phone:
        return self._numbers.get(name) or Phone(parse_number(name, self._region or None))


#: What somebody needs to be reached through a channel.
_WAY = {ChannelName.EMAIL: "e-mail address", ChannelName.SMS: "telephone number"}


def _written(person: Person, channel: ChannelName) -> str | None:
    return person.phone if channel is ChannelName.SMS else person.email


# --- Of an event -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Concerned:
    """A recipient of an event, resolved; a person counts whether or not a mail can reach them.

    :param address: None for a person without one
    """

    address: Address | None
    person: Person | None = None

    @property
    def key(self) -> str:
        """What two ways of naming the same recipient have in common."""
        return f"login {self.person.login}" if self.person else self.address.key if self.address else ""

    @property
    def login(self) -> str | None:
        """The person's login."""
        return self.person.login if self.person else None

    @property
    def name(self) -> str:
        """As it stands in the mail's To."""
        return self.person.name if self.person else self.address.name if self.address else ""


def concerned(connection: Connection, names: Sequence[str], faults: list[Fault]) -> list[Concerned]:
    """Find everybody whom an event names; who is named twice counts once.

    Unlike :func:`resolve` it takes people who are inactive or have no address: that they get no mail is recorded, also
    where somebody who has left is named by the address.

    :param faults: what is wrong is added here: no address, nobody of that name, a group without members
    """
    book = Book(connection, names)
    found: dict[str, Concerned] = {}
    for name in names:
        try:
            for one in _all_behind(book, name):
                found.setdefault(one.key, one)
        except ValueError as error:
            faults.append(Fault("recipients", str(error)))
    strangers = [one.address.key for one in found.values() if one.person is None and one.address]
    known = people.find_by_email(connection, strangers, inactive=True) if strangers else {}
    recipients: dict[str, Concerned] = {}
    for one in found.values():
        person = known.get(one.address.key) if one.person is None and one.address else None
        whole = _as_person(person) if person else one
        recipients.setdefault(whole.key, whole)
    return list(recipients.values())


def _all_behind(book: Book, name: str) -> Iterator[Concerned]:
    if "@" in name:
        yield Concerned(parse_address(name))
    elif name in book.people and name in book.groups:
        raise ValueError(f"{name!r} is both a login and a group; write the address instead")
    elif name in book.people:
        yield _as_person(book.people[name])
    elif name in book.groups:
        if not book.groups[name]:
            raise ValueError(f"the group {name!r} has no members")
        yield from map(_as_person, book.groups[name])
    else:
        raise ValueError(f"{name!r} is no address, and no login or group of that name is known")


def _as_person(person: Person) -> Concerned:
    return Concerned(Address(person.email, person.name) if person.email else None, person)
