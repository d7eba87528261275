"""The hourly limit of a sender: how much may be claimed now.

A slot of the sender's pool is a message in 60 minutes; an SMS takes one for each of its parts.

Counting is the storage's business; what the counts allow is decided here, so that the claim and the forecast share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

#: The window that the limit is counted in: any 60 minutes, not the hour of the clock.
WINDOW = timedelta(minutes=60)

#: What applies where nobody has set a limit yet.
DEFAULT_LIMIT = 100

#: A pool with this many slots has no limit.
UNLIMITED = -1

#: The key in the conf of a run of Notifications under which the listener writes the limits and the tasks find them.
HOURLY_LIMITS = "hourly_limits"

#: Bulk may take this share of the slots; the rest stays free for urgent and normal messages.
BULK_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Usage:
    """What counts against the limit in the window that ends now.

    :param total: slots of attempts that are open, or that ended less than a window ago
    :param bulk: those of ``bulk`` messages
    """

    total: int
    bulk: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many slots may be taken now; None is no limit.

    :param total: by messages of any priority
    :param bulk: by those of priority ``bulk``; never more than ``total``
    """

    total: int | None
    bulk: int | None

    def room(self, *, bulk: bool) -> int | None:
        """The slots for messages that are bulk, or that are not."""
        return self.bulk if bulk else self.total

    def cap(self, wanted: int, *, bulk: bool) -> int:
        """The smaller of what is wanted and what is allowed."""
        allowed = self.room(bulk=bulk)
        return wanted if allowed is None else max(0, min(wanted, allowed))

    def less(self, taken: int) -> Allowance:
        """What remains after messages that are not bulk took so many."""
        if self.total is None or self.bulk is None:
            return self
        remaining = max(0, self.total - taken)
        return Allowance(remaining, min(self.bulk, remaining))


def bulk_limit(limit: int) -> int:
    """The slots that bulk may use of a limit; at least one, or a limit of 1 would hold bulk for ever."""
    return max(1, int(limit * BULK_SHARE)) if limit > 0 else 0


def most_slots(limit: int, *, bulk: bool) -> int | None:
    """What one message counts at most: all that a window has, or it would wait for ever. None is no limit."""
    if limit < 0:
        return None
    return max(1, bulk_limit(limit) if bulk else limit)


def slots_of(parts: int, limit: int, *, bulk: bool) -> int:
    """What a message counts against a limit.

    :param parts: of an SMS; of a mail 1
    """
    most = most_slots(limit, bulk=bulk)
    return parts if most is None else min(parts, most)


def allowance(limit: int, usage: Usage) -> Allowance:
    """What a limit allows after what was used.

    :param limit: slots in a window; 0 holds everything, :data:`UNLIMITED` (any negative number) nothing
    """
    if limit < 0:
        return Allowance(None, None)
    total = max(0, limit - usage.total)
    return Allowance(total, min(total, max(0, bulk_limit(limit) - usage.bulk)))
