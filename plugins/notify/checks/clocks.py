"""The clocks: this machine's and the workers', held against that of the outbox database, which decides.

What a person chose to hear at 18:00 and what may leave within an hour goes by the database's clock; when runs begin, by
the scheduler's. Where they differ, things come early or late.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

from notify.checks import ids
from notify.checks.check import Check, Found, Need
from notify.checks.surroundings import Surroundings
from notify.domain.clock import FAR_OFF, OFF, difference
from notify.exceptions import ConfigurationError
from notify.storage import clocks
from notify.web import airflow
from notify.web.airflow import NOTIFICATIONS


def _differ(around: Surroundings, *, least: timedelta, below: timedelta = timedelta.max) -> Iterator[Found]:
    for machine, ahead in _offsets(around):
        if least < abs(ahead) <= below:
            yield Found(difference(machine, ahead))


def _offsets(around: Surroundings) -> Iterator[tuple[str, timedelta]]:
    with around.outbox() as connection:
        yield socket.gethostname(), clocks.ahead(connection, around.clock)
        begun = clocks.begun(connection, around.served)
    with suppress(ConfigurationError):  # where Airflow's own database does not answer, another check tells it
        yield from _offsets_of_workers(around, begun)


def _offsets_of_workers(around: Surroundings, begun: list[clocks.Begun]) -> Iterator[tuple[str, timedelta]]:
    """How far the workers' clocks are off at the least.

    A run writes into the outbox while its task is running. Where the database has it before the task began, or after
    it ended, the difference is the clocks'.
    """
    with around.metadata() as session:
        tasks = airflow.first_tries(session, NOTIFICATIONS, [one.run_id for one in begun])
    worst: dict[str, timedelta] = {}
    for one in begun:
        task = tasks.get((one.run_id, one.sender))
        if task is None:
            continue
        ahead = max(timedelta(), task.began_at - one.at)
        if not ahead and task.ended_at is not None:
            ahead = min(timedelta(), task.ended_at - one.at)
        if abs(ahead) > abs(worst.get(task.host, timedelta())):
            worst[task.host] = ahead
    yield from worst.items()


_REMEDY = "Let a time service (chrony, ntpd) set the clocks of all machines that run Airflow or PostgreSQL."

CHECKS = (
    Check(
        id=ids.CLOCK_FAR_OFF,
        title="All clocks agree within 30 seconds",
        meaning="Logins to Airflow run out too early or too late, runs begin at a wrong time, and no two logs fit.",
        remedy=_REMEDY,
        look=partial(_differ, least=FAR_OFF),
        needs=frozenset({Need.OUTBOX}),
    ),
    Check(
        id=ids.CLOCK_OFF,
        title="All clocks agree within 2 seconds",
        meaning="What is due at the hour may miss the run of that hour and leave with the next one.",
        remedy=_REMEDY,
        look=partial(_differ, least=OFF, below=FAR_OFF),
        needs=frozenset({Need.OUTBOX}),
    ),
)
