"""The outbox database, for a request."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from sqlalchemy.engine import Connection

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage import schema
from notify.storage.engine import engine_for, transaction

log = logging.getLogger(__name__)

#: Nobody waits longer for a page; what takes longer is a fault of ours, and must not pile up.
_PATIENCE = "set local statement_timeout = '15s'"


class Unreachable(ConfigurationError):
    """The outbox database did not answer, or refused. The API server's log has the cause; see also notify_db."""


@contextmanager
def _told() -> Iterator[None]:
    """Tell people that the database is away, or asked by too many at once; and the log why."""
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError):
        log.exception("The page could not use the outbox database")
        raise Unreachable from None


@contextmanager
def reading() -> Iterator[Connection]:
    """One moment of the outbox, to be looked at.

    :raises ConfigurationError: there is none, or its tables are not there
    """
    engine = engine_for(settings.database_url()).execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with _told(), engine.connect() as connection:
        connection.exec_driver_sql(_PATIENCE)
        schema.require(connection)
        yield connection


@contextmanager
def changing(user: BaseUser, by: str) -> Iterator[Connection]:
    """A transaction; the history says who did it.

    :param by: by what door: ``page`` or ``API``
    """
    with changing_as(f"{user.get_name()} ({by})") as connection:
        yield connection


@contextmanager
def changing_as(actor: str) -> Iterator[Connection]:
    """The same for whoever is no user of Airflow."""
    engine = engine_for(settings.database_url())
    with _told(), transaction(engine, actor=actor) as connection:
        connection.exec_driver_sql(_PATIENCE)
        schema.require(connection)
        yield connection
