"""The hourly limit of a sender: how many messages may be claimed now.

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

    :param total: attempts that are open, or that ended less than a window ago
    :param bulk: those of them whose message is ``bulk``
    """

    total: int
    bulk: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many more messages may be claimed now; None is no limit.

    :param total: of any priority
    :param bulk: of priority ``bulk``; never more than ``total``
    """

    total: int | None
    bulk: int | None

    def cap(self, wanted: int, *, bulk: bool) -> int:
        """The smaller of what is wanted and what is allowed."""
        allowed = self.bulk if bulk else self.total
        return wanted if allowed is None else max(0, min(wanted, allowed))

    def less(self, taken: int) -> Allowance:
        """What remains after ``taken`` messages that are not bulk."""
        if self.total is None or self.bulk is None:
            return self
        remaining = max(0, self.total - taken)
        return Allowance(remaining, min(self.bulk, remaining))


def bulk_limit(limit: int) -> int:
    """The slots that bulk may use of a limit; at least one, or a limit of 1 would hold bulk for ever."""
    return max(1, int(limit * BULK_SHARE)) if limit > 0 else 0


def allowance(limit: int, usage: Usage) -> Allowance:
    """What a limit allows after what was used.

    :param limit: messages per window; 0 holds everything, :data:`UNLIMITED` (any negative number) nothing
    """
    if limit < 0:
        return Allowance(None, None)
    total = max(0, limit - usage.total)
    return Allowance(total, min(total, max(0, bulk_limit(limit) - usage.bulk)))
