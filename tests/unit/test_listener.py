"""The listener that carries the pools' slots, on a real metadata database of Airflow's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy.orm import Session

from notify.listeners.hourly_limits import on_dag_run_running

MakeRun = Callable[..., DagRun]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """A metadata database on SQLite, migrated by Airflow's own command in a process of its own."""
    home = tmp_path_factory.mktemp("airflow")
    url = f"sqlite:///{home / 'airflow.db'}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(metadata: sa.Engine) -> Iterator[Session]:
    """A session as the scheduler has one; what a test does in it is undone, and a commit is an error."""
    with Session(metadata) as session, prohibit_commit(session):
        yield session
        session.rollback()


@pytest.fixture
def make_run(session: Session) -> MakeRun:
    """A factory of runs with their tasks, as the scheduler makes them: tasks first, then the run is set running."""
    session.add(DagBundleModel(name="dags"))

    def make(
        *senders: str,
        dag_id: str = "Notifications",
        conf: Any = None,
        operator: str = "NotificationsOperator",
        run_id: str = "scheduled__1",
    ) -> DagRun:
        if session.get(DagModel, dag_id) is None:
            session.add(DagModel(dag_id=dag_id, bundle_name="dags"))
            session.flush()
            session.add(DagVersion(dag_id=dag_id, version_number=1, bundle_name="dags"))
            session.flush()
        version = session.scalars(sa.select(DagVersion).where(DagVersion.dag_id == dag_id)).one()
        run = DagRun(
            dag_id=dag_id,
            run_id=run_id,
            conf=conf,
            run_type=DagRunType.SCHEDULED,
            run_after=datetime(2026, 7, 1, tzinfo=UTC),
            logical_date=datetime(2026, 7, 1, 0, len(run_id), tzinfo=UTC),
            state=DagRunState.RUNNING,
            triggered_by=DagRunTriggeredByType.TIMETABLE,
        )
        session.add(run)
        session.flush()
        for sender in senders:
            session.execute(
                sa.insert(TaskInstance.__table__).values(
                    id=uuid4(),
                    dag_id=dag_id,
                    run_id=run_id,
                    task_id=sender,
                    map_index=-1,
                    operator=operator,
                    pool=sender,
                    pool_slots=1,
                    try_number=0,
                    max_tries=0,
                    hostname="",
                    unixname="",
                    queue="default",
                    priority_weight=1,
                    custom_operator_name="",
                    executor_config={},
                    dag_version_id=version.id,
                    span_status="not_started",
                    context_carrier={},
                )
            )
        return run

    return make


def add_pool(session: Session, name: str, slots: int) -> None:
    """A pool as an admin makes it."""
    session.add(Pool(pool=name, slots=slots, description="", include_deferred=False))
    session.flush()


def pools(session: Session) -> dict[str, int]:
    """Slots by pool, without Airflow's own."""
    found = session.execute(sa.select(Pool.pool, Pool.slots).where(Pool.pool != "default_pool"))
    return {row.pool: row.slots for row in found}


def task_pools(session: Session, run: DagRun) -> dict[str, str]:
    """The pool that each task of a run will ask for a slot, as the scheduler will read it."""
    session.flush()
    session.expire_all()
    query = sa.select(TaskInstance.task_id, TaskInstance.pool).where(TaskInstance.run_id == run.run_id)
    return {row.task_id: row.pool for row in session.execute(query)}


def stored_conf(session: Session, run: DagRun) -> Any:
    """The conf as a task will get it."""
    session.flush()
    session.expire_all()
    return run.conf


@pytest.mark.parametrize("slots", [-1, 1, 100, 3000])
def test_slots_travel_in_conf(session: Session, make_run: MakeRun, slots: int) -> None:
    """A run of Notifications carries the slots of its senders' pools, without limit as well, and no other pool's."""
    add_pool(session, "smtp_default", slots)
    add_pool(session, "somebody_else", 7)
    run = make_run("smtp_default")
    on_dag_run_running(run, "")
    assert stored_conf(session, run) == {"hourly_limits": {"smtp_default": slots}}
    assert task_pools(session, run) == {"smtp_default": "smtp_default"}


def test_each_sender_has_its_own(session: Session, make_run: MakeRun) -> None:
    """Every sender's limit is its own pool's."""
    add_pool(session, "a", 5)
    add_pool(session, "b", 6)
    run = make_run("a", "b")
    on_dag_run_running(run, "")
    assert stored_conf(session, run) == {"hourly_limits": {"a": 5, "b": 6}}


def test_missing_pool_is_made_once(session: Session, make_run: MakeRun, caplog: pytest.LogCaptureFixture) -> None:
    """A pool that is missing, whose task would never run, is made with 100 slots; the next run finds it there."""
    for number in (1, 2):
        run = make_run("smtp_new", run_id=f"run{'_' * number}")
        on_dag_run_running(run, "")
        assert stored_conf(session, run) == {"hourly_limits": {"smtp_new": 100}}
        assert pools(session) == {"smtp_new": 100}
    assert caplog.text.count("The pool smtp_new was missing and has been made with 100 slots") == 1
    made = session.scalars(sa.select(Pool).where(Pool.pool == "smtp_new")).one()
    assert "Messages per rolling hour" in (made.description or "")


