"""The DAG Notifications: one task for each sender drains its queue."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.operators import NotificationsOperator
from notify.schedules import INVALID_SENDERS, dag_settings, known_senders

DOC = """
### Sends what waits in the outbox

One task for each sender in the Variable `notify_senders`, in the pool of the sender's name. **The pool's slots are the
messages per rolling hour** (Admin → Pools): -1 is no limit, 0 holds everything; a change applies from the next run.
The schedule is the Variable `notify_schedule_notifications` (a cron expression, a preset, or an ISO 8601 duration).

Each task's XCom tells what it did, in numbers. A red task means that the sender itself cannot send: its log names the
cause and the remedy, and the messages wait.
"""

settings = dag_settings("notify_schedule_notifications", default="*/3 * * * *")
senders, senders_note = known_senders()

with DAG(
    dag_id="Notifications",
    description="Sends what waits in the outbox, within each sender's hourly limit",
    schedule=settings.schedule,
    # No start_date: with one, Airflow 3.3 first makes up for the latest time that has passed, whatever catchup says
    # (2026-11). A run nobody asked for, at a moment nobody chose.
    catchup=False,
    max_active_runs=16,
    tags=[*settings.tags, *([INVALID_SENDERS] if senders_note else [])],
    doc_md=DOC + settings.notes + senders_note,
    default_args={"retries": 0},
):
    for sender in senders:
        # Never two drains of one sender at once: the second sees the first in the outbox and leaves the queue to it.
        # Waiting for it (max_active_tis_per_dag) would pile up runs behind a slow server, and hold the others up.
        NotificationsOperator(task_id=sender, sender=sender)
