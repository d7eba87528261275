"""What readers want no more of: by the links in their mails, without a login; or by somebody else, on their word.

By a link they change what they get of which kind, and when.
Whom a link is for, the message says that it came with: its only recipient. A person's wishes are preferences, by the
same code as everywhere. An outside address has none; what is unwanted there, and whether an address wants bulk
mail, stands in :mod:`notify.storage.unsubscriptions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from notify.domain import link
from notify.domain.destination import Region, is_number, parse_destination
from notify.domain.kind import DIGEST, Kind
from notify.domain.link import Purpose
from notify.domain.person import Person
from notify.domain.preference import ANY_KIND, Frequency, Preference
from notify.exceptions import Fault, InvalidPreference, InvalidUnsubscription
from notify.preferences import clear_preference, set_preference
from notify.settings import phone_region
from notify.storage import links, people, preferences, unsubscriptions
from notify.storage.links import LinkedMessage
from notify.storage.unsubscriptions import BULK

#: Those of event that there are now, by name.
Kinds = Mapping[str, Kind]

#: What a preference says beside how often.
TIMES = ("hour", "weekday", "quiet_from", "quiet_until", "channel")


@dataclass(frozen=True, slots=True)
class Reader:
    """Whoever a link is for.

    :param message: the one that it came with
    :param person: who they are; None at an outside address
    :param said: what they said of kinds of event
    :param unwanted: scopes of :mod:`notify.storage.unsubscriptions`
    """

    message: LinkedMessage
    person: Person | None = None
    said: Mapping[str, Preference] = field(default_factory=dict)
    unwanted: frozenset[str] = frozenset()

    @property
    def actor(self) -> str:
        """Who does it, for the history."""
        who = "the person" if self.person else "the reader"
        return f"{who}, by link (message {self.message.id})"

    def frequency(self, kind: Kind) -> Frequency:
        """How often they get a kind."""
        if self.person is not None:
            return kind.wish(self.said.get(kind.name), self.said.get(ANY_KIND)).frequency
        return Frequency.NEVER if kind.name in self.unwanted else Frequency.IMMEDIATELY

    def choices(self, kind: Kind) -> tuple[Frequency, ...]:
        """What they may choose of a kind; at an outside address nothing can be put aside."""
        if self.person is not None:
            return kind.choices
        return (Frequency.IMMEDIATELY, Frequency.NEVER) if kind.refusable else ()


def find(connection: Connection, token: str, purpose: Purpose) -> Reader | None:
    """Whom a link is for; None where it is forged, for something else, too old, or theirs who were erased.

    What is no token costs nothing, any other one a look-up by keys.
    """
    found = link.read(token)
    message = links.find(connection, found, purpose) if found else None
    if message is None:
        return None
    unwanted = frozenset(unsubscriptions.of(connection, message.address))
    if message.login is None:
        return Reader(message, unwanted=unwanted)
    person = people.find(connection, [message.login]).get(message.login)
    if person is None:
        return None
    said = preferences.find(connection, [message.login]).get(message.login, {})
    return Reader(message, person, said, unwanted)


def offered(connection: Connection, reader: Reader, kinds: Kinds) -> tuple[str, ...]:
    """What the message is of that its reader may want no more of: scopes of which :func:`unsubscribe` takes any."""
    message = reader.message
    if message.bulk:
        return (BULK,)
    names = links.kinds(connection, message.id) if message.kind == DIGEST else [message.kind]
    return tuple(name for name in names if name in kinds and kinds[name].refusable)


def unsubscribe(connection: Connection, reader: Reader, scopes: Iterable[str], kinds: Kinds) -> bool:
    """Send no more of this; to do it again changes nothing.

    Of bulk mail also what is queued already goes nowhere: with a limit it may be so for days.

    :param scopes: of those :func:`offered`
    :returns: whether anything was changed
    """
    changed = [_stop(connection, reader, scope, kinds) for scope in scopes]
    return any(changed)


def _stop(connection: Connection, reader: Reader, scope: str, kinds: Kinds) -> bool:
    if scope == BULK or reader.person is None:
        return _put_down(connection, reader.message.address, scope, reader.actor).changed
    if reader.frequency(kinds[scope]) is Frequency.NEVER:
        return False
    return _say(connection, reader, scope, {"frequency": Frequency.NEVER})


@dataclass(frozen=True, slots=True)
class Stopped:
    """What came of it.

    :param address: a mailbox, in lower case, or a telephone number in E.164
    :param changed: False: it stood there already
    :param withheld: queued messages that go to nobody now
    """

    address: str
    changed: bool
    withheld: int


def _put_down(connection: Connection, address: str, scope: str, actor: str) -> Stopped:
    """Send no more of this to an address; of bulk mail also nothing that is queued."""
    changed = unsubscriptions.add(connection, address, scope, actor)
    withheld = unsubscriptions.withhold(connection, address) if scope == BULK else 0
    return Stopped(address.lower(), changed, withheld)


def stop(
    connection: Connection, address: str, scope: str, actor: str, kinds: Kinds, *, region: Region = phone_region
) -> Stopped:
    """Send no more of something to an address, because somebody says that its reader wants it so.

    :param address: a mailbox, in whatever case, or a telephone number
    :param scope: :data:`notify.storage.unsubscriptions.BULK`; or a kind of event, where the address is a mailbox and
        nobody's whom we know, for people have preferences, and nobody else is told of events by SMS
    :param actor: who says so, and by what door
    :param region: the country of a number without the code of one
    :raises InvalidUnsubscription: something is wrong with it; the error names every fault
    """
    faults: list[Fault] = []
    wanted = ""
    try:
        wanted = parse_destination(address, region).lower()
    except ValueError as error:
        faults.append(Fault("address", str(error)))
    refusable = [kind.name for kind in kinds.values() if kind.refusable]
    if scope not in {BULK, *refusable}:
        told = f"{scope!r} is nothing that an address can be unsubscribed from; {', '.join([BULK, *refusable])} are"
        faults.append(Fault("scope", told))
    elif scope != BULK and is_number(wanted):
        told = f"{scope!r} is nothing that a telephone number can be unsubscribed from; {BULK} is"
        faults.append(Fault("scope", told))
    elif scope != BULK and (person := people.find_by_email(connection, [wanted]).get(wanted)):
        told = f"{wanted!r} is the address of {person.login!r}, who has preferences: say there that it is never"
        faults.append(Fault("scope", told))
    if faults:
        raise InvalidUnsubscription(faults)
    return _put_down(connection, wanted, scope, actor)


def resubscribe(connection: Connection, reader: Reader, former: Mapping[str, Frequency | None], kinds: Kinds) -> bool:
    """Send of this again.

    :param former: the scopes, of those :func:`offered`; of each kind how often the person had said to get it, None
        where they had said nothing of it
    :returns: whether anything was changed
    """
    changed = [_resume(connection, reader, scope, before, kinds) for scope, before in former.items()]
    return any(changed)


def _resume(connection: Connection, reader: Reader, scope: str, before: Frequency | None, kinds: Kinds) -> bool:
    if scope == BULK or reader.person is None:
        return unsubscriptions.remove(connection, reader.message.address, scope)
    kind = kinds[scope]
    if reader.frequency(kind) is not Frequency.NEVER:
        return False
    if before is None and kind.wish(None, reader.said.get(ANY_KIND)).frequency is Frequency.NEVER:
        # Never is what applies to whoever says nothing of it; and they say that they want it.
        before = next(one for one in (kind.default, *kind.choices) if one is not Frequency.NEVER)
    return _say(connection, reader, scope, {"frequency": before})


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reader chose on the page of their settings; what is left out stays as it is.

    :param frequencies: by kind
    :param times: by kind, ``*`` for all; of each any of :data:`TIMES`, an empty text is "nothing said"
    :param bulk: whether they want bulk mail
    """

    frequencies: Mapping[str, str] = field(default_factory=dict)
    times: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bulk: bool | None = None


