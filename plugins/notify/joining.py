"""The outbox database for Python callers: their own transaction, or one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage.engine import engine_for, transaction

#: What a caller may hand over to have its own transaction joined; of an engine, one is begun.
Connectable = Connection | Session | Engine


@contextmanager
def joined(connection: Connectable | None) -> Iterator[Connection]:
    """Work inside the caller's open transaction, or in one of our own that is committed at the end.

    :param connection: of the outbox database; None is the Airflow connection ``notify_db``
    :raises ConfigurationError: it is another kind of database
    """
    try:
        if connection is None or isinstance(connection, Engine):
            with transaction(connection or engine_for(settings.database_url())) as own:
                yield own
        else:
            yield _theirs(connection)
    except sa.exc.StatementError as error:
        error.hide_parameters = True  # the caller's engine may show them: texts and addresses, in somebody's log
        raise


def _theirs(connection: Connection | Session) -> Connection:
    open_one = connection.connection() if isinstance(connection, Session) else connection
    if open_one.dialect.name != "postgresql":
        raise ConfigurationError(
            f"The transaction to join is on {open_one.dialect.name}; it must be on the outbox's own PostgreSQL "
            "database. Leave connection out to hand over in a transaction of its own."
        )
    return open_one
