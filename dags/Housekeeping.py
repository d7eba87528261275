"""The DAG Housekeeping: removes what is no longer kept, so that the outbox stays small and forgets in time."""

from __future__ import annotations

from airflow.sdk import DAG

from notify.operators import HousekeepingOperator
from notify.schedules import dag_settings

DOC = """
### Removes what is no longer kept

The text and the attachments of a message go after the time in the Variable `notify_keep_bodies` (ISO 8601, 90 days by
default), all that is known of it after `notify_keep_rows` (two years), each counted from the last thing that happened
to it. What is queued, being sent, held or uncertain stays, however old it is. The schedule is the Variable
`notify_schedule_housekeeping` (a cron expression, a preset, or an ISO 8601 duration).

It works in small batches and passes by what others are using, so nobody waits for it. The task's XCom tells what it
removed, in numbers; what it could not finish within an hour, the next run goes on with.
"""

settings = dag_settings("notify_schedule_housekeeping", default="30 2 * * *")

with DAG(
    dag_id="Housekeeping",
    description="Removes bodies and rows that are no longer kept",
    schedule=settings.schedule,
    # No start_date: with one, Airflow 3.3 first makes up for the latest time that has passed, whatever catchup says
    # (2026-11). A run nobody asked for, at a moment nobody chose.
    catchup=False,
    max_active_runs=1,
    tags=list(settings.tags),
    doc_md=DOC + settings.notes,
    default_args={"retries": 0},
):
    HousekeepingOperator(task_id="Housekeeping")
