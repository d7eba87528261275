"""Notifications: a task drains one sender's queue."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from notify.checks import ids
from notify.domain.clock import FAR_OFF, OFF, difference
from notify.domain.drain import BUDGET
from notify.domain.limit import HOURLY_LIMITS
from notify.operators.run import RunOperator
from notify.operators.task import polite_interrupt

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.engine import Connection, Engine

    from notify.channels.base import Channel
    from notify.drain import DrainResult

log = logging.getLogger(__name__)


class NotificationsOperator(RunOperator):
    """Send what waits in one sender's queue, within its hourly limit.

    The limit is the slots of the pool named as the sender; a listener writes it into the run's conf. Where conf
    carries none (``airflow dags test``), the last limit known applies, else 100 an hour.

    :param sender: connection id of the sender, and the name of its pool
    :param budget: after this time nothing new is begun
    """

    template_fields: Sequence[str] = ("sender",)
    ui_color = "#dcfce7"

    def __init__(self, *, sender: str, budget: timedelta = BUDGET, **kwargs: Any) -> None:
        kwargs.setdefault("pool", sender)
        super().__init__(**kwargs)
        self.sender = sender
        self.budget = budget

    def execute(self, context: Context) -> dict[str, Any]:
        """Drain the queue.

        :returns: what the run did, see :class:`notify.drain.DrainResult`
        """
        from notify.exceptions import NotifyError

        try:
            result = self._drain(context)
        except NotifyError as error:
            # Airflow's log page keeps an exception's text apart; cause and remedy belong where people look first.
            mark = f"{known}: " if (known := ids.of(error)) else ""
            log.error("%s%s: nothing more is sent, its messages wait. %s", mark, self.sender, error)  # noqa: TRY400
            raise
        log.info("%s", result.summary)
        return asdict(result)

    def _drain(self, context: Context) -> DrainResult:
        from notify import settings
        from notify.drain import Drainer
        from notify.storage.engine import engine_for
        from notify.witness import watched

        run = context["dag_run"]
        engine = engine_for(settings.database_url())
        _tell_notices(engine)
        drainer = Drainer(
            engine=engine,
            channel=self._channel(engine),
            sender=self.sender,
            limit=self._limit(run.conf),
            budget=self.budget,
            alone=True,
            stop=self._stop,
            dag_id=run.dag_id,
            run_id=run.run_id,
        )
        with polite_interrupt(self._stop), watched(engine) as drainer.mark:
            return drainer.run()

    def _channel(self, engine: Engine) -> Channel:
        """The sender's channel; what is wrong with its connection is kept for whoever looks."""
        from notify.channels import channel_for
        from notify.exceptions import SenderFault
        from notify.storage import drains, schema

        try:
            return channel_for(self.sender)
        except SenderFault as fault:
            with engine.begin() as connection:
                schema.require(connection)
                drains.remember_fault(connection, self.sender, fault)
            raise

    def _limit(self, conf: object) -> int | None:
        limits = conf.get(HOURLY_LIMITS) if isinstance(conf, dict) else None
        limit = limits.get(self.sender) if isinstance(limits, dict) else None
        if isinstance(limit, int) and not isinstance(limit, bool):
            return limit
        log.warning(
            "%s: This run's conf carries no limit for %s: the last one known applies, else 100 an hour. In a scheduled "
            "run it means that the plugin's listener is not loaded in the scheduler; look at its log.",
            ids.LISTENER,
            self.sender,
        )
        return None


def _tell_notices(engine: Engine) -> None:
    """Tell what a run can see at little cost; the view *Health* and ``python -m notify health`` look at more."""
    from notify.storage import clocks, schema

    with engine.connect() as connection:
        schema.require(connection)
        _warn_of_clock(clocks.ahead(connection, time.time))
        _warn_of_unserved(connection)


def _warn_of_clock(ahead: timedelta) -> None:
    if abs(ahead) > OFF:
        log.warning(
            "%s: %s Let a time service (chrony, ntpd) set the clocks.",
            ids.CLOCK_FAR_OFF if abs(ahead) > FAR_OFF else ids.CLOCK_OFF,
            difference(socket.gethostname(), ahead),
        )


def _warn_of_unserved(connection: Connection) -> None:
    """Tell of messages whose sender is no longer in ``notify_senders``: no run would ever mention them."""
    from notify import settings
    from notify.exceptions import ConfigurationError
    from notify.storage import waiting

    try:
        served = settings.senders()
    except ConfigurationError:  # the DAG is tagged with it, and serves its default
        return
    for sender, count in waiting.unserved(connection, served).items():
        log.warning(
            "%s: %s messages wait for the sender %s, which no run serves: it is not in the Variable notify_senders. "
            "Put it back until its queue is empty, or cancel them.",
            ids.UNSERVED,
            count,
            sender,
        )
