"""The suppression list: addresses that get nothing, for a while or for good; telephone numbers among them, in E.164."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.storage.models import suppressions
from notify.storage.walk import beginning, walk

# What lasts longer wins: a mailbox that was full for a week must not bring back who asked to be left alone for good.
_ADD = sa.text("""
    insert into notify.suppressions as s (address, reason, source, expires_at)
    values (:address, :reason, :source, now() + cast(:expires_after as interval))
    on conflict (address) do update
    set reason = excluded.reason, source = excluded.source, expires_at = excluded.expires_at, created_at = now()
    where s.expires_at < coalesce(excluded.expires_at, 'infinity')
    returning address
""")


_FORGIVE = sa.text("update notify.bounces set counts = false where address = :address and counts")


# As above, what lasts longer wins.
_HIDE = sa.text("""
    with gone as (delete from notify.suppressions where address = :address returning source, created_at, expires_at)
    insert into notify.suppressions as s (address, reason, source, created_at, expires_at)
    select :hashed, 'of a person who was erased', source, created_at, expires_at from gone
    on conflict (address) do update set expires_at = excluded.expires_at
    where s.expires_at < coalesce(excluded.expires_at, 'infinity')
""")


class Source(StrEnum):
    """What put an address on the list; the values stand in the database."""

    PERSON = "person"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address on the list.

    :param address: in lower case; its hash, where the person was erased
    :param source: what put it there, a :class:`Source`
    :param expires_at: until then; None is for good
    :param expired: whether that is past, by the database's clock; then it counts no more
    """

    address: str
    reason: str
    source: str
    created_at: datetime
    expires_at: datetime | None
    expired: bool


def among(connection: Connection, addresses: Iterable[str]) -> dict[str, str]:
    """Which of these get nothing at this moment: the reason, by the address in lower case."""
    known = keys(addresses)
    query = sa.select(suppressions.c.address, suppressions.c.reason).where(
        suppressions.c.address == sa.any_(sa.literal(list(known), ARRAY(sa.Text))), ~_expired()
    )
    return {known[row.address]: row.reason for row in connection.execute(query)}


def keys(addresses: Iterable[str]) -> dict[str, str]:
    """Under what an address may stand on the list, itself and its hash; each with the address in lower case."""
    lower = {address.lower() for address in addresses}
    return {address: address for address in lower} | {hashed(address): address for address in lower}


def hashed(address: str) -> str:
    """What stands for the address of somebody who was erased."""
    return f"sha256:{sha256(address.encode()).hexdigest()}"


def _expired() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(suppressions.c.expires_at <= sa.func.now(), sa.false())


def add(
    connection: Connection,
    address: str,
    reason: str,
    expires_after: timedelta | None,
    source: Source = Source.PERSON,
) -> bool:
    """Put an address on the list. One that stands there for at least as long stays there as it is.

    :param address: a mailbox, in whatever case, or a number in E.164
    :param reason: why, for people who ask
    :param expires_after: from now; None is for good
    :returns: whether the list differs now
    """
    values = {"address": address.lower(), "reason": reason, "source": source.value, "expires_after": expires_after}
    return connection.scalar(_ADD, values) is not None


def lift(connection: Connection, address: str) -> bool:
    """Take an address off the list. Its bounces are forgiven: what counts begins anew.

    :returns: whether it stood there
    """
    connection.execute(_FORGIVE, {"address": address.lower()})
    either = sa.any_(sa.literal(list(keys([address])), ARRAY(sa.Text)))
    return connection.execute(sa.delete(suppressions).where(suppressions.c.address == either)).rowcount > 0


def hide(connection: Connection, address: str) -> bool:
    """Let an address stand on the list as its hash alone, for somebody who was erased.

    :returns: whether it stood there
    """
    values = {"address": address.lower(), "hashed": hashed(address.lower())}
    return connection.execute(_HIDE, values).rowcount > 0


def find(connection: Connection, addresses: Iterable[str]) -> dict[str, Suppression]:
    """What stands on the list of these at this moment, by the address in lower case."""
    known = keys(addresses)
    wanted = sa.any_(sa.literal(list(known), ARRAY(sa.Text)))
    query = _all().where(suppressions.c.address == wanted, ~_expired())
    return {known[row.address]: _suppression(row) for row in connection.execute(query)}


def newest(connection: Connection, limit: int, *, source: Source | None = None) -> list[Suppression]:
    """The addresses that were put on the list last, those that count no more among them.

    :param source: only what this put there
    """
    query = _all().order_by(suppressions.c.created_at.desc(), suppressions.c.address).limit(limit)
    if source is not None:
        query = query.where(suppressions.c.source == source.value)
    return [_suppression(row) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Page:
    """Addresses on the list, in their order; those that begin with what was looked for stand first.

    :param next_after: where the next page begins, None at the end
    :param searched_to: the address up to which this page looked, where it may have missed some further on
    """

    found: tuple[Suppression, ...]
    next_after: str | None
    searched_to: str | None = None


def search(
    connection: Connection, text: str = "", *, source: Source | None = None, after: str | None = None, limit: int = 50
) -> Page:
    """The addresses on the list, those that count no more among them.

    :param text: a part of the address; of an erased person the whole address, which alone finds its hash
    :param source: only what this put there
    :param after: the address after which to begin: a page's ``next_after``
    """
    address = suppressions.c.address
    query = _all() if source is None else _all().where(suppressions.c.source == source.value)
    first: list[Suppression] = []
    if text:
        wanted = sa.literal([*keys([text]), *beginning(connection, address, text.lower())], ARRAY(sa.Text))
        ordered = query.where(address == sa.any_(wanted)).order_by(address)
        first = [_suppression(row) for row in connection.execute(ordered)]
        known = [one.address for one in first]
        query = query.where(address.contains(text.lower(), autoescape=True), address.not_in(known))
    filtered = bool(text) or source is not None
    stretch = walk(connection, query, address, after=after, limit=limit, among=sa.select(address) if filtered else None)
    found = tuple(map(_suppression, stretch.rows))
    return Page((*first, *found) if after is None else found, stretch.next_after, stretch.searched_to)


def _all() -> sa.Select[Any]:
    return sa.select(suppressions, _expired().label("expired"))


def _suppression(row: sa.Row[Any]) -> Suppression:
    return Suppression(row.address, row.reason, row.source, row.created_at, row.expires_at, row.expired)
