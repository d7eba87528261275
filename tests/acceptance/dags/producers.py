"""Producers as users write them: tasks that publish events, set and clear deadlines, and keep people in step."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Context, Param, task

from notify.operators import (
    ClearDeadlineOperator,
    NotifyOperator,
    SetDeadlineOperator,
    SetReminderOperator,
    SyncPeopleOperator,
)

OPERATORS = {
    "Publish": NotifyOperator,
    "SetDeadlines": SetDeadlineOperator,
    "ClearDeadlines": ClearDeadlineOperator,
    "SetReminders": SetReminderOperator,
}


@task
def calls(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The arguments for each task, from the run's conf."""
    return list((params or {})["calls"])


def die_at_first(context: Context, result: Any = None) -> None:
    """Break down when the work is done, before anybody knows of it."""
    if context["ti"].try_number == 1:
        raise RuntimeError("the worker was lost")


for name, operator in OPERATORS.items():
    with DAG(name, schedule=None, catchup=False, params={"calls": Param([], type="array")}):
        operator.partial(task_id="call").expand_kwargs(calls())

with DAG("SyncPeople", schedule=None, catchup=False):
    SyncPeopleOperator(task_id="sync", conn_id="hr", sql="select * from staff")

with DAG("PublishTwice", schedule=None, catchup=False, params={"recipients": "", "text": ""}):
    NotifyOperator(
        task_id="notify",
        kind="case_changed",
        case="C-{{ run_id }}",
        recipients="{{ params.recipients }}",
        data={"changes": [{"what": "comment_added", "text": "{{ params.text }}"}]},
        retries=1,
        retry_delay=0,
        post_execute=die_at_first,
    )
