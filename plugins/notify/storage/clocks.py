"""The database's clock, and what it says of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: The quickest answer tells the most.
_ASKED = 3

_NOW = sa.text("select extract(epoch from clock_timestamp())::double precision")

_BEGUN = sa.text("""
    select d.sender, d.run_id, d.started_at
    from unnest(cast(:senders as text[])) as served (sender) cross join lateral (
        select sender, run_id, started_at from notify.drains
        where sender = served.sender and run_id is not null and started_at > now() - interval '1 day'
        order by started_at desc limit 5) d
""")


def ahead(connection: Connection, clock: Callable[[], float]) -> timedelta:
    """How far a clock is ahead of the database's, at the least; nothing where the answer's way may explain it.

    :param clock: seconds since 1970
    """
    return min((_asked(connection, clock) for _ in range(_ASKED)), key=abs)


def _asked(connection: Connection, clock: Callable[[], float]) -> timedelta:
    before = clock()
    at = float(connection.scalar(_NOW) or 0)
    after = clock()
    if before > at:
        return timedelta(seconds=before - at)
    return timedelta(seconds=min(0.0, after - at))


@dataclass(frozen=True, slots=True)
class Begun:
    """A run over a sender's queue.

    :param at: when it began, by the database's clock
    """

    sender: str
    run_id: str
    at: datetime


def begun(connection: Connection, senders: Iterable[str]) -> list[Begun]:
    """The latest runs over the queues of these senders, of the last day."""
    return [Begun(*row) for row in connection.execute(_BEGUN, {"senders": list(senders)})]