def change(connection: Connection, reader: Reader, changes: Changes, kinds: Kinds) -> bool:
    """Do what a reader chose, all of it or nothing.

    A frequency that applies already, from wherever, is not written down as theirs: it goes on following what it comes
    from.

    :returns: whether anything was changed
    :raises InvalidPreference: something cannot be chosen; the faults are named by kind, e.g. ``case_changed.hour``. The
        transaction is to be rolled back
    """
    faults: list[Fault] = []
    done = [_change_bulk(connection, reader, changes.bulk, kinds)]
    for name in dict.fromkeys([*changes.frequencies, *changes.times]):
        try:
            done.append(_change(connection, reader, name, changes, kinds))
        except InvalidPreference as error:
            faults += (Fault(f"{name}.{fault.field}", fault.problem) for fault in error.faults)
    if faults:
        raise InvalidPreference(faults)
    return any(done)


def _change_bulk(connection: Connection, reader: Reader, wanted: bool | None, kinds: Kinds) -> bool:
    if wanted is None or wanted == (BULK not in reader.unwanted):
        return False
    if wanted:
        return resubscribe(connection, reader, {BULK: None}, kinds)
    return unsubscribe(connection, reader, [BULK], kinds)


def _change(connection: Connection, reader: Reader, name: str, changes: Changes, kinds: Kinds) -> bool:
    kind = kinds.get(name)
    frequency = changes.frequencies.get(name)
    if kind is not None and frequency == reader.frequency(kind):
        frequency = None
    if reader.person is None:
        return frequency is not None and _change_outside(connection, reader, name, frequency, kinds)
    said: dict[str, Any] = {one: value or None for one, value in changes.times.get(name, {}).items() if one in TIMES}
    if frequency is not None:
        said["frequency"] = frequency
    return bool(said) and _say(connection, reader, name, said)


def _change_outside(connection: Connection, reader: Reader, name: str, frequency: str, kinds: Kinds) -> bool:
    kind = kinds.get(name)
    if kind is None or frequency not in reader.choices(kind):
        raise InvalidPreference([Fault("frequency", "cannot be chosen")])
    if frequency == Frequency.NEVER:
        return unsubscribe(connection, reader, [name], kinds)
    return resubscribe(connection, reader, {name: None}, kinds)


def _say(connection: Connection, reader: Reader, kind: str, changed: Mapping[str, Any]) -> bool:
    """Put down what a person says of a kind, beside what they said of it before."""
    assert reader.person is not None
    login, before = reader.person.login, reader.said.get(kind, Preference())
    fields = {name: value for name, value in (before.model_dump() | dict(changed)).items() if value is not None}
    if not fields:
        return clear_preference(login, kind, connection=connection)
    return set_preference(login, kind, connection=connection, **fields) != before
