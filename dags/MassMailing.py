"""The DAG MassMailing: the messages of campaigns are made, and let go; its form orders a campaign."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.domain.channel import ChannelName
from notify.operators import CampaignOperator, MassMailingOperator
from notify.operators.params import SENDING, TEMPLATE, attachments, choice, data, flag, names, sending, text
from notify.schedules import dag_settings

DOC = """
### Makes the messages of campaigns, and lets them go

A campaign is one mail or SMS to many, each with their own text. Its author writes it on the page **Campaigns**, by API,
in a DAG (`CampaignOperator`), or here: **trigger this DAG with its form filled in** and the campaign is stored, its
messages are made and, with *Send*, leave with the next runs of **Notifications**, within the sender's limit. Without
*Send* they are held until somebody sends the campaign.

**order** stores what the form says; a run by the clock has no form, so it is skipped. **MassMailing** makes the
messages of all campaigns that wait for it, and moves those whose campaigns were sent, paused, resumed or cancelled. Its
XCom tells what it did, in numbers. A red task means that the messages of a campaign could not be made: its log names
the campaign and the cause, all others were made. The schedule is the Variable `notify_schedule_mass_mailing` (a cron
expression, a preset, or an ISO 8601 duration).
"""


RECIPIENTS = {"section": "Recipients"}
REMARKS = {"section": "Remarks"}

PARAMS = {
    "description": text("Description", "What it is, one line; of a run without one nothing is ordered"),
    "channel": choice("Channel", "An SMS has a message, or a template; no subject", ChannelName, ChannelName.EMAIL),
    "subject": text("Subject", "One line; may hold personal fields: {{ first_name }}, {{ recipient.name }}"),
    "message": text("Message", "Plain text, or HTML if the switch below is on; likewise", format="multiline"),
    "html": flag("The message is HTML", "Otherwise it is plain text", default=False),
    "attachments": attachments(),
    "groups": names("Groups", "Groups of people; one a line, or separated by semicolons", **RECIPIENTS),
    "recipients": names("Further recipients", "Addresses, of an SMS numbers; or logins", **RECIPIENTS),
    "csv": text(
        "CSV",
        "Further recipients with their personal fields: the first row names the columns, one of which is recipient, "
        "email or address; of an SMS recipient, phone or number",
        format="multiline",
        **RECIPIENTS,
    ),
    "csv_uri": text("CSV file", "Instead, where such a file lies, below notify_attachment_sources", **RECIPIENTS),
    "query_connection": text("Database", "A connection of notify_campaign_connections", **RECIPIENTS),
    "query": text("Query", "A SELECT there, with a row for each recipient", format="multiline", **RECIPIENTS),
    "template": text("Template", "Kind of template, instead of subject and message", **TEMPLATE),
    "data": data("Fields that are the same for all"),
    "add_template": flag("House template", "Wrap the message in the house template", default=True, **TEMPLATE),
    "language": text("Language", "en, pl, sk …; empty: the reader's, else en", **TEMPLATE),
    "send": flag("Send", "As soon as the messages are made; otherwise they are held", default=False, **SENDING),
    "send_after": text("Send after", "With Send: a time with its zone, or a delay such as PT2H", **SENDING),
    **sending(),
    "idempotency_key": text("Idempotency key", "Ordering under the same key again adds nothing", **SENDING),
    "note": text("Note", "For those who work with it", format="multiline", **REMARKS),
    "classification": text("Classification", "A word to find it by", **REMARKS),
}

settings = dag_settings("notify_schedule_mass_mailing", default="*/5 * * * *")

with DAG(
    dag_id="MassMailing",
    description="Makes the messages of campaigns, and lets them go; its form orders a campaign",
    schedule=settings.schedule,
    # No start_date: with one, Airflow 3.3 first makes up for the latest time that has passed, whatever catchup says
    # (2026-11). A run nobody asked for, at a moment nobody chose.
    catchup=False,
    # While one makes the messages of a large campaign, the others make those of other campaigns, and have them follow.
    max_active_runs=4,
    tags=list(settings.tags),
    doc_md=DOC + settings.notes,
    params=PARAMS,
    default_args={"retries": 0},
):
    order = CampaignOperator(task_id="order", from_params=True)
    # Also where nothing was ordered.
    order >> MassMailingOperator(task_id="MassMailing", trigger_rule="none_failed")
