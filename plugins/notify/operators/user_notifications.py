"""UserNotifications: a task moves what is put aside, and due, to the outbox."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from notify.operators.run import RunOperator
from notify.operators.task import origin_of, polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


class UserNotificationsOperator(RunOperator):
    """Move what is due to the outbox: a person's only notification as it is, more of them as one digest."""

    ui_color = "#ede9fe"

    def execute(self, context: Context) -> dict[str, Any]:
        """Move.

        :returns: what the run did, see :class:`notify.merge.MergeResult`
        """
        from notify import settings
        from notify.merge import Merger
        from notify.storage.engine import engine_for
        from notify.witness import require_original

        with refusals_told(), polite_interrupt(self._stop):
            engine = engine_for(settings.database_url())
            require_original(engine)
            result = Merger(
                engine=engine,
                settings=settings.hand_over_settings(),
                stop=self._stop,
                origin=origin_of(context),
            ).run()
        log.info("%s", result.summary)
        return asdict(result)
