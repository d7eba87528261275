"""The DAG Reminders: deadlines that approach or have passed, escalations, and people's reminders on cases."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.operators.reminders import RemindersOperator
from notify.schedules import dag_settings

DOC = """
### Makes the mails about deadlines and reminders that are due

A deadline is told of before it, when it passes, and to others later; a reminder, to the person who set it. Both only
while the case is still in its stage and with its owner; otherwise they end with that reason, and a deadline goes on for
the new owner. After an outage the latest step only. The next run of **Notifications** sends the mails. The schedule is
the Variable `notify_schedule_reminders` (a cron expression, a preset, or an ISO 8601 duration).

The task's XCom tells what it did, in numbers. A red task means that nobody could be told of some deadlines: its log
names each with the cause, all others were told, and the next run tries again. What is set, and what became of it:
`python -m notify deadlines list`.
"""

settings = dag_settings("notify_schedule_reminders", default="*/15 * * * *")

with DAG(
    dag_id="Reminders",
    description="Makes the mails about deadlines and reminders that are due",
    schedule=settings.schedule,
    # No start_date: with one, Airflow 3.3 first makes up for the latest time that has passed, whatever catchup says
    # (2026-11). A run nobody asked for, at a moment nobody chose.
    catchup=False,
    max_active_runs=2,
    tags=list(settings.tags),
    doc_md=DOC + settings.notes,
    default_args={"retries": 0},
):
    # Two at once do no harm: they share the deadlines between them.
    RemindersOperator(task_id="Reminders")
