"""Looking people up: by login, name, address or telephone number, and by group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.destination import digits_sought
from notify.storage.models import memberships, people
from notify.storage.walk import FIRST, beginning, walk


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to look for; what is None or empty does not matter.

    :param text: a part of the login, the name or the address, in whatever case, or of the telephone number
    :param group: that they are in
    """

    text: str = ""
    group: str | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A person in a page."""

    login: str
    name: str
    email: str | None
    active: bool
    supervisor: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """People, by login; whose login or address begins with what was looked for stands first.

    :param next_after: where the next page begins, None at the end
    :param searched_to: the login up to which this page looked, where it may have missed some further on
    """

    found: tuple[Entry, ...]
    next_after: str | None
    searched_to: str | None = None


_COLUMNS = (people.c.login, people.c.name, people.c.email, people.c.active, people.c.supervisor)


def search(connection: Connection, wanted: Wanted, *, after: str | None = None, limit: int = 50) -> Page:
    """Find people.

    :param after: the login after which to begin: a page's ``next_after``
    :param limit: the most to return, beside those who stand first
    """
    query = _of(wanted)
    first: tuple[Entry, ...] = ()
    if wanted.text:
        first = _beginning(connection, query, wanted.text)
        query = query.where(_contains(wanted.text), people.c.login.not_in([one.login for one in first]))
    filtered = bool(wanted.text) or wanted.active is not None
    stretch = walk(
        connection, query, people.c.login, after=after, limit=limit, among=_among(wanted) if filtered else None
    )
    found = tuple(Entry(*row[: len(_COLUMNS)]) for row in stretch.rows)
    return Page((*first, *found) if after is None else found, stretch.next_after, stretch.searched_to)


def _of(wanted: Wanted) -> sa.Select[Any]:
    query: sa.Select[Any] = sa.select(*_COLUMNS)
    if wanted.group is not None:
        query = query.join(memberships, memberships.c.login == people.c.login)
        query = query.where(memberships.c.group_name == wanted.group)
    return query if wanted.active is None else query.where(people.c.active.is_(wanted.active))


def _among(wanted: Wanted) -> sa.Select[tuple[str]]:
    if wanted.group is None:
        return sa.select(people.c.login)
    return sa.select(memberships.c.login).where(memberships.c.group_name == wanted.group)


def _beginning(connection: Connection, query: sa.Select[Any], text: str) -> tuple[Entry, ...]:
    """Those whom an index finds; of them, whom the text names whole stands at the front."""
    address = sa.func.lower(people.c.email)
    logins = beginning(connection, people.c.login, text)
    addresses = beginning(connection, address, text.lower())
    fits = sa.or_(people.c.login.in_(logins), address.in_(addresses))
    whole = sa.or_(people.c.login == text, address == text.lower())
    ordered = query.where(fits).order_by(sa.func.coalesce(whole, sa.false()).desc(), people.c.login).limit(FIRST)
    return tuple(Entry(*row) for row in connection.execute(ordered))


def _contains(text: str) -> sa.ColumnElement[bool]:
    columns = (people.c.login, people.c.name, people.c.email)
    fits = [column.icontains(text, autoescape=True) for column in columns]
    if digits := digits_sought(text):
        fits.append(sa.func.regexp_replace(people.c.phone, "[^0-9]", "", "g").contains(digits))
    return sa.or_(*fits)
