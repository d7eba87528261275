"""Statements that travel together.

The drain's turn asks the database several things, and waits for all the answers at once: with many sessions at work,
each further wait would cost more than the statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import sqlalchemy as sa
from psycopg.rows import TupleRow
from sqlalchemy.engine import Connection


class Pipeline:
    """A way to ask without waiting; answers are there once the ``with`` of :func:`pipelined` is left.

    :ivar connection: for what is asked afterwards, in the same transaction
    """

    def __init__(self, connection: Connection, driver: psycopg.Connection[TupleRow]) -> None:
        self.connection = connection
        self._driver = driver

    def ask(self, statement: LiteralString, values: Mapping[str, Any]) -> psycopg.Cursor[TupleRow]:
        """Send a statement.

        :param statement: with psycopg's placeholders, ``%(name)s``
        """
        return self._driver.execute(statement, values, prepare=True)


@contextmanager
def pipelined(connection: Connection) -> Iterator[Pipeline]:
    """Statements that are sent together, in the connection's transaction.

    :raises sqlalchemy.exc.DBAPIError: one of them failed, as with any other statement
    """
    driver = connection.connection.dbapi_connection  # a detached one has no driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.pipeline():
            yield Pipeline(connection, driver)
    except psycopg.Error as error:
        if driver.closed:
            connection.invalidate(error)
        # Without the statement and its values: an error's text must not carry addresses and bodies into a log.
        raise sa.exc.DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=connection.invalidated
        ) from error
