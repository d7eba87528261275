"""What all tests share: an Airflow home of their own, and a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests import tmpfs

# Before anything asks for a temporary folder: each test makes a database of its own, and waits for the disk otherwise.
tmpfs.use()

# Before anything imports Airflow: it reads these once, and its own home is none of our business.
_home = tempfile.TemporaryDirectory(prefix="notify-tests-")
for _name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = _home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__API_AUTH__JWT_SECRET"] = secrets.token_urlsafe(64)  # Airflow's own is shorter than HS512 wants

import pytest  # noqa: E402 - after the environment is set
import sqlalchemy as sa  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from sqlalchemy.engine import URL, Connection, Engine  # noqa: E402

from dev.postgres import Postgres  # noqa: E402
from notify.cli import main  # noqa: E402
from notify.settings import HandOverSettings, SenderIdentity, database_url  # noqa: E402
from notify.storage import schema  # noqa: E402
from notify.storage.engine import engine_for, normal_url  # noqa: E402
from tests import workers  # noqa: E402
from tests.connections import postgres_connection  # noqa: E402

# How long an example takes is the machine's business, and that of the workers beside.
settings.register_profile("notify", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("notify")

CHECKOUT = Path(__file__).resolve().parents[1]

#: A command's arguments in; exit status, output and errors out.
Command = Callable[..., tuple[int, str, str]]

#: How deep Python goes.
RECURSION = sys.getrecursionlimit()

#: A database with our schema, copied for each test.
TEMPLATE = "notify_template"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> workers.Scheduling:
    """Say how tests are given to workers."""
    config.option.loadscopereorder = False  # the order is ours
    return workers.Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker, put the tests into the order in which they are given."""
    if hasattr(config, "workerinput"):
        workers.begin_with_the_longest(items)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for this session of tests; each worker has one of its own."""
    # Not in pytest's own temporary folder: where root runs the tests, the server is another user, and the next
    # session of pytest closes that folder to others.
    with tempfile.TemporaryDirectory(prefix="notify-postgres-") as folder:
        # Processes are killed here, machines are not: what the system has is safe. Most of the time of a session would
        # go into waiting for the disk, at each test's database.
        server = Postgres(Path(folder) / "data", settings="fsync = off\nmax_wal_size = 256MB")
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def admin(postgres: Postgres) -> Iterator[Connection]:
    """A connection that may create and drop databases."""
    engine = sa.create_engine(normal_url(postgres.uri("postgres")), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(scope="session")
def template(postgres: Postgres, admin: Connection) -> str:
    """The name of a database that has our schema and nothing else."""
    admin.execute(sa.text(f"create database {TEMPLATE}"))
    engine = sa.create_engine(normal_url(postgres.uri(TEMPLATE)))
    schema.upgrade(engine)
    with engine.begin() as connection:  # or each copy of it would know that it is one
        connection.execute(sa.text("update notify.identity set system_identifier = null, database_oid = null"))
    engine.dispose()
    return TEMPLATE


@pytest.fixture
def empty_database(postgres: Postgres, admin: Connection) -> Iterator[URL]:
    """The address of a database without any tables."""
    yield from _database(postgres, admin, "template1")


@pytest.fixture
def database(postgres: Postgres, admin: Connection, template: str) -> Iterator[URL]:
    """The address of an outbox database of the test's own."""
    yield from _database(postgres, admin, template)


def _database(postgres: Postgres, admin: Connection, source: str) -> Iterator[URL]:
    name = f"test_{uuid4().hex}"
    admin.execute(sa.text(f"create database {name} template {source} strategy file_copy"))
    yield normal_url(postgres.uri(name))
    admin.execute(sa.text(f"drop database {name} with (force)"))


@pytest.fixture
def engine(database: URL) -> Iterator[Engine]:
    """An engine on the test's own outbox database."""
    engine = sa.create_engine(database, pool_size=10, connect_args={"options": "-c timezone=UTC"})
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection to the test's own outbox database, in a transaction that the test may commit."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def notify_db(database: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[URL]:
    """The test's own outbox database, as the connection ``notify_db`` tells it to tasks, pages and commands."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", postgres_connection(database))
    found = database_url()
    yield database
    engine_for(found).dispose()  # one engine a process, which outlives the database


@pytest.fixture
def notify(notify_db: URL, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``python -m notify``, in this process."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def hand_over_settings() -> HandOverSettings:
    """Settings of hand-over with the shipped templates and two senders."""
    return HandOverSettings(
        senders=("smtp_default", "smtp_second"),
        templates=CHECKOUT / "include" / "templates",
        identity=lambda _sender: SenderIdentity("example.com"),
    )


@pytest.fixture(autouse=True)
def recursion_limit() -> None:
    """Put the limit of recursion back: an operator of Airflow's raises it when it is copied, by whatever test."""
    sys.setrecursionlimit(RECURSION)
