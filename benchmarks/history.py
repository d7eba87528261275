"""A register with millions of messages that were sent: copies of some that really were.

Each copy has what a sent message leaves: its row, its recipient, its attempt and two changes of state. Copies belong to
drains of their own and lie in the past, the oldest first; their bodies are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from psycopg import sql

from benchmarks.processes import run
from benchmarks.queueing import fill
from benchmarks.receiver import receiver
from benchmarks.server import vacuum
from notify.storage.engine import engine_for

#: Messages that are really sent, and copied.
SAMPLES = 1_000

#: Rows that a message leaves when it has been sent.
ROWS_OF_A_MESSAGE = 5

#: Where the numbers of copies begin.
FIRST = 10_000_000

TABLES = ("messages", "recipients", "attempts", "message_events")

#: The place of a copy among all of them, in SQL.
PLACE = "(c.n * {samples} + s.place)"

# One drain for each time that all samples are copied, two hours apart, the last of them a day ago.
_DRAINS = """
    create temporary table sampled as
    select id, row_number() over (order by id) - 1 as place from notify.messages where status = 'sent' and id < {first};
    create temporary table copies as
    select n, md5('copy ' || n)::uuid as drain_id, make_interval(hours => 22 + 2 * ({copies} - n)) as ago
    from generate_series({begin}, {end} - 1) n;
    insert into notify.drains (id, sender, worker, hourly_limit, started_at, lease_until, ended_at, end_reason)
    select c.drain_id, d.sender, d.worker, d.hourly_limit, d.started_at - c.ago, d.lease_until - c.ago,
           d.ended_at - c.ago, d.end_reason
    from copies c join notify.drains d on d.id = (
        select a.drain_id from notify.attempts a join sampled s on s.id = a.message_id limit 1
    )
"""

# What is no copy of the sample's column, by the column's name; by its type, a moment.
_MOVED = "t.{column} - c.ago"
_NEW = {
    "messages": {
        "id": "{first} + c.n * {samples} + s.place",
        "message_id": "'<' || c.n || '.' || s.place || '@history.example.com>'",
    },
    "recipients": {"message_id": "{first} + c.n * {samples} + s.place"},
    "attempts": {"message_id": "{first} + c.n * {samples} + s.place", "drain_id": "c.drain_id"},
    "message_events": {"message_id": "{first} + c.n * {samples} + s.place"},
}
_COPY = """
    insert into {table} ({columns})
    select {values} from copies c cross join sampled s join {table} t on t.{key} = s.id order by c.n, s.place
"""

# To build an index at the end takes far less time than to add to it row by row.
_FORGET_INDEXES = """
    update pg_index set indisready = false where indrelid = {table}::regclass
"""


def prepare(url: str, queued: int) -> None:
    """Really send some messages, and queue so many others, in a database that has none."""
    fill(url, SAMPLES)
    engine_for(url).dispose()
    with receiver() as server:
        run("benchmarks.drain:draining", url=url, port=server.port, sessions=4)
    fill(url, queued)


def add(
    url: str,
    begin: int,
    end: int,
    all_of_them: int,
    *,
    tables: Sequence[str] = TABLES,
    unlike: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Add copies.

    :param begin: so many messages are copied already
    :param end: so many shall be
    :param all_of_them: so many will be in the end; it decides how old they are
    :param tables: whose rows are copied
    :param unlike: columns of messages that are no copies, in SQL, see :data:`PLACE`
    """
    numbers = {"first": FIRST, "begin": begin // SAMPLES, "end": end // SAMPLES, "copies": all_of_them // SAMPLES}
    with engine_for(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]  # it is psycopg's
        cursor.execute("set maintenance_work_mem = '512MB'")
        cursor.execute("set session_replication_role = replica")  # neither references nor triggers are looked at
        cursor.execute(_with(_DRAINS, numbers))
        for table in tables:
            cursor.execute(_with(_FORGET_INDEXES, {"table": f"notify.{table}"}))
            cursor.execute(_copy(cursor, table, unlike if table == "messages" else {}))
            cursor.execute(sql.SQL("reindex table {}").format(_name(table)))
        cursor.execute("drop table copies, sampled; reset all")
    vacuum(url)


def _copy(cursor: Any, table: str, unlike: Mapping[str, str]) -> sql.Composed:
    """The statement that copies a table's rows, with all columns that it has."""
    values: dict[str, sql.Composable] = {}
    for column, kind, identity in _columns(cursor, table):
        if new := unlike.get(column) or _NEW[table].get(column):
            values[column] = _with(new, {"first": FIRST, "samples": SAMPLES})
        elif kind == "timestamp with time zone":
            values[column] = sql.SQL(_MOVED).format(column=sql.Identifier(column))
        elif not identity:
            values[column] = sql.Identifier("t", column)
    return sql.SQL(_COPY).format(
        table=_name(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, values)),
        values=sql.SQL(", ").join(values.values()),
        key=sql.Identifier("id" if table == "messages" else "message_id"),
    )


def _columns(cursor: Any, table: str) -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = cursor.execute(
        "select column_name, data_type, is_identity = 'YES' from information_schema.columns "
        "where table_schema = 'notify' and table_name = %s and is_generated = 'NEVER' order by ordinal_position",
        [table],
    ).fetchall()
    return found


def _with(statement: str, values: Mapping[str, object]) -> sql.Composed:
    return sql.SQL(statement).format(**{name: sql.Literal(value) for name, value in values.items()})


def _name(table: str) -> sql.Identifier:
    return sql.Identifier("notify", table)
