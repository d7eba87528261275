"""People and groups: recipients known by login."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.engine import Connection

from notify.domain.person import Person
from notify.storage.models import groups, memberships, people


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """What an import did.

    :param added: people who were not known
    :param changed: people who were known, and differ now
    :param unchanged: people who were known as they are
    :param groups: groups named in the import
    """

    added: int
    changed: int
    unchanged: int
    groups: int


def _among(column: sa.ColumnElement[str], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """IN by one parameter: PostgreSQL takes 65,535 of them, and a hand-over or an import may have more names."""
    return column == sa.any_(sa.literal(list(values), ARRAY(sa.Text)))


def find(connection: Connection, logins: Iterable[str]) -> dict[str, Person]:
    """People by login; who is unknown is left out."""
    query = sa.select(people).where(_among(people.c.login, logins))
    return {row.login: _person(row) for row in connection.execute(query)}


def find_by_email(connection: Connection, mailboxes: Iterable[str]) -> dict[str, Person]:
    """Active people by the lower-case form of their address; of several with the same one, the first login."""
    email = sa.func.lower(people.c.email)
    query = (
        sa.select(people)
        .where(_among(email, (mailbox.lower() for mailbox in mailboxes)), people.c.active)
        .order_by(people.c.login.desc())
    )
    return {row.email.lower(): _person(row) for row in connection.execute(query)}


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
    return Person(
        login=row.login,
        name=row.name,
        email=row.email,
        phone=row.phone,
        language=row.language,
        timezone=row.timezone,
        active=row.active,
        supervisor=row.supervisor,
    )


_FIELDS = ("name", "email", "phone", "language", "timezone", "active", "supervisor")


def save(connection: Connection, imported: Sequence[Person]) -> ImportCounts:
    """Add people or bring them up to date; their groups become the ones named. Who is not named stays as they are."""
    if not imported:
        return ImportCounts(0, 0, 0, 0)
    before = find(connection, [person.login for person in imported])
    connection.execute(sa.text("set constraints all deferred"))  # a supervisor may stand further down the file
    statement = insert(people)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["login"],
            set_={name: statement.excluded[name] for name in _FIELDS} | {"updated_at": sa.func.now()},
        ),
        [{"login": person.login} | {name: getattr(person, name) for name in _FIELDS} for person in imported],
    )
    added = sum(person.login not in before for person in imported)
    unchanged = sum(_same(before.get(person.login), person) for person in imported)
    return ImportCounts(added, len(imported) - added - unchanged, unchanged, _save_groups(connection, imported))


def _same(before: Person | None, after: Person) -> bool:
    return before is not None and all(getattr(before, name) == getattr(after, name) for name in _FIELDS)


def _save_groups(connection: Connection, imported: Sequence[Person]) -> int:
    named = [person for person in imported if person.groups is not None]
    names = sorted({name for person in named for name in person.groups or ()})
    if names:
        connection.execute(insert(groups).on_conflict_do_nothing(), [{"name": name} for name in names])
    connection.execute(sa.delete(memberships).where(_among(memberships.c.login, (person.login for person in named))))
    rows = [{"group_name": name, "login": person.login} for person in named for name in set(person.groups or ())]
    if rows:
        connection.execute(sa.insert(memberships), rows)
    return len(names)
