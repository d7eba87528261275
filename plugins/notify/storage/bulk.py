"""Many rows at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import Connection

#: From so many rows on COPY is faster than INSERT.
COPY_FROM = 20


def insert(connection: Connection, table: sa.Table, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Store rows, in the connection's transaction.

    :param columns: the names, in the order of each row's values
    :raises sqlalchemy.exc.DBAPIError: the database refuses one of them; its text does not hold the row
    """
    driver = connection.connection.dbapi_connection
    if len(rows) >= COPY_FROM and isinstance(driver, psycopg.Connection):  # a caller's connection may have another one
        _copy(driver, table, columns, rows)
    elif rows:
        connection.execute(sa.insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


def _copy(
    driver: psycopg.Connection[object], table: sa.Table, columns: Iterable[str], rows: Iterable[Sequence[object]]
) -> None:
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(table.schema or "public", table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        # What PostgreSQL says of a COPY that fails holds the row: an address has no business in a log.
        told = type(error)(error.diag.message_primary or "COPY failed")
        raise sa.exc.DBAPIError.instance(None, None, told, psycopg.Error, hide_parameters=True) from None
