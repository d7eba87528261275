"""The links in mails: what is known of the message that a token came with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.link import Link, Purpose, fits
from notify.domain.message import Priority

_SECRET = sa.text("select link_secret from notify.identity")

# By keys alone. A token is for the only recipient of its message; of somebody who was erased nothing is known.
_FIND = sa.text("""
    select m.id, m.message_id, m.kind, m.priority, m.language, r.address, r.login,
           i.link_secret, cast(now() at time zone 'UTC' as date) as today
    from notify.messages m cross join notify.identity i
    join notify.recipients r on r.message_id = m.id
    where m.id = :number and m.recipients_erased is null
    limit 2
""")

_KINDS = sa.text("""
    select e.kind from notify.notifications n join notify.events e on e.id = n.event_id
    where n.message_id = :number group by e.kind order by min(n.id)
""")


@dataclass(frozen=True, slots=True)
class LinkedMessage:
    """The message that a token came with, and whom it was for.

    :param id: its number in the register
    :param login: of the person, where the recipient is one
    """

    id: int
    kind: str
    bulk: bool
    language: str | None
    address: str
    login: str | None


def secret(connection: Connection) -> bytes:
    """What the tokens in mails are made with."""
    found: bytes = connection.execute(_SECRET).scalar_one()
    return found


def find(connection: Connection, link: Link, purpose: Purpose) -> LinkedMessage | None:
    """The message that a link came with; None where the token is forged, for something else or too old."""
    rows = connection.execute(_FIND, {"number": link.number}).all()
    if len(rows) != 1:
        return None
    row = rows[0]
    if not fits(link, purpose, row.message_id, row.today, row.link_secret):
        return None
    return LinkedMessage(row.id, row.kind, row.priority == Priority.BULK, row.language, row.address, row.login)


def kinds(connection: Connection, number: int) -> Sequence[str]:
    """The kinds of event that a message tells of."""
    return connection.scalars(_KINDS, {"number": number}).all()
