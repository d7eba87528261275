"""How long a drain may act: its lease, as its own process sees it."""

from __future__ import annotations

import time
from datetime import timedelta
from math import inf

# A machine that sleeps, and a container that is moved, stand still by the monotonic clock; by this one they do not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Lease:
    """Until when a drain is not taken for dead; renewed by its main thread, asked by its sessions.

    The process's clock starts before the database's does, so this lease is over first.

    :param length: how long each renewal lasts
    """

    def __init__(self, length: timedelta) -> None:
        self._length = length.total_seconds()
        self._renewed = -inf

    @staticmethod
    def now() -> float:
        """The moment, in seconds; take it before the database is asked to renew."""
        return time.clock_gettime(_CLOCK)

    def renew(self, asked_at: float) -> None:
        """The database has renewed it.

        :param asked_at: :meth:`now` before it was asked
        """
        self._renewed = asked_at

    @property
    def due(self) -> bool:
        """Whether a third of it is over: time to show up."""
        return self.now() - self._renewed > self._length / 3

    @property
    def holds(self) -> bool:
        """Whether the drain may still act."""
        return self.now() - self._renewed < self._length
