"""Notify: a task publishes an event."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from notify.operators.task import origin_of, own_or_given, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

    from notify.storage.outbox import Origin

log = logging.getLogger(__name__)

#: The fields of an event, in the order of the documentation's table.
EVENT_FIELDS = ("kind", "case", "actor", "recipients", "data", "occurred_at", "idempotency_key")

#: A field as an author may write it: a value, a Jinja string, or a callable that gets the context.
Field = Any


class NotifyOperator(BaseOperator):
    """Tell the people concerned that something happened to a case, each at the time they chose.

    The task succeeds when the event is stored, each of its notifications with a home: a mail in the outbox, put aside
    until the person's time, or a recorded reason why not. It fails, without a retry changing anything, when something
    is wrong with the event; the error names every fault. Every field is templated.

    :param kind: a registered kind, e.g. ``case_changed``
    :param recipients: logins, groups or addresses; a list, or one string separated by semicolons or commas
    :param case: its id, or a mapping of ``id``, ``title``, ``url``, ``process``, ``stage``, ``owner``,
        ``site`` (the branch whose sender sends the mails)
    :param actor: login or address of who did it, who is not told of it
    :param data: fields of the kind's template, e.g. ``{"changes": [{"what": "comment_added", "text": "…"}]}``
    :param occurred_at: when it happened: an aware datetime, or ISO 8601; else now
    :param idempotency_key: publishing under the same key again adds nothing; by default DAG, run, task and map index,
        so that a retried or cleared task tells nobody twice
    """

    template_fields: Sequence[str] = EVENT_FIELDS
    template_fields_renderers = {"case": "json", "data": "json"}  # noqa: RUF012 - Airflow's
    ui_color = "#fef3c7"

    def __init__(
        self,
        *,
        kind: Field,
        recipients: Field,
        case: Field = None,
        actor: Field = None,
        data: Field = None,
        occurred_at: Field = None,
        idempotency_key: Field = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.recipients = recipients
        self.case = case
        self.actor = actor
        self.data = data
        self.occurred_at = occurred_at
        self.idempotency_key = idempotency_key

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish.

        :returns: ``{"event_id", "duplicate", "mails", "waiting", "refused": {reason: count}}``
        """
        from notify.publishing import publish_fields

        origin = origin_of(context)
        fields = {name: getattr(self, name) for name in EVENT_FIELDS}
        with refusals_told():
            fields["idempotency_key"] = self._key(fields["idempotency_key"], origin)
            published = publish_fields(fields, origin=origin)
        log.info(
            "event %s %s: %s mails, %s put aside, %s refused",
            published.event_id,
            "was published before" if published.duplicate else "published",
            published.mails,
            published.waiting,
            sum(published.refused.values()),
        )
        return asdict(published)

    def _key(self, given: object, origin: Origin) -> object:
        from notify.exceptions import Fault, InvalidEvent

        try:
            return own_or_given(given, origin)
        except ValueError as error:
            raise InvalidEvent([Fault("idempotency_key", str(error))]) from error
