"""The DAG SendMessage: hand over one message, by the UI's form, TriggerDagRunOperator or the REST API."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from notify.operators import SendMessageOperator
from notify.operators.send_message import FIELDS, from_param
from notify.schedules import TAG

DOC = """
### Hands a message over to the outbox

Trigger it with the form, with `TriggerDagRunOperator(trigger_dag_id="SendMessage", conf={…})` or with
`POST /api/v2/dags/SendMessage/dagRuns`. The next run of **Notifications** sends the message.

Recipients are addresses, logins or groups, separated by semicolons. Anything wrong with the message fails this run,
and its log names every fault.
"""


def names(title: str, description: str) -> Param:
    """Recipients: one string, or a list in JSON."""
    return Param("", title=title, description=description, type=["string", "array", "null"], items={"type": "string"})


def text(title: str, description: str, *, default: str | None = None, **schema: object) -> Param:
    """A text that may stay empty."""
    return Param(default, title=title, description=description, type=["null", "string"], **schema)


def flag(title: str, description: str, *, default: bool) -> Param:
    """Yes or no."""
    return Param(default, title=title, description=description, type="boolean")


PARAMS = {
    "recipient": names("Recipients", "Addresses, logins or groups; separated by semicolons or commas"),
    "subject": text("Subject", "One line; not needed with a template"),
    "message": text("Message", "Plain text, or HTML if the switch below is on", format="multiline"),
    "html": flag("The message is HTML", "Otherwise it is plain text", default=False),
    "cc": names("Cc", "Copy to; makes it one mail to all"),
    "bcc": names("Bcc", "Blind copy to; makes it one mail to all"),
    "one_mail": flag("One mail to all", "Otherwise each recipient gets a mail of their own", default=False),
    "template": text("Template", "Kind of template, instead of subject and message", section="Template"),
    "data": Param(
        None,
        title="Data",
        description="Fields of the template",
        type=["object", "null"],
        section="Template",
    ),
    "add_template": flag("House template", "Wrap the message in the house template", default=True),
    "language": text("Language", "en, pl, sk …; empty: the reader's, else en"),
    "sender": text("Sender", "One of notify_senders; empty: the first", section="Sending"),
    "reply_to": text("Reply to", "Address for answers", section="Sending"),
    "attachments": Param(
        None,
        title="Attachments",
        description='List of {"filename", "content_base64"} or {"uri"}',
        type=["array", "null"],
        items={"type": ["object", "string"]},
        section="Sending",
    ),
    "case_id": text("Case", "What the message is about", section="Case"),
    "case_url": text("Case URL", "Where the case can be looked at", section="Case"),
    "add_case_id_to_subject": flag("Case in subject", "Put [case] in front of the subject", default=True),
    "add_url": flag("Link the case", "If the case's URL is known", default=True),
    "priority": Param(
        "normal",
        title="Priority",
        description="bulk uses at most 80 % of an hour's slots",
        type="string",
        enum=["urgent", "normal", "bulk"],
        section="Sending",
    ),
    "guarantee": Param(
        "at_least_once",
        title="Guarantee",
        description="What happens when the server's answer is lost: send again, or never send twice",
        type="string",
        enum=["at_least_once", "at_most_once"],
        section="Sending",
    ),
    "send_after": text("Send after", "A time with its zone, or a delay such as PT2H", section="Sending"),
    "expires_after": text("Expires after", "Likewise; then it is not sent any more", section="Sending"),
    "idempotency_key": text("Idempotency key", "Handing over the same key again adds nothing", section="Sending"),
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
    SendMessageOperator(task_id="SendMessage", **{name: from_param(name) for name in FIELDS})
