"""Campaigns: a task orders one, or tells one what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, literal

from notify.domain.campaign import CampaignAction, CampaignStatus
from notify.operators.run import RunOperator
from notify.operators.task import origin_of, own_or_given, polite_interrupt, refusals_told

if TYPE_CHECKING:
    from airflow.sdk import Context
    from sqlalchemy.engine import Connection

    from notify.campaigns.ordering import Ordered
    from notify.storage.outbox import Origin

log = logging.getLogger(__name__)

#: The fields of a campaign that a task orders, in the order of the documentation's table.
CAMPAIGN_FIELDS = (
    "description",
    "channel",
    "subject",
    "message",
    "html",
    "template",
    "data",
    "add_template",
    "language",
    "transliterate",
    "guarantee",
    "sender",
    "site",
    "reply_to",
    "attachments",
    "groups",
    "recipients",
    "csv",
    "csv_uri",
    "query_connection",
    "query",
    "note",
    "classification",
    "send",
    "send_after",
    "idempotency_key",
)

#: What stands in a form that nobody has filled in, where it is not empty.
_UNTOUCHED: Mapping[str, object] = {
    "channel": "email",
    "html": False,
    "add_template": True,
    "transliterate": False,
    "send": False,
}

#: A field as an author may write it: a value, a Jinja string, or a callable that gets the context.
Field = Any


class CampaignOperator(BaseOperator):
    """Order a campaign: it is stored, the next run of MassMailing makes its messages and, if wanted, lets them go.

    The task succeeds when the campaign is stored. It fails, without a retry changing anything, when something is wrong
    with the campaign; the error names every fault. Every field is templated but ``subject`` and ``message``: what
    stands there in braces is for the personal fields of each recipient, ``{{ first_name }}``. What belongs to the run
    comes there through ``data``, or is made by a task before this one.

    :param description: what it is, one line
    :param channel: ``email`` or ``sms``
    :param subject: one line
    :param message: the text, plain, or HTML where ``html`` is true
    :param html: whether ``message`` is HTML
    :param template: kind of template, instead of ``subject`` and ``message``
    :param data: fields that are the same for all
    :param add_template: wrap it in the house template of the language
    :param language: of the template; else the recipient's, else ``en``
    :param transliterate: SMS: write in the basic alphabet what it lacks
    :param guarantee: ``at_least_once`` or ``at_most_once``
    :param sender: which sender; else that of the site, or the first of the channel
    :param site: branch that it is for
    :param reply_to: address for answers
    :param attachments: list of ``{"filename", "content_base64"}`` or ``{"uri"}``
    :param groups: groups of people who get it
    :param recipients: further recipients: addresses, of an SMS numbers, or logins
    :param csv: further recipients with their personal fields, as CSV with a header
    :param csv_uri: instead, where such a file lies in object storage, below ``notify_attachment_sources``
    :param query_connection: an Airflow connection to an SQL database, of ``notify_campaign_connections``
    :param query: a SELECT there, with a row for each recipient
    :param note: for those who work with it
    :param classification: a word to find it by
    :param send: whether the messages leave as soon as they are made; else a person sends it, or another task
    :param send_after: with ``send``: not before, a time with its zone or a delay such as ``PT2H``
    :param idempotency_key: ordering under the same key again orders nothing; by default DAG, run, task and map index,
        so that a retried or cleared task never mails twice
    :param from_params: take all fields from the run's params, as they are: nothing in them is rendered as a template,
        and one that is no field of a campaign is refused. Of a run whose params nobody filled in the task is skipped
    """

    template_fields: Sequence[str] = CAMPAIGN_FIELDS
    template_fields_renderers = {  # noqa: RUF012 - Airflow's
        "message": "html",
        "data": "json",
        "attachments": "json",
        "query": "sql",
    }
    ui_color = "#fce7f3"

    def __init__(
        self,
        *,
        description: Field = None,
        channel: Field = "email",
        subject: Field = None,
        message: Field = None,
        html: Field = False,
        template: Field = None,
        data: Field = None,
        add_template: Field = True,
        language: Field = None,
        transliterate: Field = False,
        guarantee: Field = None,
        sender: Field = None,
        site: Field = None,
        reply_to: Field = None,
        attachments: Field = None,
        groups: Field = None,
        recipients: Field = None,
        csv: Field = None,
        csv_uri: Field = None,
        query_connection: Field = None,
        query: Field = None,
        note: Field = None,
        classification: Field = None,
        send: Field = False,
        send_after: Field = None,
        idempotency_key: Field = None,
        from_params: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.description = description
        self.channel = channel
        self.subject = _as_written(subject)
        self.message = _as_written(message)
        self.html = html
        self.template = template
        self.data = data
        self.add_template = add_template
        self.language = language
        self.transliterate = transliterate
        self.guarantee = guarantee
        self.sender = sender
        self.site = site
        self.reply_to = reply_to
        self.attachments = attachments
        self.groups = groups
        self.recipients = recipients
        self.csv = csv
        self.csv_uri = csv_uri
        self.query_connection = query_connection
        self.query = query
        self.note = note
        self.classification = classification
        self.send = send
        self.send_after = send_after
        self.idempotency_key = idempotency_key
        self.from_params = from_params

    def execute(self, context: Context) -> dict[str, Any]:
        """Order.

        :returns: ``{"campaign": its number, "status", "duplicate": whether it was ordered before}``
        """
        origin = origin_of(context)
        fields = self._fields(context)
        with refusals_told():
            fields["idempotency_key"] = self._key(fields.get("idempotency_key"), origin)
            ordered = _order(fields, _actor(context, origin))
        state = (
            "was ordered before" if ordered.duplicate else "is stored; the next run of MassMailing makes its messages"
        )
        log.info("campaign %s %s (%s)", ordered.campaign, state, ordered.status)
        return {"campaign": ordered.campaign, "status": ordered.status.value, "duplicate": ordered.duplicate}

    def _fields(self, context: Context) -> dict[str, Any]:
        if not self.from_params:
            return {name: getattr(self, name) for name in CAMPAIGN_FIELDS}
        fields = dict(context["params"])
        if _untouched(fields):
            from airflow.sdk.exceptions import AirflowSkipException

            raise AirflowSkipException("This run orders no campaign: nothing is filled in.")
        return fields

    def _key(self, given: object, origin: Origin) -> object:
        from notify.exceptions import Fault, InvalidCampaign

        try:
            return own_or_given(given, origin)
        except ValueError as error:
            raise InvalidCampaign([Fault("idempotency_key", str(error))]) from error


def _as_written(field: Field) -> Field:
    """A text whose braces are not Airflow's to fill in; what another task returns is still that."""
    return literal(field) if isinstance(field, str) else field


