"""The DAG DeliveryReports: what became of messages after they were sent."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.operators import DeliveryReportsOperator, SmsReceiptsOperator
from notify.schedules import dag_settings

DOC = """
### Reads what became of messages after they were sent

One task for each kind of source. **imap_bounces** reads the mailbox that undeliverable mails come back to, through the
connection of that name (type imap; without it the task is skipped). A message that reached nobody becomes
`undelivered`; an address that does not work gets nothing more for a time (`python -m notify suppressions list`); the
sender of the mail is told. **sms_receipts** asks the gateways of all SMS senders which SMS were delivered, and what
is left on their accounts (without such a sender it is skipped). The schedule is the Variable
`notify_schedule_delivery_reports` (a cron expression, a preset, or an ISO 8601 duration).

Each task's XCom tells what it did, in numbers. A red task means that the mailbox cannot be read, or that a gateway
gave no receipts: its log names the cause and the remedy, and what was not read is asked for again. A mail that cannot
be read stays in the mailbox, flagged, and keeps no other waiting.
"""

settings = dag_settings("notify_schedule_delivery_reports", default="*/10 * * * *")

with DAG(
    dag_id="DeliveryReports",
    description="Reads what became of messages after they were sent: bounces from a mailbox, receipts of SMS",
    schedule=settings.schedule,
    # No start_date: with one, Airflow 3.3 first makes up for the latest time that has passed, whatever catchup says
    # (2026-11). A run nobody asked for, at a moment nobody chose.
    catchup=False,
    max_active_runs=2,
    tags=list(settings.tags),
    doc_md=DOC + settings.notes,
    default_args={"retries": 0},
):
    # Two at once do no harm: a report that both read counts once.
    DeliveryReportsOperator(task_id="imap_bounces")
    SmsReceiptsOperator(task_id="sms_receipts")