def test_pool_made_by_another_scheduler(session: Session, make_run: MakeRun) -> None:
    """A pool that another scheduler makes in between is no error and keeps its slots."""
    from notify.listeners import hourly_limits

    add_pool(session, "smtp_default", 42)
    hourly_limits._create_pool(session, "smtp_default")
    assert pools(session) == {"smtp_default": 42}


def test_two_schedulers_at_once(empty_database: sa.URL) -> None:
    """Where two schedulers make the same pool at the same moment, neither loses its transaction by it."""
    from airflow.models.team import Team

    from notify.listeners import hourly_limits

    engine = sa.create_engine(empty_database)
    for model in (Team, Pool):
        model.__table__.create(engine)
    with Session(engine) as first, Session(engine) as second, ThreadPoolExecutor(1) as pool:
        assert hourly_limits._slots(first, {"smtp_new"}) == {"smtp_new": 100}
        first.execute(sa.update(Pool).values(slots=42))
        waiting = pool.submit(hourly_limits._slots, second, {"smtp_new"})
        with pytest.raises(TimeoutError):
            waiting.result(0.5)
        first.commit()
        assert waiting.result(10) == {"smtp_new": 42}
        assert pools(second) == {"smtp_new": 42}
    engine.dispose()


def test_mysql_is_asked_in_its_own_words() -> None:
    """On MySQL the insert ignores a row that is there."""
    from sqlalchemy.dialects import mysql

    from notify.listeners import hourly_limits

    insert = hourly_limits._insert_or_ignore(Pool.__table__, "mysql").values(pool="p")
    assert str(insert.compile(dialect=mysql.dialect())).startswith("INSERT IGNORE INTO slot_pool")


def test_pool_without_slots(session: Session, make_run: MakeRun) -> None:
    """A pool of no slots would hold the task itself: it runs in the default pool, to say that its messages are held."""
    add_pool(session, "held", 0)
    add_pool(session, "open", 5)
    run = make_run("held", "open")
    on_dag_run_running(run, "")
    assert stored_conf(session, run) == {"hourly_limits": {"held": 0, "open": 5}}
    assert task_pools(session, run) == {"held": "default_pool", "open": "open"}


def test_changed_slots_reach_the_next_run(session: Session, make_run: MakeRun) -> None:
    """A limit that an admin changes takes effect with the next run and leaves earlier runs' records alone."""
    add_pool(session, "smtp_default", 5)
    first = make_run("smtp_default", run_id="a")
    on_dag_run_running(first, "")
    session.execute(sa.update(Pool).where(Pool.pool == "smtp_default").values(slots=9))
    second = make_run("smtp_default", run_id="bb")
    on_dag_run_running(second, "")
    assert stored_conf(session, first) == {"hourly_limits": {"smtp_default": 5}}
    assert stored_conf(session, second) == {"hourly_limits": {"smtp_default": 9}}


def test_conf_of_a_person_is_kept(session: Session, make_run: MakeRun) -> None:
    """What a person gave a manual run is kept, but nobody grants themselves another limit by it."""
    add_pool(session, "smtp_default", 5)
    conf = {"why": "by hand", "hourly_limits": {"smtp_default": 1_000_000, "other": -1}}
    run = make_run("smtp_default", conf=conf)
    on_dag_run_running(run, "")
    assert stored_conf(session, run) == {"why": "by hand", "hourly_limits": {"smtp_default": 5}}


def test_other_dags_are_left_alone(session: Session, make_run: MakeRun) -> None:
    """A run of another DAG keeps its conf and its pools, and no pool is made for it."""
    run = make_run("smtp_default", dag_id="invoices", conf={"a": 1})
    on_dag_run_running(run, "")
    assert stored_conf(session, run) == {"a": 1}
    assert task_pools(session, run) == {"smtp_default": "smtp_default"}
    assert pools(session) == {}


def test_other_tasks_are_left_alone(session: Session, make_run: MakeRun) -> None:
    """A task of Notifications that drains nothing is no sender: no pool is made for it."""
    run = make_run("report", operator="PythonOperator")
    on_dag_run_running(run, "")
    assert stored_conf(session, run) == {"hourly_limits": {}}
    assert pools(session) == {}


def test_nothing_is_committed(metadata: sa.Engine, session: Session, make_run: MakeRun) -> None:
    """Nothing is committed by the listener: if the scheduler rolls back, no pool and no conf remain."""
    run = make_run("smtp_rolled_back")
    on_dag_run_running(run, "")
    session.rollback()
    with Session(metadata) as another:
        assert pools(another) == {}
        assert another.scalars(sa.select(DagRun)).all() == []


def test_the_guard_would_tell(session: Session) -> None:
    """The guard that these tests run under is the scheduler's own, and a commit under it is an error."""
    session.add(DagBundleModel(name="x"))
    with pytest.raises(RuntimeError, match="UNEXPECTED COMMIT"):
        session.commit()


def test_run_without_a_session(caplog: pytest.LogCaptureFixture) -> None:
    """A run that hangs on no session (``airflow dags test``) is no error: it carries no limits, and the log says so."""
    run = DagRun(dag_id="Notifications", run_id="r", conf={"a": 1}, run_type=DagRunType.MANUAL)
    on_dag_run_running(run, "")
    assert run.conf == {"a": 1}
    assert "is not attached to a session" in caplog.text
