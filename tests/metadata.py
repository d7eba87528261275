"""Airflow's own database, as tests fill it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.log import Log
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.timetables.trigger import CronTriggerTimetable
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy.orm import Session

BUNDLE = "dags-folder"

#: What tests put there, in the order in which it can be removed.
_TABLES = (TaskInstance, DagRun, DagVersion, ParseImportError, DagModel, DagBundleModel, Variable, Log)


def add_dag(session: Session, dag_id: str, *, schedule: str = "*/3 * * * *", **columns: Any) -> None:
    """Put a DAG there, as the DAG processor does."""
    if session.get(DagBundleModel, BUNDLE) is None:
        session.add(DagBundleModel(name=BUNDLE))
        session.flush()
    known = {"is_stale": False, "is_paused": False, "relative_fileloc": f"{dag_id}.py", "max_active_tasks": 16}
    limits = {"max_consecutive_failed_dag_runs": 0, "has_task_concurrency_limits": False}
    description = CronTriggerTimetable(schedule, timezone="UTC").description
    words = {"timetable_summary": schedule, "timetable_description": description}
    session.add(DagModel(dag_id=dag_id, bundle_name=BUNDLE, **{**known, **limits, **words, **columns}))
    session.flush()
    session.add(DagVersion(dag_id=dag_id, version_number=1, bundle_name=BUNDLE))
    session.commit()


def add_run(session: Session, dag_id: str, *, at: datetime, run_id: str | None = None, **columns: Any) -> str:
    """Put a run by the clock there, which has ended.

    :returns: its id
    """
    run_id = run_id or f"scheduled__{at.isoformat()}"
    known = {
        "run_type": DagRunType.SCHEDULED,
        "triggered_by": DagRunTriggeredByType.TIMETABLE,
        "state": DagRunState.SUCCESS,
        "run_after": at,
        "logical_date": at,
        "data_interval": (at, at),
        "start_date": at,
    }
    session.add(DagRun(dag_id=dag_id, run_id=run_id, **{**known, **columns}))
    session.commit()
    return run_id


def add_task(
    session: Session,
    dag_id: str,
    run_id: str,
    task_id: str,
    *,
    host: str,
    began: datetime,
    ended: datetime | None,
    tries: int = 1,
) -> None:
    """Put a task of a run there, with the times that its machine's clock had."""
    version = session.scalars(sa.select(DagVersion).where(DagVersion.dag_id == dag_id)).one()
    session.execute(
        sa.insert(TaskInstance.__table__).values(
            id=uuid4(),
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=-1,
            operator="NotificationsOperator",
            pool=task_id,
            pool_slots=1,
            try_number=tries,
            max_tries=0,
            hostname=host,
            unixname="",
            queue="default",
            priority_weight=1,
            custom_operator_name="",
            executor_config={},
            dag_version_id=version.id,
            span_status="not_started",
            context_carrier={},
            state=TaskInstanceState.SUCCESS if ended else TaskInstanceState.RUNNING,
            start_date=began,
            end_date=ended,
        )
    )
    session.commit()


def clear(session: Session) -> None:
    """Take away what tests have put there; ``default_pool`` is Airflow's own."""
    session.rollback()
    for table in _TABLES:
        session.execute(sa.delete(table))
    session.execute(sa.delete(Pool).where(Pool.pool != Pool.DEFAULT_POOL_NAME))
    session.commit()
