"""Other SQL databases that Airflow has connections to: read row by row, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage.engine import engine_for

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: Rows that are fetched together.
STRETCH = 1_000


@contextmanager
def rows(conn_id: str, sql: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Ask a question; while it is open, the answer is read as it comes.

    :returns: the columns, in lower case, and the rows
    :raises ConfigurationError: there is no such connection, none to an SQL database, or the question has no answer
    """
    with closing(connect(conn_id)) as connection, _cursor(connection) as cursor:
        _ask(cursor, sql)
        yield [column[0].lower() for column in cursor.description], _fetched(cursor)


def _ask(cursor: Any, sql: str) -> None:
    try:
        cursor.execute(sql)
    except Exception as error:  # each driver has errors of its own
        told = str(error).partition("\n")[0]  # further lines quote the query, or what it read
        raise ConfigurationError(f"The query cannot be run: {told}. Write a SELECT that the database takes.") from error
    if cursor.description is None:
        raise ConfigurationError("The query returns no rows. Write a SELECT.")


def _fetched(cursor: Any) -> Iterator[Sequence[Any]]:
    while some := _some(cursor):
        yield from some


def _some(cursor: Any) -> Sequence[Sequence[Any]]:
    try:
        found: Sequence[Sequence[Any]] = cursor.fetchmany(STRETCH)
    except Exception as error:  # as above
        told = str(error).partition("\n")[0]
        raise ConfigurationError(f"The answer to the query broke off: {told}. Run it once more.") from error
    return found


@contextmanager
def _cursor(connection: Any) -> Iterator[Any]:
    """A cursor that does not fetch the whole answer first, as PostgreSQL's drivers do unless it has a name."""
    driver = getattr(connection, "driver_connection", connection)
    if isinstance(driver, psycopg.Connection):
        with _reading(driver), closing(driver.cursor(name="notify")) as cursor:
            yield cursor
    elif type(driver).__module__.startswith("psycopg2"):
        with closing(driver.cursor("notify")) as cursor:
            yield cursor
    else:
        with closing(connection.cursor()) as cursor:
            yield cursor


@contextmanager
def _reading(driver: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction that changes nothing; the connection may be the outbox's own, and goes back to its pool."""
    driver.read_only = True
    try:
        yield
    finally:
        if not driver.closed:  # else what went wrong is told already, and nothing goes back to the pool
            driver.rollback()
            driver.read_only = None


def connect(conn_id: str) -> Any:
    """A connection of the database's own driver (PEP 249): through Airflow's hook, or ours where PostgreSQL has none.

    :raises ConfigurationError: there is no such connection, none to an SQL database, or the database cannot be reached
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    found = settings.connection(conn_id)
    if found is None:
        raise ConfigurationError(f"There is no connection {conn_id}. Add it in Airflow's UI (Admin → Connections).")
    hook = _hook(found)
    if isinstance(hook, DbApiHook):
        return _opened(conn_id, hook.get_conn)
    if not settings.is_postgres(found):
        raise ConfigurationError(
            f"The connection {conn_id} has the type {found.conn_type!r}, for which no SQL hook is installed. Install "
            "the provider of that database, or name another connection."
        )
    return _opened(conn_id, engine_for(settings.postgres_url(found)).raw_connection)


def _opened(conn_id: str, open_one: Callable[[], Any]) -> Any:
    try:
        return open_one()
    except Exception as error:  # each driver has errors of its own
        told = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"The database of the connection {conn_id} cannot be reached: {told}. Check it in Airflow's UI (Admin → "
            "Connections), and whether the workers reach it; then try again."
        ) from error


def _hook(found: Connection) -> object:
    from airflow.sdk.exceptions import AirflowException

    with suppress(AirflowException, ImportError, AttributeError):  # that of generic is known, but has no class
        return found.get_hook()  # type: ignore[no-untyped-call]  # Airflow's
    return None
