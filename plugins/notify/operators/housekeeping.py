"""Housekeeping: a task removes what is no longer kept."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from notify.operators.run import RunOperator
from notify.operators.task import polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class HousekeepingOperator(RunOperator):
    """Remove bodies and rows that are older than the Variables ``notify_keep_bodies`` and ``notify_keep_rows`` say.

    :param budget: after this time nothing new is begun, and the next run goes on; None: an hour
    """

    ui_color = "#e2e8f0"

    def __init__(self, *, budget: timedelta | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.budget = budget

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow gives it
        """Remove.

        :returns: what the run did, see :class:`notify.housekeeping.HousekeepingResult`
        :raises RestoredCopy: the outbox is one; nothing was removed
        """
        from notify import settings
        from notify.housekeeping import BUDGET, Housekeeper
        from notify.storage.engine import engine_for
        from notify.witness import require_original

        with refusals_told(), polite_interrupt(self._stop):
            engine, keep = engine_for(settings.database_url()), settings.keep()
            require_original(engine)  # a copy may share its object storage with the original
            result = Housekeeper(engine, keep, budget=self.budget or BUDGET, stop=self._stop).run()
        log.info("%s", result.summary)
        return asdict(result)
