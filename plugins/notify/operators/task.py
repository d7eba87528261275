"""The running task: who it is, its idempotency key, and how it tells what was refused."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

    from notify.storage.outbox import Origin

log = logging.getLogger(__name__)


def origin_of(context: Context) -> Origin:
    """The task that is running, as the register knows it."""
    from notify.storage.outbox import Origin

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return Origin(ti.dag_id, ti.run_id, ti.task_id, map_index)


def key_of(origin: Origin) -> str:
    """The idempotency key that a task has by default; the same for every retry."""
    from notify.domain.message import LONGEST_KEY, TASK_KEY

    key = f"{TASK_KEY}{origin.dag_id}/{origin.run_id}/{origin.task_id}/{origin.map_index}"
    # Each of Airflow's ids may have 250 characters; a key may not have that many together.
    return key if len(key) <= LONGEST_KEY else f"{TASK_KEY}sha256:{sha256(key.encode()).hexdigest()}"


def own_or_given(given: object, origin: Origin) -> object:
    """The key given, or the task's own.

    :raises ValueError: the one given looks like a task's own, which nobody else may take; the message says so
    """
    from notify.domain.message import faults_of_own_key

    if isinstance(given, str):
        given = given.strip()
        for fault in faults_of_own_key(given):
            raise ValueError(fault.problem)
    return given or key_of(origin)


@contextmanager
def refusals_told() -> Iterator[None]:
    """Put an error's text into the log, and let no retry repeat what is refused whenever it comes."""
    from airflow.sdk.exceptions import AirflowFailException

    from notify.exceptions import Invalid, NotifyError

    try:
        yield
    except NotifyError as error:
        # Airflow's log page keeps an exception's text apart; what is wrong belongs where people look first.
        log.error("%s", error)  # noqa: TRY400
        if isinstance(error, Invalid):
            raise AirflowFailException(str(error)) from error  # trying again cannot help
        raise


@contextmanager
def polite_interrupt(stop: threading.Event) -> Iterator[None]:
    """Airflow 3.3 ends a task with SIGINT first, at which it would die at once (2026-11): make that a polite stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _signum, _frame: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
