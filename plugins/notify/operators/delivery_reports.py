"""DeliveryReports: tasks read what became of messages after they were sent, each from one source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from notify.operators.run import RunOperator
from notify.operators.task import origin_of, polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context
    from sqlalchemy.engine import Engine


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


class SmsReceiptsOperator(RunOperator):
    """Ask the gateways of all senders of SMS what became of their messages, and what is left on their accounts.

    Where none has receipts or an account that tells, the task is skipped. A gateway that gives none keeps no other from
    being asked; the task fails in the end, and names it.
    """

    ui_color = "#ffedd5"

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask.

        :returns: of each gateway what the run did, see :class:`notify.receiving.ReceivingResult`
        :raises RestoredCopy: the outbox is one; nobody was asked
        :raises SenderFault: a gateway gave no receipts
        """
        from notify import settings
        from notify.domain.channel import ChannelName
        from notify.exceptions import SenderFault
        from notify.storage.engine import engine_for
        from notify.witness import require_original

        del context
        done: list[dict[str, Any]] = []
        faults: list[SenderFault] = []
        with refusals_told(), polite_interrupt(self._stop):
            senders = settings.senders_of(ChannelName.SMS)
            if not senders:
                raise _nothing_to_ask()
            engine = engine_for(settings.database_url())
            require_original(engine)  # what a copy asks for, the original is never told
            for sender in senders:
                try:
                    found = self._ask(engine, sender)
                except SenderFault as fault:
                    faults.append(fault)
                else:
                    done += [found] if found else []
            if faults:
                raise faults[0]
            if not done:
                raise _nothing_to_ask()
        return done

    def _ask(self, engine: Engine, sender: str) -> dict[str, Any] | None:
        """Ask a gateway; None where it tells nothing."""
        from notify.channels import channel_for
        from notify.receiving import Receiving, ReceivingResult, ask_credit

        channel = channel_for(sender)
        source = channel.receipts()
        result = ReceivingResult(sender, stopped="it has no receipts")
        if source is not None:
            with closing(source):
                result = Receiving(engine, sender, source, stop=self._stop).run()
        credit = None if self._stop.is_set() else ask_credit(engine, sender, channel)
        if source is None and credit is None:
            return None
        result.credit = credit.words if credit else None
        log.info("%s", result.summary)
        return asdict(result)


def _nothing_to_ask() -> Exception:
    from airflow.sdk.exceptions import AirflowSkipException

    return AirflowSkipException("No sender has receipts: none is for SMS (docs/sms.md).")
