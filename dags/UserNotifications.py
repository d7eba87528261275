"""The DAG UserNotifications: what people want hourly, daily or weekly, when its time has come."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.operators import UserNotificationsOperator
from notify.schedules import dag_settings

DOC = """
### Moves what was put aside, and is due, to the outbox

What a person wants to hear hourly, daily or weekly waits here until its time. More than one notification of the same
person becomes **one digest**; exactly one is moved as the mail that it is. The next run of **Notifications** sends it.
The schedule is the Variable `notify_schedule_user_notifications` (a cron expression, a preset, or an ISO 8601
duration); what becomes due between two runs leaves with the second.

The task's XCom tells what it did, in numbers. Why somebody did, or did not, get something:
`python -m notify explain --person LOGIN`.
"""

settings = dag_settings("notify_schedule_user_notifications", default="0 * * * *")

with DAG(
    dag_id="UserNotifications",
    description="Moves what people want later, and is due, to the outbox: as it is, or as one digest",
    schedule=settings.schedule,
    # No start_date: with one, Airflow 3.3 first makes up for the latest time that has passed, whatever catchup says
    # (2026-11). A run nobody asked for, at a moment nobody chose.
    catchup=False,
    max_active_runs=2,
    tags=list(settings.tags),
    doc_md=DOC + settings.notes,
    default_args={"retries": 0},
):
    # Two at once do no harm: they share the people between them.
    UserNotificationsOperator(task_id="UserNotifications")
