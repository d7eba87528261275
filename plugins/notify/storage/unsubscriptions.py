"""What the readers at an address want no more of: bulk mail, or, of those who are no people of ours, a kind of event.

Unlike the suppression list it stops nothing else, and nothing but the reader's word puts an address here. It is asked
where messages come in; what is queued already is kept back when somebody unsubscribes, see :func:`withhold`.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.domain.message import Priority
from notify.storage import withholding
from notify.storage.models import unsubscriptions
from notify.storage.suppressions import hashed, keys

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
