"""DeliveryReports: a task reads what became of messages after they were sent, from one source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from notify.operators.run import RunOperator
from notify.operators.task import origin_of, polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

log = logging.getLogger(__name__)

#: The connection of the mailbox that undeliverable mails come back to.
BOUNCES = "imap_bounces"


class DeliveryReportsOperator(RunOperator):
    """Read the reports in a mailbox: what came back, whose address does not work, and who is to be told.

    :param conn_id: of the mailbox; where there is no such connection, the task is skipped
    """

    template_fields: Sequence[str] = ("conn_id",)
    ui_color = "#ffedd5"

    def __init__(self, *, conn_id: str = BOUNCES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Read.

        :returns: what the run did, see :class:`notify.bouncing.BounceResult`
        :raises RestoredCopy: the outbox is one; no mail was read
        """
        from notify import settings
        from notify.bouncing import Bouncing
        from notify.mailboxes.imap import ImapSource
        from notify.mailboxes.imap_settings import ImapSettings
        from notify.storage.engine import engine_for
        from notify.witness import require_original

        with refusals_told(), polite_interrupt(self._stop):
            source = ImapSource(ImapSettings.of(self.conn_id, self._connection()))
            engine = engine_for(settings.database_url())
            require_original(engine)  # what a copy takes out of the mailbox, the original never reads
            result = Bouncing(
                engine=engine,
                settings=settings.hand_over_settings(),
                bounces=settings.bounce_settings(),
                source=source,
                stop=self._stop,
                origin=origin_of(context),
            ).run()
        log.info("%s", result.summary)
        return asdict(result)

    def _connection(self) -> Connection:
        from airflow.sdk.exceptions import AirflowSkipException

        from notify import settings

        found = settings.connection(self.conn_id)
        if found is None:
            raise AirflowSkipException(
                f"There is no connection {self.conn_id}, so nobody reads what comes back. To have it read, add one of "
                "type imap (Admin → Connections) with the host, login and password of the mailbox that is the senders' "
                "return_path."
            )
        return found
