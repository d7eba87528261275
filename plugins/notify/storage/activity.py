"""What became of attempts, hour by hour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

#: The hours that are told of, the one that runs among them.
HOURS = 24

#: Attempts of one sender that are counted: more than a day of 8,000 an hour. Beyond, the oldest hours are left out.
MOST = 200_000

_HOUR = timedelta(hours=1)

# Of each sender along its index, from now into the past.
_COUNTS = sa.text("""
    select s.sender, date_trunc('hour', a.ended_at) as hour, a.outcome, count(*) as size
    from notify.senders s cross join lateral (
        select ended_at, outcome from notify.attempts
        where sender = s.sender and ended_at >= date_trunc('hour', now()) - cast(:back as interval)
        order by ended_at desc limit :most) a
    group by s.sender, hour, a.outcome
""")

_THIS_HOUR = sa.text("select date_trunc('hour', now())")


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of the clock.

    :param begins: its first moment
    :param ended: how many attempts ended in it, by their outcome
    """

    begins: datetime
    ended: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.ended.values())


@dataclass(frozen=True, slots=True)
class Activity:
    """The last day.

    :param hours: the oldest first, each of them, also where nothing ended in it
    :param left_out: how many hours before them are not told of, for there were too many attempts
    """

    hours: tuple[Hour, ...]
    left_out: int

    @property
    def busiest(self) -> int:
        """The attempts of the hour that had most."""
        return max((hour.total for hour in self.hours), default=0)


def last_day(connection: Connection) -> Activity:
    """What became of attempts in the last :data:`HOURS` hours of the clock, of all senders together."""
    this_hour: datetime = connection.execute(_THIS_HOUR).scalar_one()
    rows = connection.execute(_COUNTS, {"back": (HOURS - 1) * _HOUR, "most": MOST}).all()
    everything = [this_hour - back * _HOUR for back in reversed(range(HOURS))]
    begin = _whole_from(rows)
    hours = [begins for begins in everything if begin is None or begins >= begin]
    found: dict[datetime, Counter[str]] = {begins: Counter() for begins in hours}
    for row in rows:
        if row.hour in found:
            found[row.hour][row.outcome] += row.size
    return Activity(tuple(Hour(begins, ended) for begins, ended in found.items()), len(everything) - len(hours))


def _whole_from(rows: Sequence[sa.Row]) -> datetime | None:  # type: ignore[type-arg]  # rows of sender, hour, outcome, size
    """The first hour of which all attempts were counted; None where that are all hours."""
    sizes: Counter[str] = Counter()
    oldest: dict[str, datetime] = {}
    for row in rows:
        sizes[row.sender] += row.size
        oldest[row.sender] = min(row.hour, oldest.get(row.sender, row.hour))
    cut = [oldest[sender] + _HOUR for sender, size in sizes.items() if size >= MOST]
    return max(cut, default=None)
