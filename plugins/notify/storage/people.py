"""People and groups: recipients known by login."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine import Connection

from notify.domain.destination import Region, number_in
from notify.domain.faults import faults_of
from notify.domain.person import Person
from notify.exceptions import ConfigurationError, InvalidNumber, UnusableRecord
from notify.storage import preferences
from notify.storage.models import deferred, groups, memberships, people

#: "people" in ASCII: the advisory lock that lets one list of people in at a time.
IMPORT_LOCK = 0x70656F706C65

#: Digits at the end that all spellings of a telephone number have in common.
_TAIL = 6

#: Digits have other signs in other alphabets.
_BEYOND_ASCII = r"[^\x01-\x7f]"

#: What a person's own row tells beside the login.
_FIELDS = ("name", "email", "phone", "language", "timezone", "active", "supervisor")


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """What an import did.

    :param added: people who were not known
    :param changed: people who were known, and whose record differs now
    :param unchanged: people who were known as they are
    :param groups: groups named in the import
    :param preferences: people who had said something else of how often they want to hear
    :param deactivated: people who came from the same source and are missing now
    """

    added: int
    changed: int
    unchanged: int
    groups: int
    preferences: int = 0
    deactivated: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of a person.

    :param person: with their groups and all that they said
    :param source: what brought them last, e.g. ``sync:hr``
    :param put_aside: how many notifications wait for them
    :param next_due: when the first of these is due
    """

    person: Person
    source: str | None
    updated_at: datetime
    put_aside: int
    next_due: datetime | None


