"""The DAG SendMessage: hand over one message, by the UI's form, TriggerDagRunOperator or the REST API."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.domain.channel import ChannelName
from notify.domain.message import Priority
from notify.operators import SendMessageOperator
from notify.operators.params import SENDING, TEMPLATE, attachments, choice, data, flag, names, sending, text
from notify.schedules import TAG

DOC = """
### Hands a message over to the outbox

Trigger it with the form, with `TriggerDagRunOperator(trigger_dag_id="SendMessage", conf={…})` or with
`POST /api/v2/dags/SendMessage/dagRuns`. The next run of **Notifications** sends the message.

Recipients are addresses, logins or groups, separated by semicolons. Anything wrong with the message fails this run,
and its log names every fault.
"""


MORE = {"section": "More recipients"}
CASE = {"section": "Case"}

PARAMS = {
    "channel": choice(
        "Channel", "An SMS has recipients and a message, or a template; no subject", ChannelName, ChannelName.EMAIL
    ),
    "recipient": names(
        "Recipients", "Addresses, of an SMS numbers; logins or groups; one a line, or separated by semicolons"
    ),
    "subject": text("Subject", "One line; not needed with a template"),
    "message": text("Message", "Plain text, or HTML if the switch below is on", format="multiline"),
    "html": flag("The message is HTML", "Otherwise it is plain text", default=False),
    "language": text("Language", "en, pl, sk …; empty: the reader's, else en"),
    "attachments": attachments(),
    "cc": names("Cc", "Copy to; makes it one mail to all", **MORE),
    "bcc": names("Bcc", "Blind copy to; makes it one mail to all", **MORE),
    "one_mail": flag("One mail to all", "Otherwise each recipient gets a mail of their own", default=False, **MORE),
    "template": text("Template", "Kind of template, instead of subject and message", **TEMPLATE),
    "data": data("Fields of the template"),
    "add_template": flag("House template", "Wrap the message in the house template", default=True, **TEMPLATE),
    "case_id": text("Case", "What the message is about", **CASE),
    "case_url": text("Case URL", "Where the case can be looked at", **CASE),
    "add_case_id_to_subject": flag("Case in subject", "Put [case] in front of the subject", default=True, **CASE),
    "add_url": flag("Link the case", "If the case's URL is known", default=True, **CASE),
    **sending(),
    "priority": choice("Priority", "bulk uses at most 80 % of an hour's slots", Priority, Priority.NORMAL, **SENDING),
    "send_after": text("Send after", "A time with its zone, or a delay such as PT2H", **SENDING),
    "expires_after": text("Expires after", "Likewise; then it is not sent any more", **SENDING),
    "idempotency_key": text("Idempotency key", "Handing over the same key again adds nothing", **SENDING),
}

with DAG(
    dag_id="SendMessage",
    description="Hands one message over to the outbox",
    schedule=None,
    catchup=False,
    max_active_runs=64,
    tags=[TAG],
    doc_md=DOC,
    params=PARAMS,
    default_args={"retries": 0},
):
    SendMessageOperator(task_id="SendMessage", from_params=True)
