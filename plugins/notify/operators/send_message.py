"""SendMessage: a task hands a message over to the outbox."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from notify.operators.task import origin_of, own_or_given, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context

    from notify.handover import HandedOver
    from notify.storage.outbox import Origin

log = logging.getLogger(__name__)

#: More messages than these do not get a line each.
MOST_LINES = 20

#: The fields of a message, in the order of the documentation's table.
FIELDS = (
    "channel",
    "recipient",
    "cc",
    "bcc",
    "one_mail",
    "subject",
    "message",
    "html",
    "template",
    "data",
    "add_template",
    "language",
    "sender",
    "site",
    "reply_to",
    "attachments",
    "case_id",
    "case_url",
    "add_case_id_to_subject",
    "add_url",
    "priority",
    "guarantee",
    "transliterate",
    "send_after",
    "expires_after",
    "idempotency_key",
)

#: A field as an author may write it: a value, a Jinja string, or a callable that gets the context.
Field = Any


class SendMessageOperator(BaseOperator):
    """Hand a message over to the outbox; the next run of Notifications sends it.

    The task succeeds when the message is stored. It fails, without a retry changing anything, when something is wrong
    with the message; the error names every fault. Every field is templated.

    :param channel: ``email`` or ``sms``; an SMS has a ``message``, or a ``template`` and ``data``, and recipients
    :param recipient: addresses (of an SMS telephone numbers), logins or groups; a list, or one string separated by
        semicolons or commas
    :param cc: copy to; makes it one mail to all
    :param bcc: blind copy to; makes it one mail to all
    :param one_mail: one mail to all instead of one per recipient
    :param subject: one line
    :param message: the text, plain, or HTML where ``html`` is true
    :param html: whether ``message`` is HTML
    :param template: kind of template, instead of ``subject`` and ``message``
    :param data: fields of the template
    :param add_template: wrap it in the house template of the language
    :param language: e.g. ``pl``; else the person's, else ``en``
    :param sender: one of ``notify_senders``; else that of the site, else the first
    :param site: the branch that it is for: without a ``sender``, that branch's sends it
    :param reply_to: address for answers
    :param attachments: list of ``{"filename", "content"}``, ``{"filename", "content_base64"}`` or ``{"uri"}``
    :param case_id: what the message is about
    :param case_url: where the case can be looked at; else by the Variable ``notify_case_url``
    :param add_case_id_to_subject: put ``[case_id]`` in front of the subject
    :param add_url: link the case
    :param priority: ``urgent``, ``normal`` or ``bulk``
    :param guarantee: ``at_least_once`` or ``at_most_once``; by default the former, of an SMS the latter
    :param transliterate: SMS: write in the basic alphabet what it lacks, so that more fits into a part
    :param send_after: not before: an aware datetime, or a delay (timedelta or ISO 8601)
    :param expires_after: not after: likewise; then the message becomes ``expired``
    :param idempotency_key: handing over the same key again adds nothing; by default DAG, run, task and map index, so
        that a retried or cleared task never doubles its mail
    :param from_params: take all fields from the run's params, as they are: nothing in them is rendered as a template,
        and one that is no field of a message is refused
    """

    template_fields: Sequence[str] = FIELDS
    template_fields_renderers = {"message": "html", "data": "json", "attachments": "json"}  # noqa: RUF012 - Airflow's
    ui_color = "#dbeafe"

    def __init__(
        self,
        *,
        channel: Field = "email",
        recipient: Field = None,
        cc: Field = None,
        bcc: Field = None,
        one_mail: Field = False,
        subject: Field = None,
        message: Field = None,
        html: Field = False,
        template: Field = None,
        data: Field = None,
        add_template: Field = True,
        language: Field = None,
        sender: Field = None,
        site: Field = None,
        reply_to: Field = None,
        attachments: Field = None,
        case_id: Field = None,
        case_url: Field = None,
        add_case_id_to_subject: Field = True,
        add_url: Field = True,
        priority: Field = "normal",
        guarantee: Field = None,
        transliterate: Field = False,
        send_after: Field = None,
        expires_after: Field = None,
        idempotency_key: Field = None,
        from_params: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channel = channel
        self.recipient = recipient
        self.cc = cc
        self.bcc = bcc
        self.one_mail = one_mail
        self.subject = subject
        self.message = message
        self.html = html
        self.template = template
        self.data = data
        self.add_template = add_template
        self.language = language
        self.sender = sender
        self.site = site
        self.reply_to = reply_to
        self.attachments = attachments
        self.case_id = case_id
        self.case_url = case_url
        self.add_case_id_to_subject = add_case_id_to_subject
        self.add_url = add_url
        self.priority = priority
        self.guarantee = guarantee
        self.transliterate = transliterate
        self.send_after = send_after
        self.expires_after = expires_after
        self.idempotency_key = idempotency_key
        self.from_params = from_params

    def execute(self, context: Context) -> dict[str, Any]:
        """Hand over.

        :returns: ``{"messages": [{"id", "message_id"}, …], "duplicate": bool, "suppressed": int}``
        """
        from notify.enqueuing import enqueue_fields

        origin = origin_of(context)
        fields = self._fields(context)
        with refusals_told():
            fields["idempotency_key"] = self._key(fields.get("idempotency_key"), origin)
            handed_over = enqueue_fields(fields, origin=origin)
        _tell(handed_over)
        return {
            "messages": [{"id": one.id, "message_id": one.message_id} for one in handed_over.messages],
            "duplicate": handed_over.duplicate,
            "suppressed": handed_over.suppressed,
        }

    def _fields(self, context: Context) -> dict[str, Any]:
        if self.from_params:
            return dict(context["params"])
        return {name: getattr(self, name) for name in FIELDS}

    def _key(self, given: object, origin: Origin) -> object:
        from notify.exceptions import Fault, InvalidMessage

        try:
            return own_or_given(given, origin)
        except ValueError as error:
            raise InvalidMessage([Fault("idempotency_key", str(error))]) from error


def _tell(handed_over: HandedOver) -> None:
    """Log what became of it; of many messages, the first and the last."""
    state = "was handed over before" if handed_over.duplicate else "handed over"
    told = handed_over.messages
    if len(told) > MOST_LINES:
        log.info("%s messages: %s to %s", len(told), told[0].id, told[-1].id)
        told = (told[0], told[-1])
    for message in told:
        log.info("message %s %s (Message-ID %s)", message.id, state, message.message_id)
    if handed_over.suppressed:
        log.warning(
            "%s recipients get nothing: their addresses are on the suppression list. Which, and why: python -m notify "
            "suppressions list; those that work again: python -m notify suppressions lift ADDRESS",
            handed_over.suppressed,
        )
