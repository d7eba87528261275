"""Statements that go straight to libpq fail as all others do."""

from __future__ import annotations

import os
import socket

import psycopg
import pytest
from sqlalchemy.engine import Engine

from notify.storage.prepared import Prepared

STATEMENT = Prepared("answer", "select %(number)s", {"number": "integer"})


def test_an_answer(engine: Engine) -> None:
    """Values go in as text, rows come out in Python's types, again and again on one connection."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert [STATEMENT.ask(connection, {"number": str(number)}) for number in (1, 2)] == [[(1,)], [(2,)]]


def test_a_refusal_tells_why(engine: Engine) -> None:
    """What the database refuses has the class and the code that psycopg gives it."""
    connected = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connected as connection, pytest.raises(psycopg.errors.InvalidTextRepresentation):
        STATEMENT.ask(connection, {"number": "one"})


def test_a_lost_connection(engine: Engine) -> None:
    """A connection that breaks off without a word is an operational error, as with any other statement."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        STATEMENT.ask(connection, {"number": "1"})
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, psycopg.Connection)
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)
        with pytest.raises(psycopg.OperationalError):
            STATEMENT.ask(connection, {"number": "1"})
        connection.invalidate()
