"""The same rows by COPY: as fast as PostgreSQL takes them, with all indexes and references."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

from psycopg import sql

from benchmarks.results import MB
from notify.storage.engine import engine_for

#: What a merge adds, in the order of the references: the table, and which of its rows.
_ADDED = {
    "contents": "id > {newest}",
    "messages": "true",
    "recipients": "true",
}

Files = dict[str, IO[bytes]]

_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Copied:
    """What was written.

    :param seconds: of writing, in one transaction with its commit
    :param mb: as COPY has it
    """

    seconds: float
    mb: float


def copy(source: str, target: str, newest: int) -> Copied:
    """Copy what a merge has added to one database into another that is empty.

    :param newest: the number of the newest content before the merge
    """
    with ExitStack() as stack:
        files: Files = {table: stack.enter_context(TemporaryFile()) for table in _ADDED}
        _read(source, files, newest)
        size = sum(file.tell() for file in files.values())
        return Copied(round(_write(target, files), 3), round(size / MB, 1))


def _read(url: str, files: Files, newest: int) -> None:
    with engine_for(url).begin() as connection, _cursor(connection) as cursor:
        for table, file in files.items():
            rows = sql.SQL("select * from {} where {}").format(_name(table), _condition(table, newest))
            with cursor.copy(sql.SQL("copy ({}) to stdout (format binary)").format(rows)) as answer:
                for block in answer:
                    file.write(block)


def _write(url: str, files: Files) -> float:
    for file in files.values():
        file.seek(0)
    began = time.perf_counter()
    with engine_for(url).begin() as connection, _cursor(connection) as cursor:
        for table, file in files.items():
            with cursor.copy(sql.SQL("copy {} from stdin (format binary)").format(_name(table))) as answer:
                while block := file.read(_BLOCK):
                    answer.write(block)
    return time.perf_counter() - began


def _cursor(connection: Any) -> Any:
    """The driver's own cursor: SQLAlchemy has no COPY."""
    return connection.connection.driver_connection.cursor()


def _name(table: str) -> sql.Identifier:
    return sql.Identifier("notify", table)


def _condition(table: str, newest: int) -> sql.Composed:
    return sql.SQL(_ADDED[table]).format(newest=sql.Literal(newest))
