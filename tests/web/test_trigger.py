"""A run of MassMailing at once, triggered from the API server in the name of whoever pressed a button."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.models.dag import DagModel
from airflow.models.dagcode import DagCode
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import DAG, Param
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType
from fastapi import FastAPI
from sqlalchemy.orm import Session

from notify.web.airflow import MASS_MAILING
from notify.web.trigger import trigger_mass_mailing
from tests.metadata import BUNDLE, add_dag, add_run

USER = SimpleAuthManagerUser(username="the_user", role="user")
VIEWER = SimpleAuthManagerUser(username="the_viewer", role="viewer")


@pytest.fixture
def known(metadata: Session, airflow: FastAPI) -> Iterator[Session]:
    """Airflow's database in which the DAG is known, as the DAG processor makes it."""
    add_dag(metadata, MASS_MAILING)
    dag = DAG(MASS_MAILING, schedule=None, params={"description": Param(None, type=["null", "string"])})
    dag.fileloc = __file__
    metadata.execute(sa.text("delete from dag_version"))
    SerializedDagModel.write_dag(LazyDeserializedDAG.from_dag(dag), BUNDLE, session=metadata)
    metadata.commit()
    yield metadata
    metadata.rollback()
    for table in (DagRun, SerializedDagModel, DagCode):
        metadata.execute(sa.delete(table))
    metadata.commit()


def runs(session: Session) -> list[DagRun]:
    """The runs of the DAG that there are now."""
    session.rollback()
    return list(session.scalars(sa.select(DagRun).where(DagRun.dag_id == MASS_MAILING)))


def test_a_run_begins(known: Session) -> None:
    """Who may trigger the DAG gets a manual run in their name, and Airflow's audit log says so."""
    assert trigger_mass_mailing(USER)
    [run] = runs(known)
    assert (run.state, run.run_type, run.triggering_user_name) == (DagRunState.QUEUED, DagRunType.MANUAL, "the_user")
    line = known.scalars(sa.select(Log).where(Log.event == "trigger_dag_run")).one()
    assert (line.owner, line.dag_id, line.run_id) == ("the_user", MASS_MAILING, run.run_id)


def test_one_that_waits_will_do(known: Session) -> None:
    """While a run has not begun, no other is triggered; once it has, one is: it may have looked already."""
    assert trigger_mass_mailing(USER)
    assert trigger_mass_mailing(USER)
    [run] = runs(known)
    known.execute(sa.update(DagRun).where(DagRun.id == run.id).values(state=DagRunState.RUNNING))
    known.commit()
    assert trigger_mass_mailing(USER)
    assert len(runs(known)) == 2


def test_one_for_tomorrow_will_not_do(known: Session) -> None:
    """A run that somebody has put off does not stand for one that is wanted now."""
    later = datetime.now(UTC) + timedelta(days=1)
    add_run(known, MASS_MAILING, at=later, state=DagRunState.QUEUED, start_date=None)
    assert trigger_mass_mailing(USER)
    assert len(runs(known)) == 2


def test_who_may_not(known: Session) -> None:
    """Who may not trigger DAGs in Airflow triggers none from here."""
    assert not trigger_mass_mailing(VIEWER)
    assert runs(known) == []


@pytest.mark.parametrize("state", ["is_paused", "is_stale", "has_import_errors"])
def test_a_dag_that_does_not_run(known: Session, state: str) -> None:
    """Of a DAG that is paused, lost or broken no run is left waiting for the day when it is not."""
    known.execute(sa.update(DagModel).values({state: True}))
    known.commit()
    assert not trigger_mass_mailing(USER)
    assert runs(known) == []


def test_it_fails_softly(known: Session, caplog: pytest.LogCaptureFixture) -> None:
    """A DAG that Airflow has only half stored is no error of whoever pressed a button; the log tells."""
    known.execute(sa.delete(SerializedDagModel))
    known.commit()
    with caplog.at_level(logging.WARNING):
        assert not trigger_mass_mailing(USER)
    assert "No run of MassMailing could be triggered" in caplog.text