def _among(column: sa.ColumnElement[str], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """IN by one parameter: PostgreSQL takes 65,535 of them, and a hand-over or an import may have more names."""
    return column == sa.any_(sa.literal(list(values), ARRAY(sa.Text)))


def find(connection: Connection, logins: Iterable[str]) -> dict[str, Person]:
    """People by login; who is unknown is left out.

    :raises UnusableRecord: what is stored of one of them cannot be used, by whatever way it came there
    """
    query = sa.select(people).where(_among(people.c.login, logins))
    return {row.login: _person(row) for row in connection.execute(query)}


def find_by_email(connection: Connection, mailboxes: Iterable[str], *, inactive: bool = False) -> dict[str, Person]:
    """Active people by the lower-case form of their address; of several with the same one, the first login.

    :param inactive: also those who are not active any more, of addresses that nobody active has
    """
    email = sa.func.lower(people.c.email)
    query = sa.select(people).where(_among(email, (mailbox.lower() for mailbox in mailboxes)))
    if not inactive:
        query = query.where(people.c.active)
    query = query.order_by(people.c.active, people.c.login.desc())  # of one address, the last one counts
    return {row.email.lower(): _person(row) for row in connection.execute(query)}


def find_by_phone(connection: Connection, number: str, region: Region) -> list[Person]:
    """People who have a telephone number, in whatever spelling it is stored; those who are active first.

    :param number: in E.164
    :param region: the country of numbers that are stored without the code of one
    """
    stored = sa.func.regexp_replace(people.c.phone, "[^0-9]", "", "g")
    may_be = sa.or_(stored.endswith(number[-_TAIL:]), people.c.phone.op("~")(_BEYOND_ASCII))
    query = sa.select(people).where(may_be).order_by(people.c.active.desc(), people.c.login)
    found = (_person(row) for row in connection.execute(query))
    return [person for person in found if number_of(person, region) == number]


def number_of(person: Person, region: Region) -> str | None:
    """A person's telephone number in E.164; None where they have none that an SMS could go to."""
    with suppress(InvalidNumber):
        return number_in(person.phone, region) if person.phone else None
    return None


def known_groups(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those of these that are groups."""
    return set(connection.scalars(sa.select(groups.c.name).where(_among(groups.c.name, names))))


def group_names(connection: Connection) -> list[str]:
    """All groups, by name."""
    return list(connection.scalars(sa.select(groups.c.name).order_by(groups.c.name)))


def members(connection: Connection, names: Iterable[str]) -> dict[str, list[Person]]:
    """The members of groups, by login; a group without members has an empty list, an unknown one is left out."""
    wanted = list(names)
    known = connection.scalars(sa.select(groups.c.name).where(_among(groups.c.name, wanted)))
    found: dict[str, list[Person]] = {name: [] for name in known}
    query = (
        sa.select(memberships.c.group_name, people)
        .join(people, people.c.login == memberships.c.login)
        .where(_among(memberships.c.group_name, wanted))
        .order_by(memberships.c.group_name, people.c.login)
    )
    for row in connection.execute(query):
        found[row.group_name].append(_person(row))
    return found


def _person(row: sa.Row) -> Person:  # type: ignore[type-arg]  # any row with the columns of people
    try:
        return Person(login=row.login, **{name: getattr(row, name) for name in _FIELDS})
    except ValidationError as error:
        # The fields alone: the values are somebody's name and address, and this ends up in a log.
        fields = ", ".join(fault.field for fault in faults_of(error, Person))
        raise UnusableRecord(
            f"What is stored of {row.login!r} cannot be used ({fields}). Import the person again, or correct the row."
        ) from None


def read(connection: Connection, login: str) -> Record | None:
    """All that is known of a person, None where there is nobody of that login."""
    row = connection.execute(sa.select(people).where(people.c.login == login)).first()
    if row is None:
        return None
    names = sa.select(memberships.c.group_name).where(memberships.c.login == login)
    waits = connection.execute(
        sa.select(sa.func.count(), sa.func.min(deferred.c.due_at)).where(deferred.c.login == login)
    ).one()
    person = _person(row).model_copy(
        update={
            "groups": sorted(connection.scalars(names)),
            "preferences": preferences.find(connection, [login]).get(login, {}),
        }
    )
    return Record(person, row.source, row.updated_at, *waits)


def listed(connection: Connection, *, active: bool = True, group: str | None = None) -> list[Person]:
    """People by login.

    :param active: only those who are, or only those who are not any more
    :param group: only its members
    :raises ConfigurationError: there is no such group
    """
    query = sa.select(people).where(people.c.active == active).order_by(people.c.login)
    if group is not None:
        if not connection.scalar(sa.select(sa.exists().where(groups.c.name == group))):
            raise ConfigurationError(f"There is no group {group!r}.")
        inside = sa.select(memberships.c.login).where(memberships.c.group_name == group)
        query = query.where(people.c.login.in_(inside))
    return [_person(row) for row in connection.execute(query)]


_INSERT = insert(people)

_SAVE = _INSERT.on_conflict_do_update(
    index_elements=["login"],
    set_={name: _INSERT.excluded[name] for name in _FIELDS}
    | {"source": sa.func.coalesce(_INSERT.excluded.source, people.c.source), "updated_at": sa.func.now()},
)

_LEAVE = sa.text("""
    delete from notify.memberships m
    using unnest(cast(:names as text[]), cast(:logins as text[])) as gone (group_name, login)
    where m.group_name = gone.group_name and m.login = gone.login
""")


def save(connection: Connection, imported: Sequence[Person], *, source: str | None = None) -> ImportCounts:
    """Add people or bring them up to date; their groups and preferences become the ones named.

    Who is not named stays as they are, and nothing is written that stands there already.

    :param source: where they come from, e.g. ``sync:hr``; whoever brought somebody last is theirs. None: as it is
    """
    _take_turns(connection)
    if not imported:
        return ImportCounts(0, 0, 0, 0)
    before = _before(connection, imported)
    differing = [person for person in imported if before.get(person.login, _NOBODY)[0] != _values(person)]
    others = [person for person in imported if source and before.get(person.login, _NOBODY)[1] != source]
    written = {person.login: person for person in [*differing, *others]}
    if written:
        connection.execute(sa.text("set constraints all deferred"))  # a supervisor may stand further down the list
        connection.execute(
            _SAVE,
            [
                {"login": login, "source": source, **dict(zip(_FIELDS, _values(person), strict=True))}
                for login, person in sorted(written.items())
            ],
        )
    added = sum(person.login not in before for person in imported)
    return ImportCounts(
        added=added,
        changed=len(differing) - added,
        unchanged=len(imported) - len(differing),
        groups=_save_groups(connection, imported),
        preferences=preferences.replace(
            connection, {person.login: person.preferences for person in imported if person.preferences is not None}
        ),
    )


def _take_turns(connection: Connection) -> None:
    """One list at a time. Locking all its people would do it too, but a merge passes over who is locked."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(IMPORT_LOCK)))


#: What is stored of somebody: the fields' values, and the source.
_Stored = tuple[tuple[object, ...], str | None]

_NOBODY: _Stored = ((), None)


def _before(connection: Connection, imported: Sequence[Person]) -> dict[str, _Stored]:
    columns = [people.c.login, people.c.source, *(people.c[name] for name in _FIELDS)]
    query = sa.select(*columns).where(_among(people.c.login, (person.login for person in imported)))
    return {login: (tuple(values), source) for login, source, *values in connection.execute(query)}


def _values(person: Person) -> tuple[object, ...]:
    return tuple(getattr(person, name) for name in _FIELDS)


def _save_groups(connection: Connection, imported: Sequence[Person]) -> int:
    named = [person for person in imported if person.groups is not None]
    wanted = {(name, person.login) for person in named for name in person.groups or ()}
    names = sorted({name for name, _ in wanted})
    if names:
        connection.execute(insert(groups).on_conflict_do_nothing(), [{"name": name} for name in names])
    query = sa.select(memberships).where(_among(memberships.c.login, (person.login for person in named)))
    before = {(row.group_name, row.login) for row in connection.execute(query)}
    if gone := before - wanted:
        left, logins = zip(*gone, strict=True)
        connection.execute(_LEAVE, {"names": list(left), "logins": list(logins)})
    if new := sorted(wanted - before):
        rows = [{"group_name": name, "login": login} for name, login in new]
        connection.execute(insert(memberships).on_conflict_do_nothing(), rows)
    return len(names)


def unknown_supervisors(connection: Connection, imported: Sequence[Person], *, whole: str) -> list[str]:
    """What is wrong with the supervisors of people who are to be saved.

    :param whole: what the people are taken from, e.g. ``the file``
    """
    named = {person.supervisor for person in imported if person.supervisor}
    strange = named - {person.login for person in imported}
    strange -= set(connection.scalars(sa.select(people.c.login).where(_among(people.c.login, strange))))
    return [
        f"{person.login}: supervisor: {person.supervisor!r} is neither in {whole} nor known"
        for person in imported
        if person.supervisor in strange
    ]


def keep_in_step(
    connection: Connection, imported: Sequence[Person], *, source: str, most_missing: float = 0.5
) -> ImportCounts:
    """Add people or bring them up to date; who came from the same source and is missing now becomes inactive.

    Nobody is deleted, and who is named again is active again.

    :param imported: all people that the source has
    :param most_missing: share of the source's active people that may leave at once, 0 to 1
    :raises ConfigurationError: more of them would, or nobody is named at all; nothing was changed
    """
    _take_turns(connection)
    active = set(connection.scalars(sa.select(people.c.login).where(people.c.source == source, people.c.active)))
    leaving = active - {person.login for person in imported if person.active}
    if most_missing < 1 and (not imported or len(leaving) > most_missing * len(active)):
        raise ConfigurationError(
            f"The list of {source!r} names {len(imported)} people, and {len(leaving)} of the {len(active)} active ones "
            f"from there would become inactive; at most {most_missing:.0%} may at once, and no list may be empty. "
            "Nothing was changed. Check the list; if it is right, allow it this once: most_missing=1, on the command "
            "line --most-missing 1."
        )
    counts = save(connection, imported, source=source)
    missing = sorted(active - {person.login for person in imported})
    connection.execute(
        sa.update(people).where(_among(people.c.login, missing)).values(active=False, updated_at=sa.func.now())
    )
    return replace(counts, deactivated=len(missing))
