"""Reminders: a task tells of the deadlines and reminders that are due."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from notify.operators.run import RunOperator
from notify.operators.task import origin_of, polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class RemindersOperator(RunOperator):
    """Tell of the deadlines and reminders that are due, of each the latest step only."""

    ui_color = "#fee2e2"

    def execute(self, context: Context) -> dict[str, Any]:
        """Tell.

        :returns: what the run did, see :class:`notify.remind.RemindResult`
        """
        from notify import settings
        from notify.remind import Reminding
        from notify.storage.engine import engine_for
        from notify.witness import require_original

        with refusals_told(), polite_interrupt(self._stop):
            engine = engine_for(settings.database_url())
            require_original(engine)
            result = Reminding(
                engine=engine,
                settings=settings.hand_over_settings(),
                stop=self._stop,
                origin=origin_of(context),
            ).run()
        log.info("%s", result.summary)
        return asdict(result)
