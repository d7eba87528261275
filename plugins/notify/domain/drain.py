"""One run over one sender's queue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from notify.domain.limit import WINDOW

#: After this time a run begins nothing new.
BUDGET = timedelta(minutes=10)

#: A drain that has not shown itself for so long is taken for dead; it shows itself every third of it.
LEASE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Drain:
    """One run over one sender's queue.

    :param limit: messages per window, see :mod:`notify.domain.limit`
    :param window: the limit's window; an hour but in tests
    """

    id: UUID
    sender: str
    limit: int
    window: timedelta = WINDOW
    lease: timedelta = LEASE
