"""When what waits for a sender's hourly limit leaves.

What is known is played through: runs come, attempts leave the window, each run takes what is due and allowed, as the
claim does, and what it takes counts for a window. Nobody knows what will be handed over meanwhile, or refused: it is a
forecast of what waits now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from notify.domain.limit import WINDOW, Usage, allowance, bulk_limit

#: Runs that are played through; when the rest leaves is then told from the pace at which slots came free in them.
MOST_RUNS = 1_000

#: Runs with nothing to do that are passed over while what is known waits for its time.
MOST_IDLE = 10_000

#: Nobody plans further ahead; and a date has an end.
HORIZON = timedelta(days=366)

#: What a run sends counts until a window after the server's answer, and that comes a moment after the run.
_ANSWER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Taken:
    """Attempts that count against the limit, and leave the window together.

    :param until: when they do
    :param total: their slots
    :param bulk: those of them that bulk took
    """

    until: datetime
    total: int
    bulk: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """Messages that are due, in slots: an SMS takes one for each of its parts.

    :param first: urgent and normal ones; they leave before any bulk
    :param bulk: bulk ones
    """

    first: int
    bulk: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.first + self.bulk

    def __add__(self, other: Due) -> Due:
        return Due(self.first + other.first, self.bulk + other.bulk)


@dataclass(frozen=True, slots=True)
class Later:
    """Messages that will be due.

    :param at: from then on
    """

    at: datetime
    due: Due


class Certainty(StrEnum):
    """How a moment is meant; the values are the words in front of it."""

    AT = "at"  #: it was played through
    ABOUT = "about"  #: it is told from the pace
    AFTER = "after"  #: only a part of what leaves before was looked at


@dataclass(frozen=True, slots=True)
class Expected:
    """When something leaves."""

    at: datetime
    certainty: Certainty = Certainty.AT


def last_leaves(
    limit: int,
    taken: Sequence[Taken],
    due: Due,
    runs: Iterable[datetime],
    window: timedelta = WINDOW,
    *,
    later: Sequence[Later] = (),
) -> Expected | None:
    """When the last of what is due leaves. For a place in the queue, ask with what leaves up to there.

    Where there is bulk, that is when the last of the bulk leaves: nothing that is due before it is left by then.

    :param limit: messages per window; 0 holds everything, any negative number nothing
    :param taken: what counts against it, the oldest first
    :param runs: when the queue is looked at, in order, endless or not
    :param later: what leaves up to there as well, and is due only then; the earliest first
    :returns: None where nothing is due, where it never leaves, and where that is more than a year away
    """
    queue = _Queue(due, later)
    if queue.empty or limit == 0:
        return None
    book = _Book(limit, taken, window)
    begin = run = None
    played = 0
    for run in islice(runs, MOST_RUNS + MOST_IDLE):
        begin = begin or run
        if run - begin > HORIZON:
            return None
        queue.come(run)
        if not queue.due.total:
            continue
        queue.due = book.send(run, queue.due)
        if queue.empty:
            return Expected(run)
        played += 1
        if played == MOST_RUNS:
            break
    pace = book.for_one_slot(waited=not queue.due.total)
    return None if begin is None or run is None or pace is None else _by_pace(limit, queue, begin, run, pace)


def _by_pace(limit: int, queue: _Queue, begin: datetime, last: datetime, for_one_slot: timedelta) -> Expected | None:
    """When the rest has left if everything goes on as in what was played through."""
    at = last
    for one in [Later(last, queue.due), *queue.until_last()]:
        slots = one.due.first + (one.due.bulk * limit / bulk_limit(limit) if limit > 0 else one.due.bulk)
        begun = max(at, one.at)
        if (begun - begin).total_seconds() + slots * for_one_slot.total_seconds() > HORIZON.total_seconds():
            return None
        at = begun + slots * for_one_slot
    return Expected(at, Certainty.ABOUT)


class _Queue:
    """What is due, and what will be."""

    def __init__(self, due: Due, later: Sequence[Later]) -> None:
        self.due = due
        self.later = deque(later)
        self._coming = sum((one.due for one in later), Due(0))
        self._has_bulk = bool(due.bulk or self._coming.bulk)

    @property
    def empty(self) -> bool:
        """Whether all has left of which the last is asked for."""
        left = self.due + self._coming
        return not (left.bulk if self._has_bulk else left.first)

    def until_last(self) -> list[Later]:
        """What comes, without those that come behind all bulk."""
        coming = list(self.later)
        while self._has_bulk and coming and not coming[-1].due.bulk:
            coming.pop()
        return coming

    def come(self, run: datetime) -> None:
        """Take up what is due by now."""
        while self.later and self.later[0].at <= run:
            one = self.later.popleft().due
            self.due += one
            self._coming = Due(self._coming.first - one.first, self._coming.bulk - one.bulk)


class _Book:
    """What counts against the limit, from run to run."""

    def __init__(self, limit: int, taken: Sequence[Taken], window: timedelta) -> None:
        self._limit = limit
        self._window = window + _ANSWER
        self._taken = deque(taken)
        self._total = sum(one.total for one in taken)
        self._bulk = sum(one.bulk for one in taken)
        #: Slots that came free, and for how long they were taken, all together.
        self._turns = 0
        self._turning = timedelta(0)

    def send(self, run: datetime, due: Due) -> Due:
        """What a run leaves of what is due."""
        while self._taken and self._taken[0].until <= run:
            self._give_back(self._taken.popleft(), run)
        allowed = allowance(self._limit, Usage(self._total, self._bulk))
        first = allowed.cap(due.first, bulk=False)
        bulk = allowed.less(first).cap(due.bulk, bulk=True)
        if first + bulk:
            self._taken.append(Taken(run + self._window, first + bulk, bulk))
            self._total += first + bulk
            self._bulk += bulk
        return Due(due.first - first, due.bulk - bulk)

    def _give_back(self, gone: Taken, run: datetime) -> None:
        self._total -= gone.total
        self._bulk -= gone.bulk
        self._turns += gone.total
        self._turning += gone.total * (run - (gone.until - self._window))

    def for_one_slot(self, *, waited: bool) -> timedelta | None:
        """From one slot that comes free to the next, on average; None where that was not seen.

        :param waited: it was not seen because nothing was due; then they come free as fast as they can
        """
        if self._limit < 0:
            return timedelta(0)
        if self._turns:
            return self._turning / self._turns / self._limit
        return self._window / self._limit if waited else None
