"""What the readers at an address want no more of: bulk mail, or, of those who are no people of ours, a kind of event.

An address is a mailbox, or, of SMS, a telephone number in E.164.

Unlike the suppression list it stops nothing else, and nothing but the reader's word puts an address here. It is asked
where messages come in; what is queued already is kept back when somebody unsubscribes, see :func:`withhold`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.message import Priority
from notify.storage import withholding
from notify.storage.models import unsubscriptions
from notify.storage.suppressions import hashed, keys
from notify.storage.walk import walk

#: The scope of messages whose priority is bulk. Every other one is a kind of event, of which none can be called this.
BULK = "bulk-mail"

#: Why bulk mail goes to somebody no more, for people who ask.
UNSUBSCRIBED = "the reader has unsubscribed from bulk mail"

_ADD = sa.text("""
    insert into notify.unsubscriptions (address, scope, actor) values (:address, :scope, :actor)
    on conflict (address, scope) do nothing
    returning address
""")

_HIDE = sa.text("""
    with gone as (delete from notify.unsubscriptions where address = :address returning scope, created_at)
    insert into notify.unsubscriptions (address, scope, actor, created_at)
    select :hashed, scope, 'a person who was erased', created_at from gone
    on conflict (address, scope) do nothing
""")


def among(connection: Connection, addresses: Iterable[str], scope: str) -> set[str]:
    """Which of these want nothing of this, in lower case."""
    known = keys(addresses)
    wanted = sa.any_(sa.literal(list(known), ARRAY(sa.Text)))
    query = sa.select(unsubscriptions.c.address).where(
        unsubscriptions.c.address == wanted, unsubscriptions.c.scope == scope
    )
    return {known[address] for address in connection.scalars(query)}


def of(connection: Connection, address: str) -> set[str]:
    """What the readers at an address want nothing of."""
    wanted = sa.any_(sa.literal(list(keys([address])), ARRAY(sa.Text)))
    return set(connection.scalars(sa.select(unsubscriptions.c.scope).where(unsubscriptions.c.address == wanted)))


@dataclass(frozen=True, slots=True)
class Unsubscription:
    """Something that the readers at an address want no more of.

    :param scope: :data:`BULK`, or a kind of event
    :param actor: who asked for it
    """

    scope: str
    actor: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """An address, and all that its readers want no more of.

    :param address: in lower case; its hash, where the person was erased
    """

    address: str
    unsubscriptions: tuple[Unsubscription, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Addresses in their order.

    :param next_after: where the next page begins, None at the end
    :param searched_to: the address up to which this page looked, where it may have missed some further on
    """

    found: tuple[Unsubscribed, ...]
    next_after: str | None
    searched_to: str | None = None


def search(
    connection: Connection,
    address: str | None = None,
    *,
    scope: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> Page:
    """The addresses whose readers want no more of something.

    :param address: only this one, in whatever case; also that of an erased person
    :param scope: only those that want no more of this
    :param after: the address after which to begin: a page's ``next_after``
    """
    key = unsubscriptions.c.address
    query = sa.select(key).distinct()
    if address is not None:
        query = query.where(key == sa.any_(sa.literal(list(keys([address])), ARRAY(sa.Text))))
    if scope is not None:
        query = query.where(unsubscriptions.c.scope == scope)
    among = None if scope is None else sa.select(key)
    stretch = walk(connection, query, key, after=after, limit=limit, among=among)
    found = _all_of(connection, [row.address for row in stretch.rows])
    return Page(found, stretch.next_after, stretch.searched_to)


def _all_of(connection: Connection, addresses: list[str]) -> tuple[Unsubscribed, ...]:
    """All that stands of these addresses, as they are written here."""
    table = unsubscriptions
    wanted = table.c.address == sa.any_(sa.literal(addresses, ARRAY(sa.Text)))
    rows = connection.execute(sa.select(table).where(wanted).order_by(table.c.address, table.c.scope))
    return tuple(
        Unsubscribed(address, tuple(Unsubscription(row.scope, row.actor, row.created_at) for row in group))
        for address, group in groupby(rows, key=lambda row: str(row.address))
    )


def add(connection: Connection, address: str, scope: str, actor: str) -> bool:
    """Send no more of this to an address.

    :param actor: who asks for it
    :returns: whether it is new
    """
    return connection.scalar(_ADD, {"address": address.lower(), "scope": scope, "actor": actor}) is not None


def remove(connection: Connection, address: str, scope: str) -> bool:
    """Send of this to an address again.

    :returns: whether it had been unsubscribed
    """
    either = sa.any_(sa.literal(list(keys([address])), ARRAY(sa.Text)))
    gone = sa.delete(unsubscriptions).where(unsubscriptions.c.address == either, unsubscriptions.c.scope == scope)
    return connection.execute(gone).rowcount > 0


def withhold(connection: Connection, address: str) -> int:
    """Let no bulk mail that is queued go to an address.

    :returns: how many go to nobody now, and are suppressed
    """
    return withholding.from_address(connection, address, UNSUBSCRIBED, priority=Priority.BULK)


def hide(connection: Connection, address: str) -> bool:
    """Let an address stand here as its hash alone, for somebody who was erased.

    :returns: whether it stood here
    """
    values = {"address": address.lower(), "hashed": hashed(address.lower())}
    return connection.execute(_HIDE, values).rowcount > 0