def _untouched(fields: Mapping[str, Any]) -> bool:
    return all(value in (None, "", [], {}) or _UNTOUCHED.get(name) == value for name, value in fields.items())


def _actor(context: Context, origin: Origin) -> str:
    """Who orders it, for its history: a person by their name, else the task."""
    person = getattr(context.get("dag_run"), "triggering_user_name", None)
    return f"{person} ({origin.dag_id})" if person else f"{origin.dag_id}.{origin.task_id}"


def _order(fields: Mapping[str, Any], actor: str) -> Ordered:
    from notify import settings
    from notify.campaigns.ordering import order
    from notify.storage.engine import engine_for, transaction

    with transaction(engine_for(settings.database_url()), actor=actor) as connection:
        return order(connection, fields, settings.hand_over_settings())


#: What a task can tell a campaign, and the states in which it has been told already: a retried task changes nothing.
_TOLD: Mapping[CampaignAction, frozenset[CampaignStatus]] = {
    CampaignAction.GENERATE: frozenset({CampaignStatus.GENERATING}),
    CampaignAction.SEND: frozenset({CampaignStatus.SENDING, CampaignStatus.DONE}),
    CampaignAction.PAUSE: frozenset({CampaignStatus.PAUSED}),
    CampaignAction.RESUME: frozenset({CampaignStatus.SENDING, CampaignStatus.DONE}),
    CampaignAction.CANCEL: frozenset({CampaignStatus.CANCELLED}),
}


class CampaignActionOperator(RunOperator):
    """Tell a campaign what to do: ``generate``, ``send``, ``pause``, ``resume`` or ``cancel``; its messages follow.

    What it was told already it is not told again. Both its number and the time are templated.

    :param action: one of these
    :param campaign: its number, e.g. ``"{{ ti.xcom_pull('order')['campaign'] }}"``
    :param send_after: of ``send`` and ``resume``: not before, a time with its zone or a delay such as ``PT2H``
    """

    template_fields: Sequence[str] = ("campaign", "send_after")
    ui_color = "#fce7f3"

    def __init__(self, *, action: str, campaign: Field, send_after: Field = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if action not in {one.value for one in _TOLD}:
            raise ValueError(f"action is {action!r}; a task can tell a campaign to {', '.join(_TOLD)}")
        self.action = action
        self.campaign = campaign
        self.send_after = send_after

    def execute(self, context: Context) -> dict[str, Any]:
        """Tell it.

        :returns: ``{"campaign": its number, "status", "moved": messages}``
        """
        from notify import settings
        from notify.campaigns import following
        from notify.storage.engine import engine_for, transaction
        from notify.witness import require_original

        actor = _actor(context, origin_of(context))
        with refusals_told(), polite_interrupt(self._stop):
            engine = engine_for(settings.database_url())
            require_original(engine)
            number = _number(self.campaign)
            with transaction(engine, actor=actor) as connection:
                self._tell(connection, number)
            followed = following.follow(engine, number, actor=actor, stop=self._stop)
        log.info("campaign %s is %s; %s messages moved", number, followed.status, followed.moved)
        return {"campaign": number, "status": followed.status.value, "moved": followed.moved}

    def _tell(self, connection: Connection, number: int) -> None:
        from notify.campaigns import ordering, steering
        from notify.storage import campaigns

        action = CampaignAction(self.action)
        moment = ordering.moment_of(connection, self.send_after)
        status = campaigns.read(connection, number, lock=True).status
        if status in _TOLD[action]:
            log.info("campaign %s is %s already", number, status)
        else:
            steering.tell(connection, number, action, send_after=moment)


def _number(given: object) -> int:
    from notify.exceptions import Fault, InvalidCampaign

    text = str(given).strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidCampaign([Fault("campaign", f"is {text!r}; write its number")])
    return int(text)
