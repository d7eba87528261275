"""The pool is the limit: its slots travel in the run's conf, since a task cannot read a pool.

Runs in the scheduler, with the run attached to the scheduler's session. Reading and writing through that session is
allowed, committing is not (Airflow 3.3, 2026-11: "UNEXPECTED COMMIT"). What is written here is committed with the
run's own change of state, or not at all.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

from notify.domain.limit import DEFAULT_LIMIT, HOURLY_LIMITS

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import Insert, Table
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

#: The DAG whose tasks drain.
DAG_ID = "Notifications"

#: The class name of the operator that drains, as Airflow keeps it with the task.
OPERATOR = "NotificationsOperator"

#: Where a task runs whose own pool has no slots: it must run to say that its messages are held.
FALLBACK_POOL = "default_pool"


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - Airflow's signature
    """Write the hourly limits of a run of Notifications into its conf."""
    if dag_run.dag_id == DAG_ID:
        carry_limits(dag_run)


def carry_limits(dag_run: DagRun) -> None:
    """Write the slots of the senders' pools into the run's conf, and see that no pool blocks a task."""
    import sqlalchemy as sa

    session: Session | None = sa.inspect(dag_run).session
    if session is None:
        log.warning("The run %s is not attached to a session; it carries no hourly limits.", dag_run.run_id)
        return
    tasks = _drains(session, dag_run)
    limits = _slots(session, {task.task_id for task in tasks})
    for task in tasks:
        if limits[task.task_id] == 0:
            task.pool = FALLBACK_POOL
    dag_run.conf = {**(dag_run.conf or {}), HOURLY_LIMITS: limits}


def _drains(session: Session, dag_run: DagRun) -> list[TaskInstance]:
    """The run's draining tasks; each is named as its sender, and so is the sender's pool."""
    import sqlalchemy as sa
    from airflow.models.taskinstance import TaskInstance

    query = sa.select(TaskInstance).where(
        TaskInstance.dag_id == dag_run.dag_id,
        TaskInstance.run_id == dag_run.run_id,
        TaskInstance.operator == OPERATOR,
    )
    return list(session.scalars(query))


def _slots(session: Session, names: set[str]) -> dict[str, int]:
    """Slots by pool; a pool that is missing is made, for Airflow never schedules a task whose pool is."""
    slots = _read_slots(session, names)
    if missing := sorted(names - slots.keys()):
        for name in missing:
            _create_pool(session, name)
        slots |= dict.fromkeys(missing, DEFAULT_LIMIT) | _read_slots(session, set(missing))
    return slots


def _read_slots(session: Session, names: set[str]) -> dict[str, int]:
    import sqlalchemy as sa
    from airflow.models.pool import Pool

    query = sa.select(Pool.pool, Pool.slots).where(Pool.pool.in_(names))
    return {str(row.pool): int(row.slots) for row in session.execute(query)}


def _create_pool(session: Session, name: str) -> None:
    """Insert the pool unless another scheduler has just done so."""
    from airflow.models.pool import Pool

    values = {
        "pool": name,
        "slots": DEFAULT_LIMIT,
        "description": "Messages per rolling hour for this sender; -1: no limit, 0: hold. Made by notify.",
        "include_deferred": False,
    }
    insert = _insert_or_ignore(Pool.__table__, session.get_bind().dialect.name)
    if session.execute(insert.values(values)).rowcount == 1:  # type: ignore[attr-defined]  # an insert's result has it
        log.warning("The pool %s was missing and has been made with %s slots.", name, DEFAULT_LIMIT)


def _insert_or_ignore(table: Table, dialect: str) -> Insert:
    """An insert that does nothing where the row is there: an error would undo the scheduler's own transaction."""
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    if dialect == "mysql":
        return mysql.insert(table).prefix_with("IGNORE")
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
