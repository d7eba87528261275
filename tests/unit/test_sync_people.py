"""SyncPeople: from a query's rows to people, on real databases."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy.engine import URL, Connection, Engine

from notify.domain.person import Person
from notify.domain.preference import Frequency, Preference
from notify.exceptions import ConfigurationError
from notify.operators.sync_people import SyncPeopleOperator, _faults_of_columns, _value
from notify.storage import people
from tests.connections import postgres_connection

#: A firm's table, with its own names and types.
STAFF = """
    create table staff (number integer, full_name text, mail text, boss integer, gone boolean, teams text[],
                        wishes jsonb);
    insert into staff values
        (1, 'The Boss', 'boss@example.com', null, false, null, null),
        (2, 'Anna', 'anna@example.com', 1, false, '{clerks,readers}', '{"case_changed": "daily"}'),
        (3, 'Bob', null, 1, true, '{}', null);
"""

SQL = """
    select number as "LOGIN", full_name as "Name", mail as email, boss as supervisor, not gone as active,
           teams as groups, wishes as preferences
    from staff where full_name is null or full_name like '%' order by number
"""


def described(url: URL, conn_type: str) -> str:
    """A PostgreSQL database as an Airflow connection, with extras that are not all for libpq."""
    extra = {"sslmode": "prefer", "cursor": "what only Airflow's own hook knows"}
    return postgres_connection(url, conn_type, extra=extra)


@pytest.fixture
def firm(empty_database: URL, notify_db: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Another database, the firm's, as the generic connection hr."""
    monkeypatch.setenv("AIRFLOW_CONN_HR", described(empty_database, "generic"))
    engine = sa.create_engine(empty_database)
    with engine.begin() as connection:
        for statement in STAFF.split(";"):
            if statement.strip():
                connection.execute(sa.text(statement.replace(":", "\\:")))
    yield engine
    engine.dispose()


def sync(conn_id: str = "hr", sql: str = SQL, **arguments: Any) -> dict[str, int]:
    """Run the task."""
    return SyncPeopleOperator(task_id="sync", conn_id=conn_id, sql=sql, **arguments).execute({})  # type: ignore[arg-type]


def change(engine: Engine, statement: str) -> None:
    """Change the firm's table."""
    with engine.begin() as connection:
        connection.execute(sa.text(statement))


# --- A PostgreSQL for which Airflow has no hook ----------------------------------------------------------------------


@pytest.mark.parametrize("conn_type", ["generic", "postgres"])
def test_sync(
    firm: Engine,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    conn_type: str,
) -> None:
    """People come from the firm's database, whatever case its columns have; numbers are logins, NULL is not given."""
    monkeypatch.setenv("AIRFLOW_CONN_HR", described(firm.url, conn_type))
    with caplog.at_level(logging.INFO):
        counts = sync()
    assert counts == {"added": 3, "changed": 0, "unchanged": 0, "groups": 2, "preferences": 1, "deactivated": 0}
    anna = people.read(connection, "2")
    assert anna is not None
    assert anna.source == "sync:hr"
    assert anna.person == Person(
        login="2",
        name="Anna",
        email="anna@example.com",
        supervisor="1",
        groups=["clerks", "readers"],
        preferences={"case_changed": Preference(frequency=Frequency.DAILY)},
    )
    assert {one.login for one in people.listed(connection)} == {"1", "2"}
    assert "3 people from hr: 3 added, 0 changed, 0 unchanged, 0 missing" in caplog.text
    assert "@" not in caplog.text


def test_sync_again(firm: Engine, connection: Connection) -> None:
    """Who left the table becomes inactive, unless the task is told to leave them; who is back is active again."""
    sync()
    change(firm, "delete from staff where number = 2")
    assert sync(deactivate_missing=False)["deactivated"] == 0
    assert {one.login for one in people.listed(connection)} == {"1", "2"}
    connection.commit()
    assert sync()["deactivated"] == 1
    assert {one.login for one in people.listed(connection)} == {"1"}
    connection.commit()
    change(firm, "insert into staff (number, gone) values (2, false)")
    assert sync()["changed"] == 1
    assert {one.login for one in people.listed(connection)} == {"1", "2"}


