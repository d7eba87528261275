"""What counts against a sender's hourly limit, by the database's clock."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.drain import Drain
from notify.domain.forecast import Taken
from notify.domain.limit import UNLIMITED, WINDOW, Allowance, Usage, allowance

# now() is the start of the transaction, perhaps long before the lock was got: it counts an attempt that has just left
# the window as still in it, never the other way round.
_USAGE = sa.text("""
    select coalesce(sum(slots), 0) as total, coalesce(sum(slots) filter (where bulk), 0) as bulk
    from notify.attempts
    where sender = :sender and (ended_at is null or ended_at > now() - :window)
      and outcome is distinct from 'sender_fault'  -- the server provably did not take it
""")

# By the minute: of a large limit, a line for each attempt would say hardly more. An attempt that is open may last.
_TAKEN = sa.text("""
    select max(coalesce(ended_at, now())) + :window as until,
           sum(slots) as total, coalesce(sum(slots) filter (where bulk), 0) as bulk
    from notify.attempts
    where sender = :sender and (ended_at is null or ended_at > now() - :window)
      and outcome is distinct from 'sender_fault'
    group by date_trunc('minute', coalesce(ended_at, now())) order by until
""")


def allowed(connection: Connection, drain: Drain) -> Allowance:
    """What the limit allows now."""
    if drain.limit <= UNLIMITED:
        return allowance(UNLIMITED, Usage(0, 0))
    return allowance(drain.limit, usage(connection, drain.sender, drain.window))


def usage(connection: Connection, sender: str, window: timedelta = WINDOW) -> Usage:
    """What counts against a sender's limit now."""
    row = connection.execute(_USAGE, {"sender": sender, "window": window}).one()
    return Usage(row.total, row.bulk)


def taken(connection: Connection, sender: str, window: timedelta = WINDOW) -> list[Taken]:
    """When what counts against a sender's limit leaves the window, the oldest first."""
    rows = connection.execute(_TAKEN, {"sender": sender, "window": window})
    return [Taken(row.until, row.total, row.bulk) for row in rows]
