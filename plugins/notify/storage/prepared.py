"""A statement that is asked again and again, straight from libpq.

SQLAlchemy looks at each column of a result anew, and psycopg's own waiting hands the interpreter's lock over several
times for one statement; between the sessions of a run each of those costs as much as a message. Here it is handed over
once, while the database works. (SQLAlchemy 2.0.58, psycopg 3.3.9, 2026-11.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import LiteralString

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow
from sqlalchemy.engine import Connection

_PLACE = re.compile(r"%\((\w+)\)s")


class Prepared:
    """A statement that is parsed once for each connection.

    :param name: of the statement
    :param text: with places for values, written as ``%(place)s``
    :param types: of the places, as PostgreSQL calls them
    """

    def __init__(self, name: str, text: LiteralString, types: Mapping[str, str]) -> None:
        self._name = name
        self._places = tuple(types)
        numbered = {place: f"${number}::{kind}" for number, (place, kind) in enumerate(types.items(), 1)}
        self.text = _PLACE.sub(lambda found: numbered[found[1]], text)

    def ask(self, connection: Connection, values: Mapping[str, str]) -> list[TupleRow]:
        """Run it.

        :param values: for each place, as PostgreSQL writes them
        :returns: the rows
        :raises psycopg.Error: the database refused it, or is gone
        """
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, psycopg.Connection)
        server = driver.pgconn
        if not driver.autocommit and server.transaction_status == TransactionStatus.IDLE:
            driver.execute("select")  # psycopg begins a transaction with its first statement, and this one is not its
        name = self._name.encode()
        if self._name not in connection.info:
            _require_success(driver, server.prepare(name, self.text.encode()))
            connection.info[self._name] = True
        result = server.exec_prepared(name, [values[place].encode() for place in self._places], None, Format.BINARY)
        _require_success(driver, result)
        rows = Transformer(driver)
        rows.set_pgresult(result)
        return rows.load_rows(0, result.ntuples, tuple)


def _require_success(driver: psycopg.Connection, result: PGresult) -> None:
    if result.status in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        return
    error = error_from_result(result, driver.info.encoding)
    if driver.closed and not isinstance(error, psycopg.OperationalError):  # as psycopg has it where nobody answers
        error = psycopg.OperationalError(str(error))
    raise error
