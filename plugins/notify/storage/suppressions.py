"""The suppression list: addresses that get nothing, for a while or for good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.storage.models import suppressions

# What lasts longer wins: a mailbox that was full for a week must not bring back who asked to be left alone for good.
_ADD = sa.text("""
    insert into notify.suppressions as s (address, reason, expires_at)
    values (:address, :reason, now() + cast(:expires_after as interval))
    on conflict (address) do update
    set reason = excluded.reason, expires_at = excluded.expires_at, created_at = now()
    where s.expires_at < coalesce(excluded.expires_at, 'infinity')
    returning address
""")


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address on the list.

    :param address: in lower case
    :param expires_at: until then; None is for good
    :param expired: whether that is past, by the database's clock; then it counts no more
    """

    address: str
    reason: str
    created_at: datetime
    expires_at: datetime | None
    expired: bool


def among(connection: Connection, addresses: Iterable[str]) -> dict[str, str]:
    """Which of these get nothing at this moment: the reason, by the address in lower case."""
    wanted = sa.literal([address.lower() for address in addresses], ARRAY(sa.Text))
    query = sa.select(suppressions.c.address, suppressions.c.reason).where(
        suppressions.c.address == sa.any_(wanted), ~_expired()
    )
    return {row.address: row.reason for row in connection.execute(query)}


def _expired() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(suppressions.c.expires_at <= sa.func.now(), sa.false())


def add(connection: Connection, address: str, reason: str, expires_after: timedelta | None) -> bool:
    """Put an address on the list. One that stands there for at least as long stays there as it is.

    :param address: a mailbox, in whatever case
    :param reason: why, for people who ask
    :param expires_after: from now; None is for good
    :returns: whether the list differs now
    """
    values = {"address": address.lower(), "reason": reason, "expires_after": expires_after}
    return connection.scalar(_ADD, values) is not None


def lift(connection: Connection, address: str) -> bool:
    """Take an address off the list.

    :returns: whether it stood there
    """
    gone = sa.delete(suppressions).where(suppressions.c.address == address.lower())
    return connection.scalar(gone.returning(suppressions.c.address)) is not None


def newest(connection: Connection, limit: int) -> list[Suppression]:
    """The addresses that were put on the list last, those that count no more among them."""
    query = (
        sa.select(suppressions, _expired().label("expired"))
        .order_by(suppressions.c.created_at.desc(), suppressions.c.address)
        .limit(limit)
    )
    return [
        Suppression(row.address, row.reason, row.created_at, row.expires_at, row.expired)
        for row in connection.execute(query)
    ]
