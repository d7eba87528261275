"""A run of MassMailing at once, when somebody wants messages made or moved; else the schedule brings it."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import sqlalchemy as sa
from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.sdk.exceptions import AirflowException
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy.orm import Session

from notify.web.airflow import MASS_MAILING, AirflowUnreachable, dag_states, metadata

log = logging.getLogger(__name__)

#: What Airflow's own route writes into the audit log.
_EVENT = "trigger_dag_run"


def trigger_mass_mailing(user: BaseUser) -> bool:
    """Have MassMailing run at once; call it when what it is to find is committed.

    Whoever may not trigger that DAG in Airflow triggers none here. No failure is told to the caller as an error: the
    next run by the schedule does the same.

    :param user: in whose name
    :returns: whether a run begins now: one was triggered, or waits already
    """
    if not _may(user):
        return False
    try:
        with metadata() as session:
            return _triggered(session, user)
    except (AirflowUnreachable, AirflowException, ValueError) as error:  # a schedule is there for these
        log.warning("No run of %s could be triggered: %s", MASS_MAILING, error)
        return False


def _may(user: BaseUser) -> bool:
    details, run = DagDetails(id=MASS_MAILING), DagAccessEntity.RUN
    return get_auth_manager().is_authorized_dag(method="POST", access_entity=run, details=details, user=user)


def _triggered(session: Session, user: BaseUser) -> bool:
    [state] = dag_states(session, [MASS_MAILING])
    if not state.runs:
        return False  # of a paused DAG it would wait, and its like would pile up
    if _waits(session):
        return True
    run = trigger_dag(
        MASS_MAILING,
        triggered_by=DagRunTriggeredByType.REST_API,
        triggering_user_name=user.get_name(),
        session=session,
    )
    if run is not None:
        _record(session, user, run.run_id)
    return run is not None


def _waits(session: Session) -> bool:
    """Whether a run has not begun yet: it will find what is there now."""
    mine = DagRun.dag_id == MASS_MAILING, DagRun.state == DagRunState.QUEUED
    due = sa.exists().where(*mine, DagRun.run_after <= datetime.now(UTC))
    return bool(session.scalar(sa.select(due)))


def _record(session: Session, user: BaseUser, run_id: str) -> None:
    """A line in Airflow's audit log, as its own button leaves one."""
    name = user.get_name()
    told = json.dumps({"dag_id": MASS_MAILING, "dag_run_id": run_id})
    line = Log(_EVENT, owner=name, owner_display_name=name, extra=told, dag_id=MASS_MAILING, run_id=run_id)
    session.add(line)
