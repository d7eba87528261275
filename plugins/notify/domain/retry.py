"""When a message that was refused for now is tried again (RFC 5321, 4.5.4.1)."""

from __future__ import annotations

import random
from datetime import timedelta

#: The waits after the first refusals; from then on :data:`LATER_WAIT`.
FIRST_WAITS = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=60),
)
LATER_WAIT = timedelta(hours=4)

#: A message is given up when its next try would lie further than this from its first.
GIVE_UP_AFTER = timedelta(hours=72)

#: The share by which a wait is stretched at random, so that what was refused together does not return together.
JITTER = 0.1


def wait_before(try_number: int, *, spread: float | None = None) -> timedelta:
    """How long to wait after a temporary refusal.

    :param try_number: how many tries were refused so far, from 1
    :param spread: a number in [0, 1) instead of a random one
    """
    if try_number < 1:
        raise ValueError(f"tries are counted from 1, not {try_number}")
    base = FIRST_WAITS[try_number - 1] if try_number <= len(FIRST_WAITS) else LATER_WAIT
    stretch = random.random() if spread is None else spread  # noqa: S311 - spreads load, guards nothing
    return base * (1 + JITTER * stretch)


def next_wait(try_number: int, age: timedelta, *, spread: float | None = None) -> timedelta | None:
    """How long until the next try, or None when the message is to be given up.

    :param try_number: how many tries were refused so far, from 1
    :param age: time since the first try began
    :param spread: see :func:`wait_before`
    """
    wait = wait_before(try_number, spread=spread)
    return wait if age + wait <= GIVE_UP_AFTER else None