def test_sync_of_a_table_that_was_emptied(
    firm: Engine, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty or much too short result fails the task with its numbers and changes nobody, until it is allowed."""
    sync()
    change(firm, "delete from staff")
    with pytest.raises(ConfigurationError, match="2 of the 2 active ones"):
        sync()
    assert "most_missing=1" in caplog.text
    assert len(people.listed(connection)) == 2
    connection.commit()
    assert sync(most_missing=1)["deactivated"] == 2


def test_faulty_rows(firm: Engine, connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    """Faults are told by row, all at once, without anybody's address; nothing is changed and no retry follows."""
    sync()
    change(firm, "update staff set full_name = 'The New Boss' where number = 1")
    change(firm, "insert into staff (number, mail) values (4, 'Anna N. <anna@@example.com>'), (5, 'nobody')")
    change(firm, 'insert into staff (number, wishes) values (6, \'{"case_lost": "daily"}\'), (2, null)')
    with pytest.raises(AirflowFailException) as refused:
        sync()
    assert "row 5: email: " in str(refused.value)
    assert "row 6: email: 'nobody' is no e-mail address" in str(refused.value)
    assert "row 7: preferences.case_lost: 'case_lost' is unknown" in str(refused.value)
    assert "login: '2' stands in the query's result twice" in str(refused.value)
    assert str(refused.value) in caplog.text
    assert "example.com" not in caplog.text
    names = {one.name for one in people.listed(connection)}
    assert names == {"The Boss", "Anna"}


def test_many_faulty_rows(firm: Engine) -> None:
    """Of many faults twenty are shown, and the rest is counted."""
    with pytest.raises(AirflowFailException) as refused:
        sync(sql="select 'p' || n as login, 'x' as email from generate_series(1, 1000) n")
    assert len(str(refused.value).splitlines()) == 22
    assert "… and 980 more" in str(refused.value)


def test_strange_supervisor(firm: Engine, connection: Connection) -> None:
    """A supervisor whom nobody knows is a fault of the list, and nobody is stored."""
    with pytest.raises(
        AirflowFailException, match=r"anna: supervisor: '…@…' is neither in the query's result nor known"
    ):
        sync(sql="select 'anna' as login, 'boss@example.com' as supervisor")
    assert people.listed(connection) == []


@pytest.mark.parametrize(
    ("sql", "fault"),
    [
        ("select 1 as number", "column login: is missing"),
        ("select 'a' as login, 'b' as \"Login\"", "column login: stands there twice"),
        ("select 'a' as login, 42 as shoe_size", "column shoe_size: there is no such field; there are login, name, "),
    ],
)
def test_wrong_columns(firm: Engine, sql: str, fault: str) -> None:
    """Columns that are missing, unknown or there twice are told once, not for each row."""
    with pytest.raises(AirflowFailException, match=fault):
        sync(sql=sql)


def test_all_faults_of_columns() -> None:
    """All that is wrong with the columns is told at once."""
    assert [fault.split(":")[0] for fault in _faults_of_columns(["name", "name", "nick"])] == [
        "column login",
        "column nick",
        "column name",
    ]


def test_no_query(firm: Engine) -> None:
    """A statement that returns no rows is no list of people."""
    with pytest.raises(ConfigurationError, match="Write a SELECT"):
        sync(sql="set timezone = 'UTC'")


@pytest.mark.parametrize(
    ("conn_id", "uri", "fault"),
    [
        ("nowhere", None, "There is no connection nowhere"),
        ("mail", "smtp://mail.example.com", "type 'smtp', for which no SQL hook is installed"),
        ("elsewhere", "oracle://db.example.com", "type 'oracle', for which no SQL hook is installed"),
    ],
)
def test_no_database(
    notify_db: URL, monkeypatch: pytest.MonkeyPatch, conn_id: str, uri: str | None, fault: str
) -> None:
    """A connection that is none, or none to an SQL database, is named with what to do."""
    if uri:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", uri)
    with pytest.raises(ConfigurationError, match=fault):
        sync(conn_id)


# --- A database that Airflow has a hook for --------------------------------------------------------------------------


class SqliteHook(DbApiHook):
    """A hook as a provider brings it; none of those that are installed here does."""

    conn_name_attr = "sqlite_conn_id"

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.connection.host)


@pytest.fixture
def file(tmp_path: Path, notify_db: URL, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """An SQLite database as the connection hr, with Airflow's hook; called, it runs statements there."""
    path = tmp_path / "staff.db"
    monkeypatch.setenv("AIRFLOW_CONN_HR", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    monkeypatch.setattr(AirflowConnection, "get_hook", lambda found: SqliteHook(found.conn_id))

    def run(script: str) -> None:
        with sqlite3.connect(path) as database:
            database.executescript(script)
        database.close()

    return run


def test_sync_through_a_hook(file: Callable[[str], None], connection: Connection) -> None:
    """People come through the connection's own hook where there is one, from any SQL database."""
    file("""
        create table staff (Login text, "GROUPS" text, active integer, phone integer, preferences text);
        insert into staff values ('anna', 'clerks; readers', 1, 421900123456, 'daily'), ('bob', '', 0, null, null);
    """)
    assert sync(sql="select * from staff")["added"] == 2
    anna, bob = (people.read(connection, login) for login in ("anna", "bob"))
    assert anna is not None
    assert bob is not None
    assert (anna.person.phone, anna.person.groups, anna.person.active) == ("421900123456", ["clerks", "readers"], True)
    assert anna.person.preferences == {"*": Preference(frequency=Frequency.DAILY)}
    assert (bob.person.active, bob.person.groups) == (False, [])


# --- The operator ----------------------------------------------------------------------------------------------------


def test_fields_are_rendered() -> None:
    """Connection and query are templated, and the query may be a file."""
    operator = SyncPeopleOperator(task_id="sync", conn_id="{{ params.hr }}", sql="select * from staff_{{ ds_nodash }}")
    operator.render_template_fields({"params": {"hr": "hr_test"}, "ds_nodash": "20260701"})  # type: ignore[typeddict-item]
    assert (operator.conn_id, operator.sql) == ("hr_test", "select * from staff_20260701")
    assert tuple(operator.template_ext) == (".sql",)


@pytest.mark.parametrize(
    ("column", "given", "taken"),
    [
        ("login", 7, "7"),
        ("login", Decimal(7), "7"),
        ("login", Decimal("7.0"), "7"),
        ("login", "007", "007"),
        ("phone", 421900123456, "421900123456"),
        ("phone", Decimal("1.5"), "1.5"),
        ("active", True, True),
        ("active", 0, False),
        ("active", Decimal(1), True),
        ("active", 2, "2"),
        ("active", "N", "N"),
        ("name", True, True),
        ("groups", ["a"], ["a"]),
    ],
)
def test_values(column: str, given: object, taken: object) -> None:
    """Numbers become text, save where they mean yes or no; all else is Person's to judge."""
    assert _value(column, given) == taken
    assert type(_value(column, given)) is type(taken)
