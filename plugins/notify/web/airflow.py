"""Airflow's own database, for what a page must know of it: when DAGs run next, how they ran, what pools there are.

A route of a plugin runs in the API server, which may ask that database (a task may not). Everything of ours that does
so stands here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy.orm import Session

from notify.exceptions import ConfigurationError
from notify.schedules import SCHEDULED, in_force

log = logging.getLogger(__name__)

#: The DAG that sends.
NOTIFICATIONS = "Notifications"

#: The DAG that makes the messages of campaigns, and has them follow.
MASS_MAILING = "MassMailing"

#: A scheduler that is at work makes a run within seconds of its time.
_PATIENCE = timedelta(minutes=2)


class AirflowUnreachable(ConfigurationError):
    """Airflow's own database did not answer, or refused. The API server's log has the cause."""


@contextmanager
def metadata() -> Iterator[Session]:
    """A session on Airflow's database, committed at the end.

    :raises AirflowUnreachable: it does not answer
    """
    try:
        with create_session(scoped=False) as session:
            yield session
    except (sa.exc.DBAPIError, sa.exc.TimeoutError):
        log.exception("The page could not use Airflow's database")
        raise AirflowUnreachable from None


@dataclass(frozen=True, slots=True)
class DagState:
    """A DAG of ours, as Airflow has it.

    :param known: Airflow has read its file
    :param paused: it does not come by itself
    :param broken: its file cannot be read any more
    :param schedule: in Airflow's words
    :param next_at: when its next run is made; None where that is not known, or it waits for a run to end
    """

    dag_id: str
    known: bool = False
    paused: bool = False
    broken: bool = False
    schedule: str = ""
    next_at: datetime | None = None

    def overdue(self, now: datetime) -> bool:
        """Whether its run should have begun: then no scheduler is at work, or it cannot follow."""
        return self.runs and self.next_at is not None and now - self.next_at > _PATIENCE

    @property
    def runs(self) -> bool:
        """Whether it comes by itself."""
        return not self.why

    @property
    def why(self) -> str:
        """Why it does not come by itself; empty where it does."""
        if not self.known:
            return f"Airflow does not know the DAG {self.dag_id}"
        if self.broken:
            return f"Airflow cannot read the DAG {self.dag_id}"
        return f"{self.dag_id} is paused" if self.paused else ""


_COLUMNS = (
    DagModel.dag_id,
    DagModel.is_paused,
    DagModel.is_stale,
    DagModel.has_import_errors,
    DagModel.timetable_summary,
    DagModel.timetable_description,
    DagModel.next_dagrun_create_after,
)


def dag_states(session: Session, names: Iterable[str] = tuple(SCHEDULED)) -> list[DagState]:
    """How DAGs stand, in the order of their names here; also of those that Airflow does not know."""
    names = tuple(names)
    query = sa.select(*_COLUMNS).where(DagModel.dag_id.in_(names))
    found = {row.dag_id: _state(row) for row in session.execute(query)}
    return [found.get(name, DagState(name)) for name in names]


def _state(row: sa.Row[Any]) -> DagState:
    return DagState(
        row.dag_id,
        known=not row.is_stale,
        paused=row.is_paused,
        broken=bool(row.has_import_errors),
        schedule=row.timetable_description or row.timetable_summary or "",
        next_at=row.next_dagrun_create_after,
    )


def runs_of(state: DagState, now: datetime) -> Iterable[datetime]:
    """When a DAG runs, from now on: what a forecast goes by.

    :returns: endless; empty where it does not run by itself
    """
    if not state.runs:
        return ()
    return _runs(state, now)


def _runs(state: DagState, now: datetime) -> Iterator[datetime]:
    after = now
    if state.next_at is not None:
        after = max(state.next_at, now)
        yield after
    yield from in_force(*SCHEDULED[state.dag_id]).moments(after)


def state_of(dag_id: str) -> DagState:
    """How one DAG stands; see :func:`dag_states`."""
    with metadata() as session:
        [state] = dag_states(session, [dag_id])
    return state


def runs_of_notifications(now: datetime) -> Iterable[datetime]:
    """When Notifications runs, from now on; see :func:`runs_of`."""
    return runs_of(state_of(NOTIFICATIONS), now)


def import_error(session: Session, dag_id: str) -> str | None:
    """What went wrong when a DAG's file was read last, in its last line; each of our files is named as its DAG."""
    file = f"{dag_id}.py"
    fits = sa.or_(ParseImportError.filename == file, ParseImportError.filename.endswith(f"/{file}", autoescape=True))
    newest = sa.select(ParseImportError.stacktrace).where(fits).order_by(ParseImportError.id.desc()).limit(1)
    row = session.execute(newest).one_or_none()
    return None if row is None else ((row.stacktrace or "").strip().splitlines() or ["no words"])[-1]


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a DAG that has begun."""

    run_id: str
    began_at: datetime
    conf: dict[str, object]


def last_run(session: Session, dag_id: str) -> Run | None:
    """The latest run that the scheduler has begun; ``airflow dags test`` needs none for its runs."""
    query = (
        sa.select(DagRun.run_id, DagRun.start_date, DagRun.conf)
        .where(DagRun.dag_id == dag_id, DagRun.start_date.is_not(None))
        .where(DagRun.triggered_by.is_distinct_from(DagRunTriggeredByType.TEST))
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(1)
    )
    row = session.execute(query).one_or_none()
    return None if row is None else Run(row.run_id, row.start_date, row.conf if isinstance(row.conf, dict) else {})


def last_scheduled(session: Session, names: Iterable[str] = tuple(SCHEDULED)) -> dict[str, datetime]:
    """The moment of each DAG's latest run by the clock, which Airflow counts on from; of those that had one."""
    query = (
        sa.select(DagRun.dag_id, sa.func.max(DagRun.data_interval_end).label("at"))
        .where(DagRun.dag_id.in_(tuple(names)), DagRun.data_interval_end.is_not(None))
        .where(DagRun.run_type.in_((DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB)))
        .group_by(DagRun.dag_id)
    )
    return {row.dag_id: row.at for row in session.execute(query)}


@dataclass(frozen=True, slots=True)
class TaskTime:
    """When a task ran, by the clock of the machine that it ran on.

    :param host: that machine
    """

    host: str
    began_at: datetime
    ended_at: datetime | None


def first_tries(session: Session, dag_id: str, run_ids: Iterable[str]) -> dict[tuple[str, str], TaskTime]:
    """When the tasks of these runs ran, by run and task; of those that were tried once."""
    query = sa.select(
        TaskInstance.run_id, TaskInstance.task_id, TaskInstance.hostname, TaskInstance.start_date, TaskInstance.end_date
    ).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.run_id.in_(tuple(run_ids)),
        TaskInstance.try_number == 1,
        TaskInstance.start_date.is_not(None),
    )
    return {
        (row.run_id, row.task_id): TaskTime(row.hostname or "a worker", row.start_date, row.end_date)
        for row in session.execute(query)
    }


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool.

    :param slots: of a sender's pool, messages per rolling hour; -1 is no limit, 0 holds everything
    """

    name: str
    slots: int
    description: str


def pools(session: Session, names: Iterable[str]) -> dict[str, PoolState]:
    """Those of these pools that there are, by name."""
    query = sa.select(Pool.pool, Pool.slots, Pool.description).where(Pool.pool.in_(tuple(names)))
    return {row.pool: PoolState(row.pool, row.slots, row.description or "") for row in session.execute(query)}
