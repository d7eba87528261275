"""The schema in a real PostgreSQL: migrations, what the database itself refuses, and the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import URL, Connection, Engine

from notify import cli
from notify.domain.message import Guarantee
from notify.domain.status import TRANSITIONS, Status
from notify.exceptions import ConfigurationError, SchemaMissing, SchemaTooNew, SchemaTooOld
from notify.handover import hand_over
from notify.settings import HandOverSettings
from notify.storage import people, schema
from notify.storage.engine import engine_for
from notify.storage.models import SCHEMA, metadata
from tests.connections import postgres_connection
from tests.newsroom import LONG_AGO, Newsroom, settings_of, write_templates

CHECKOUT = Path(__file__).resolve().parents[2]

#: Arguments in; exit status, output and errors out.
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def empty_engine(empty_database: URL) -> Iterator[Engine]:
    """An engine on a database without any tables."""
    engine = sa.create_engine(empty_database)
    yield engine
    engine.dispose()


def tables(engine: Engine, name: str = SCHEMA) -> set[str]:
    return set(sa.inspect(engine).get_table_names(schema=name))


# --- Migrations ------------------------------------------------------------------------------------------------------


def differences(connection: Connection) -> list[object]:
    """What Alembic would change to make the database equal the models, in our schema."""
    context = MigrationContext.configure(
        connection,
        opts={
            "include_schemas": True,
            "version_table_schema": SCHEMA,
            "compare_type": True,
            "compare_server_default": True,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        },
    )
    return list(compare_metadata(context, metadata))


def test_migrations_equal_models(connection: Connection) -> None:
    """All migrations together make the tables, columns, types, defaults, indexes and keys that the models state."""
    assert differences(connection) == []


def test_difference_would_be_seen(connection: Connection) -> None:
    """The comparison sees a column, a default and an index that are missing."""
    connection.execute(sa.text("alter table notify.messages drop column reply_to, alter column status drop default"))
    connection.execute(sa.text("drop index notify.messages_due_idx"))
    assert len(differences(connection)) == 3


def _checks(connection: Connection) -> dict[str, str]:
    rows = connection.execute(
        sa.text("""
            select conname, pg_get_constraintdef(oid) as definition from pg_constraint
            where contype = 'c' and connamespace = 'notify'::regnamespace
        """)
    )
    return {row.conname: row.definition for row in rows}


def test_checks_equal_models(connection: Connection, empty_engine: Engine) -> None:
    """The CHECK constraints, which Alembic does not compare, are those of the models, and the history's one more."""
    with empty_engine.begin() as other:
        other.execute(sa.schema.CreateSchema(SCHEMA))
        metadata.create_all(other)
        stated = _checks(other)
    migrated = _checks(connection)
    assert migrated.pop("message_events_transition_check")
    assert migrated == stated


def test_partial_indexes_equal_models(connection: Connection, empty_engine: Engine) -> None:
    """Indexes have the conditions and expressions that the models state, which Alembic does not compare."""
    query = sa.text("select indexdef from pg_indexes where schemaname = 'notify' and tablename <> 'alembic_version'")
    with empty_engine.begin() as other:
        other.execute(sa.schema.CreateSchema(SCHEMA))
        metadata.create_all(other)
        stated = set(other.scalars(query))
    assert set(connection.scalars(query)) == stated


def test_upgrade_twice(empty_engine: Engine) -> None:
    """Upgrading what is up to date changes nothing and says so."""
    assert schema.upgrade(empty_engine) == (None, schema.head())
    before = tables(empty_engine)
    assert schema.upgrade(empty_engine) == (schema.head(), schema.head())
    assert tables(empty_engine) == before


def test_down_and_up(empty_engine: Engine) -> None:
    """Going back to base removes every table and function of ours, and upgrading makes them again."""
    schema.upgrade(empty_engine)
    assert schema.downgrade(empty_engine, "base") == (schema.head(), None)
    assert tables(empty_engine) == {"alembic_version"}
    with empty_engine.connect() as connection:
        functions = "select count(*) from pg_proc where pronamespace = 'notify'::regnamespace"
        assert connection.scalar(sa.text(functions)) == 0
    schema.upgrade(empty_engine)
    with empty_engine.connect() as connection:
        assert differences(connection) == []
        assert schema.check(connection) == schema.head()


def test_unknown_revision(empty_engine: Engine) -> None:
    """A revision that nobody has written is refused with those that exist, and the lock is given back."""
    with pytest.raises(ConfigurationError, match=schema.head()):
        schema.upgrade(empty_engine, "9876")
    schema.upgrade(empty_engine)


def test_foreign_version_table(empty_engine: Engine) -> None:
    """A version table that another program keeps in schema public is neither read nor changed."""
    with empty_engine.begin() as connection:
        connection.execute(sa.text("create table public.alembic_version (version_num varchar(32) primary key)"))
        connection.execute(sa.text("insert into public.alembic_version values ('f0e1d2c3')"))
    with empty_engine.connect() as connection:
        assert schema.current(connection) is None
    schema.upgrade(empty_engine)
    schema.downgrade(empty_engine, "base")
    with empty_engine.connect() as connection:
        assert connection.scalars(sa.text("select version_num from public.alembic_version")).all() == ["f0e1d2c3"]
    assert tables(empty_engine, "public") == {"alembic_version"}


def test_data_survives_down_and_up(engine: Engine, tmp_path: Path) -> None:
    """People and messages survive a downgrade and the upgrade after it; the balance of what comes then is even."""
    room = Newsroom(engine, settings_of(write_templates(tmp_path)))
    room.hire("anna", "bob")
    for who in ("anna", "bob"):
        room.choose(who, "daily")
    for _ in range(2):
        room.publish("anna; bob", occurred_at=LONG_AGO)
    room.merge()
    room.publish("anna", "alarm")
    before = [(mail.kind, mail.to) for mail in room.mails()]
    assert room.balance().even
    schema.downgrade(engine, "0001")
    schema.upgrade(engine)
    assert [(mail.kind, mail.to) for mail in room.mails()] == before
    assert room.balance().even
    room.choose("anna", "hourly")
    for _ in range(2):
        room.publish("anna", occurred_at=LONG_AGO)
    assert room.merge().digests == 1
    assert room.balance().even
    room.do("delete from notify.notifications")
    assert "digests without notifications" in {wrong.what for wrong in room.balance().wrong}


def test_whatever_the_server_prefers(admin: Connection, engine: Engine) -> None:
    """Our connections read what is committed, also on a server that would have it otherwise."""
    name = engine.url.database
    admin.execute(sa.text(f"alter database {name} set default_transaction_isolation = 'repeatable read'"))
    show = sa.text("show transaction_isolation")
    ours = engine_for(engine.url)
    with ours.connect() as connection:
        assert connection.scalar(show) == "read committed"
    with engine.connect() as connection:
        assert connection.scalar(show) == "repeatable read"
    ours.dispose()


# --- The version, before use -----------------------------------------------------------------------------------------


def test_missing(empty_engine: Engine) -> None:
    """A database without tables is refused with the command that makes them."""
    with empty_engine.connect() as connection, pytest.raises(SchemaMissing, match="python -m notify db upgrade"):
        schema.check(connection)


def test_too_old(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that lacks a later revision is refused with both revisions and the command."""
    old = schema.head()
    monkeypatch.setattr(schema, "known", lambda: [old, "0999"])
    with engine.connect() as connection, pytest.raises(SchemaTooOld) as caught:
        schema.check(connection)
    assert old in str(caught.value)
    assert "0999" in str(caught.value)
    assert "python -m notify db upgrade" in str(caught.value)


def make_too_new(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("update notify.alembic_version set version_num = '9999'"))


def test_too_new(engine: Engine, hand_over_settings: HandOverSettings) -> None:
    """A database of a later version is refused by check, upgrade, downgrade and hand-over, with the way back."""
    make_too_new(engine)
    steps: list[Callable[[Connection], object]] = [
        schema.check,
        lambda _: schema.upgrade(engine),
        lambda _: schema.downgrade(engine, "base"),
        lambda connection: hand_over(connection, {}, hand_over_settings),
    ]
    for step in steps:
        with engine.connect() as connection, pytest.raises(SchemaTooNew) as caught:
            step(connection)
        assert "9999" in str(caught.value)
        assert f"python -m notify db downgrade {schema.head()}" in str(caught.value)
    assert "messages" in tables(engine)


def test_current_joins_a_transaction(empty_engine: Engine) -> None:
    """Asking for the version of an empty database leaves the caller's transaction usable."""
    with empty_engine.begin() as connection:
        connection.execute(sa.text("create table mine (n integer)"))
        assert schema.current(connection) is None
        connection.execute(sa.text("insert into mine values (1)"))
    with empty_engine.connect() as connection:
        assert connection.scalar(sa.text("select n from mine")) == 1


# --- What the database refuses ---------------------------------------------------------------------------------------

_INSERT = sa.text("""
    insert into notify.messages (message_id, status, sender, kind, guarantee, subject, headers, size, sent_at)
    values (:message_id, :status, 'smtp_default', 'send_message', :guarantee, 'x', '', 0, now()) returning id
""")


def message_in(
    connection: Connection, status: Status = Status.QUEUED, guarantee: Guarantee = Guarantee.AT_MOST_ONCE
) -> int:
    """A message that is in a state without having come there."""
    values = {"message_id": f"<{uuid4()}@example.com>", "status": status.value, "guarantee": guarantee.value}
    number: int = connection.scalar(_INSERT, values)
    return number


def refused(connection: Connection, statement: str, **values: object) -> str | None:
    """The name of the constraint that a statement breaks, None where it is taken; undone in any case."""
    savepoint = connection.begin_nested()
    try:
        connection.execute(sa.text(statement), values)
    except sa.exc.IntegrityError as error:
        return str(error.orig.diag.constraint_name)  # type: ignore[union-attr]  # psycopg's
    finally:
        savepoint.rollback()
    return None


def test_transitions(connection: Connection) -> None:
    """Of all pairs of states, the database takes exactly the transitions that the domain states."""
    taken = set()
    for before in Status:
        number = message_in(connection, before)
        for after in set(Status) - {before}:
            constraint = refused(
                connection, "update notify.messages set status = :after where id = :id", after=after.value, id=number
            )
            assert constraint in {None, "message_events_transition_check"}
            if constraint is None:
                taken.add((before, after))
    assert taken == TRANSITIONS


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'lost'", "messages_status_check"),
        ("priority = 'later'", "messages_priority_check"),
        ("guarantee = 'never'", "messages_guarantee_check"),
        ("size = -1", "messages_counts_check"),
        ("refusals = -1", "messages_counts_check"),
        ("idempotency_key = 'k'", "messages_idempotency_check"),
    ],
)
def test_columns_of_a_message(connection: Connection, change: str, constraint: str) -> None:
    """A message's columns hold nothing that the code would not understand."""
    number = message_in(connection)
    assert refused(connection, f"update notify.messages set {change} where id = {number}") == constraint


def test_uncertain_needs_at_most_once(connection: Connection) -> None:
    """Only a message that may never be repeated can become uncertain."""
    number = message_in(connection, Status.SENDING, Guarantee.AT_LEAST_ONCE)
    statement = f"update notify.messages set status = 'uncertain' where id = {number}"
    assert refused(connection, statement) == "messages_uncertain_check"


def test_sent_needs_a_time(connection: Connection) -> None:
    """What was sent has a time of sending."""
    number = message_in(connection, Status.SENDING)
    statement = f"update notify.messages set status = 'sent', sent_at = null where id = {number}"
    assert refused(connection, statement) == "messages_sent_at_check"


def test_attempts(connection: Connection) -> None:
    """A message has at most one open attempt; an attempt that ended had begun and has an outcome."""
    number, drain = message_in(connection), uuid4()
    connection.execute(
        sa.text(
            "insert into notify.drains (id, sender, worker, hourly_limit, lease_until) values (:id,'s','w',1,now())"
        ),
        {"id": drain},
    )
    add = (
        "insert into notify.attempts (message_id, number, sender, bulk, drain_id, begun_at, ended_at, outcome) "
        f"values ({number}, :number, 's', false, '{drain}', :begun, :ended, :outcome)"
    )
    connection.execute(sa.text(add), {"number": 1, "begun": None, "ended": None, "outcome": None})
    now = "2026-01-01T00:00Z"
    assert refused(connection, add, number=2, begun=None, ended=None, outcome=None) == "attempts_open_idx"
    assert refused(connection, add, number=2, begun=None, ended=now, outcome="accepted") == "attempts_begun_check"
    assert refused(connection, add, number=2, begun=now, ended=now, outcome=None) == "attempts_ended_check"
    assert refused(connection, add, number=2, begun=now, ended=None, outcome="accepted") == "attempts_ended_check"
    assert refused(connection, add, number=2, begun=now, ended=now, outcome="lost") == "attempts_outcome_check"
    assert refused(connection, add, number=1, begun=now, ended=now, outcome="accepted") == (
        "attempts_message_id_number_key"
    )
    assert refused(connection, add, number=2, begun=now, ended=now, outcome="accepted") is None


def test_history_cannot_be_forgotten(connection: Connection) -> None:
    """A change of state by whatever statement leaves a row of history; a change of nothing else leaves none."""
    number = message_in(connection)
    connection.execute(sa.text("update notify.messages set subject = 'y'"))
    connection.execute(sa.text("update notify.messages set status = 'held', status_reason = 'by hand'"))
    rows = connection.execute(sa.text("select message_id, from_status, to_status, reason from notify.message_events"))
    assert rows.all() == [(number, "queued", "held", "by hand")]


# --- What the database refuses of events ----------------------------------------------------------------------------


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Newsroom:
    """Anna and Bob, who hear of everything once a week, and one notification that waits for each."""
    found = Newsroom(engine, settings_of(write_templates(tmp_path)))
    found.hire("anna", "bob")
    found.choose("anna", "weekly")
    found.choose("bob", "weekly")
    found.publish("anna; bob", idempotency_key="k")
    return found


def refused_home(connection: Connection, statement: str) -> str | None:
    """What the database says to a second home, None where it takes the statement; undone in any case."""
    savepoint = connection.begin_nested()
    try:
        connection.execute(sa.text(statement))
    except sa.exc.IntegrityError as error:
        return str(error.orig)
    finally:
        savepoint.rollback()
    return None


def test_one_home(room: Newsroom, connection: Connection) -> None:
    """A notification that waits may find any home; one that has a home keeps it, whatever statement is used."""
    number = message_in(connection)
    homes = {
        "mail": f"home = 'mail', message_id = {number}, reason = null",
        "digest": f"home = 'digest', message_id = {number}, reason = null",
        "refused": "home = 'refused', reason = 'never', message_id = null",
        "waiting": "home = 'waiting', reason = null, message_id = null",
    }
    mine = "where login = 'anna'"
    for first, values in homes.items():
        savepoint = connection.begin_nested()
        assert refused_home(connection, f"update notify.notifications set {values} {mine}") is None
        connection.execute(sa.text(f"update notify.notifications set {values} {mine}"))
        for second, others in homes.items():
            said = refused_home(connection, f"update notify.notifications set {others} {mine}")
            if first in {second, "waiting"}:
                assert said is None
            else:
                assert f"has its home ({first}) and cannot become {second}" in (said or "")
        assert refused_home(connection, f"update notify.notifications set address = 'x@example.org' {mine}") is None
        savepoint.rollback()


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update notify.notifications set home = 'lost'", "notifications_home_check"),
        ("update notify.notifications set home = 'mail'", "notifications_message_check"),
        ("update notify.notifications set home = 'digest'", "notifications_message_check"),
        ("update notify.notifications set home = 'refused'", "notifications_reason_check"),
        ("update notify.notifications set reason = 'never'", "notifications_reason_check"),
        ("update notify.notifications set message_id = 1", "notifications_message_check"),
        ("update notify.notifications set subject = null", "notifications_waiting_check"),
        ("update notify.notifications set content_id = null", "notifications_waiting_check"),
        ("update notify.notifications set login = null", "notifications_waiting_check"),
        ("update notify.notifications set login = 'anna'", "notifications_login_key"),
        ("update notify.notifications set position = 0", "notifications_position_event_id_key"),
        ("update notify.deferred set look_at = due_at + interval '1 s'", "deferred_look_at_check"),
        ("update notify.deferred set login = 'nobody'", "deferred_login_fkey"),
        ("insert into notify.deferred select * from notify.deferred", "deferred_pkey"),
        ("delete from notify.people where login = 'anna'", "deferred_login_fkey"),
        ("delete from notify.contents", "notifications_content_id_fkey"),
        ("update notify.events set recipients = 0", "events_recipients_check"),
        ("insert into notify.events (kind, recipients, occurred_at, idempotency_key) values ('k', 1, now(), 'k')",
         "events_idempotency_key_key"),
        ("update notify.preferences set frequency = 'yearly'", "preferences_frequency_check"),
        ("update notify.preferences set weekday = 0", "preferences_weekday_check"),
        ("update notify.preferences set weekday = 8", "preferences_weekday_check"),
        ("update notify.preferences set quiet_from = '22:00'", "preferences_quiet_check"),
        ("update notify.preferences set quiet_from = '22:00', quiet_until = '22:00'", "preferences_quiet_check"),
        ("insert into notify.suppressions (address, reason) values ('Anna@example.com', 'r')",
         "suppressions_address_check"),
    ],
)  # fmt: skip
def test_columns_of_events(room: Newsroom, connection: Connection, statement: str, constraint: str) -> None:
    """What belongs to events holds nothing that the code would not understand, and nothing twice."""
    assert refused(connection, statement) == constraint


def test_a_mail_is_one_notification(room: Newsroom, connection: Connection) -> None:
    """A mail of its own tells of one notification, a digest of as many as it likes."""
    number = message_in(connection)
    both = "update notify.notifications set message_id = {}, home = '{}'"
    assert refused(connection, both.format(number, "mail")) == "notifications_mail_key"
    assert refused(connection, both.format(number, "digest")) is None


@pytest.mark.parametrize(
    ("change", "looks"),
    [
        ("update notify.people set active = false where login = 'anna'", True),
        ("update notify.people set email = 'new@example.com' where login = 'anna'", True),
        ("update notify.people set email = null where login = 'anna'", True),
        ("update notify.people set email = email, active = active, name = 'A', timezone = 'UTC' where login = 'anna'",
         False),
        ("update notify.preferences set frequency = 'never' where login = 'anna'", True),
        ("update notify.preferences set hour = '07:00' where login = 'anna'", True),
        ("delete from notify.preferences where login = 'anna'", True),
        ("insert into notify.preferences (login, kind, frequency) values ('anna', 'news', 'never')", True),
        ("insert into notify.suppressions (address, reason) values ('anna@example.com', 'r')", False),
    ],
)  # fmt: skip
def test_who_is_looked_at_again(room: Newsroom, connection: Connection, change: str, *, looks: bool) -> None:
    """Whatever changes whom or whether something goes to makes the next run look at that person, and at nobody else."""
    connection.execute(sa.text(change))
    found = connection.scalars(sa.text("select login from notify.deferred where look_at <= now()")).all()
    assert found == (["anna"] if looks else [])
    assert connection.scalar(sa.text("select count(*) from notify.deferred where due_at > now()")) == 2


def test_down_to_messages_and_up_again(room: Newsroom, engine: Engine) -> None:
    """Going back to 0001 takes away events and all that belongs to them, and nothing else; up again makes it anew."""
    room.publish("anna", "alarm")
    people_before = room.rows("select login, email from notify.people order by login")
    messages_before = room.rows("select id, status from notify.messages")
    assert schema.downgrade(engine, "0001") == (schema.head(), "0001")
    gone = {
        "events",
        "notifications",
        "deferred",
        "preferences",
        "suppressions",
        "cases",
        "deadlines",
        "deadline_steps",
        "bounces",
        "identity",
        "api_requests",
        "unsubscriptions",
        "balance",
        "sms_parts",
        "receipt_queries",
        "campaigns",
        "campaign_rows",
        "campaign_recipients",
        "campaign_attachments",
    }
    assert {table.name for table in metadata.tables.values()} - tables(engine) == gone
    assert room.rows("select login, email from notify.people order by login") == people_before
    assert room.rows("select id, status from notify.messages") == messages_before
    room.do("update notify.people set active = false")
    with engine.connect() as connection, pytest.raises(SchemaTooOld):
        schema.check(connection)
    schema.upgrade(engine)
    with engine.connect() as connection:
        assert differences(connection) == []
        assert schema.check(connection) == schema.head()
    room.do("update notify.people set active = true")
    room.choose("anna", "weekly")
    assert room.publish("anna").waiting == 1
    assert room.balance().even


# --- The command line ------------------------------------------------------------------------------------------------


def command(url: URL, *arguments: str) -> subprocess.Popen[str]:
    """``python -m notify`` in a process of its own."""
    connection = postgres_connection(url)
    environment = os.environ | {"AIRFLOW_CONN_NOTIFY_DB": connection, "PYTHONPATH": str(CHECKOUT / "plugins")}
    return subprocess.Popen(
        [sys.executable, "-m", "notify", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def answer(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status and texts."""
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def test_database_commands(empty_database: URL) -> None:
    """check, upgrade and downgrade tell what they did, and their exit statuses tell it to programs."""
    status, out, err = answer(command(empty_database, "db", "check"))
    assert (status, out) == (1, "")
    assert "notify: " in err
    assert "python -m notify db upgrade" in err

    status, out, err = answer(command(empty_database, "db", "upgrade"))
    assert (status, err) == (0, "")
    assert out == f"The outbox database was upgraded from nothing to revision {schema.head()}.\n"

    status, out, _ = answer(command(empty_database, "db", "check"))
    assert (status, out) == (0, f"The outbox database is at revision {schema.head()}, as this version needs it.\n")


def test_two_upgrades_at_once(empty_database: URL, empty_engine: Engine) -> None:
    """Two programs that upgrade at once both succeed: one makes the tables, the other finds them."""
    with empty_engine.connect() as connection:  # both wait at the same door before either may go on
        connection.execute(sa.select(sa.func.pg_advisory_lock(schema.UPGRADE_LOCK)))
        both = [command(empty_database, "db", "upgrade") for _ in range(2)]
        _wait_for_waiting(connection, 2)
        connection.execute(sa.select(sa.func.pg_advisory_unlock(schema.UPGRADE_LOCK)))
        answers = [answer(process) for process in both]
    assert [status for status, _, _ in answers] == [0, 0], answers
    said = sorted(out for _, out, _ in answers)
    assert said == [
        f"The outbox database is at revision {schema.head()} already.\n",
        f"The outbox database was upgraded from nothing to revision {schema.head()}.\n",
    ]
    with empty_engine.connect() as connection:
        assert connection.scalars(sa.text("select version_num from notify.alembic_version")).all() == [schema.head()]


def _wait_for_waiting(connection: Connection, count: int) -> None:
    """Until so many sessions of this database wait for an advisory lock; the deadline is the server's."""
    connection.execute(
        sa.text(
            """
            do $$
            declare deadline timestamptz := clock_timestamp() + interval '150 seconds';
            begin
                while (select count(*) from pg_locks where locktype = 'advisory' and not granted
                       and database = (select oid from pg_database where datname = current_database())) < COUNT loop
                    if clock_timestamp() > deadline then raise 'nobody waits'; end if;
                    perform pg_sleep(0.02);
                end loop;
            end $$
        """.replace("COUNT", str(count))
        )
    )


def test_downgrade_command(notify: Command, engine: Engine) -> None:
    """Going back needs a confirmation that names the loss; with it, the tables are gone."""
    status, _, err = notify("db", "downgrade", "base")
    assert status == 1
    assert "--yes" in err
    assert "backup" in err
    assert "messages" in tables(engine)
    status, out, _ = notify("db", "downgrade", "base", "--yes")
    assert (status, out) == (0, f"The outbox database was taken back from {schema.head()} to nothing.\n")
    assert "messages" not in tables(engine)


def test_too_new_by_command(notify: Command, engine: Engine) -> None:
    """Every command refuses a database of a later version with exit status 1 and the way back."""
    make_too_new(engine)
    for arguments in (("db", "check"), ("db", "upgrade"), ("messages", "list")):
        status, out, err = notify(*arguments)
        assert (status, out) == (1, "")
        assert f"python -m notify db downgrade {schema.head()}" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["deadlines", "show", "99999999999999999999"],
        ["deadlines", "list", "--limit", "-1"],
        ["deadlines", "list", "--case", "\udcff"],
        ["deadlines", "clear", "\udcff"],
        ["messages", "show", "0"],
        ["messages", "hold", "1", "99999999999999999999"],
        ["messages", "list", "--limit", "99999999999999999999"],
        ["suppressions", "list", "--limit", "0"],
        ["suppressions", "add", "x@example.com", "--reason", "\udcff"],
        ["people", "show", "\udcff"],
        ["people", "list", "--group", "\udcff"],
        ["preferences", "set", "\udcff", "*", "daily"],
    ],
)
def test_what_no_database_can_be_asked_for(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A number that no row can have, and bytes that are no text, are calls in a wrong way, and said to be so."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert re.search(r"is no number from 1 to|has bytes that are no text", capsys.readouterr().err)


def test_unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A database that does not answer is named without its password, and another kind is refused by name."""
    described = {"conn_type": "postgres", "host": str(tmp_path), "login": "clerk", "password": "s3cret", "schema": "x"}
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    for kind, expected in (("postgres", "cannot be reached"), ("mysql", "'mysql'")):
        monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", json.dumps(described | {"conn_type": kind}))
        assert cli.main(["db", "check"]) == 1
        err = capsys.readouterr().err
        assert expected in err
        assert "s3cret" not in err


# --- people import ---------------------------------------------------------------------------------------------------

CSV = """\
login,name,email,language,timezone,active,supervisor,groups
anna,Anna Nowak,anna@example.com,pl,Europe/Warsaw,true,boss,clerks; readers
bob,Bob,bob@example.com,,,true,,clerks
boss,The Boss,boss@example.com,,,true,,
gone,Gone,gone@example.com,,,false,,
"""


def test_import_csv(notify: Command, connection: Connection, tmp_path: Path) -> None:
    """A CSV brings people, supervisors further down and groups; the same again changes nobody."""
    file = tmp_path / "people.csv"
    file.write_text(CSV, encoding="utf-8-sig")
    status, out, _ = notify("people", "import", file)
    assert (status, out) == (0, "4 people imported: 4 added, 0 changed, 0 unchanged; 2 groups.\n")
    assert notify("people", "import", file)[1] == "4 people imported: 0 added, 0 changed, 4 unchanged; 2 groups.\n"
    anna = people.find(connection, ["anna"])["anna"]
    assert (anna.name, anna.email, anna.language, anna.timezone, anna.supervisor, anna.active) == (
        "Anna Nowak",
        "anna@example.com",
        "pl",
        "Europe/Warsaw",
        "boss",
        True,
    )
    assert not people.find(connection, ["gone"])["gone"].active
    found = people.members(connection, ["clerks", "readers", "nobody"])
    assert {name: [one.login for one in members] for name, members in found.items()} == {
        "clerks": ["anna", "bob"],
        "readers": ["anna"],
    }


def test_import_json(notify: Command, connection: Connection, tmp_path: Path) -> None:
    """A JSON changes whom it names: an empty list leaves all groups, no list leaves groups as they are."""
    (tmp_path / "people.csv").write_text(CSV)
    notify("people", "import", tmp_path / "people.csv")
    file = tmp_path / "people.json"
    file.write_text(json.dumps([{"login": "anna", "name": "Anna", "groups": []}, {"login": "bob", "name": "Bob"}]))
    assert notify("people", "import", file)[1] == "2 people imported: 0 added, 2 changed, 0 unchanged; 0 groups.\n"
    assert [one.login for one in people.members(connection, ["clerks"])["clerks"]] == ["bob"]
    assert len(people.find(connection, ["anna", "bob", "boss", "gone"])) == 4


@pytest.mark.parametrize(
    ("name", "content", "faults"),
    [
        (
            "faulty.csv",
            "login,email,timezone\nanna,anna@example.com,\nbob,nobody,\nanna,,\nc@d,,Mars/Olympus\n",
            ["line 3: email: ", "line 4: login: 'anna' stands in the file twice", "line 5: login: ", "Mars/Olympus"],
        ),
        (
            "faulty.json",
            '[{"login": "anna"}, {"login": "bob", "age": 7}, 7, {"login": "eve", "groups": ["a@b"]}]',
            ["entry 2: age: ", "entry 3: ", "entry 4: groups: "],
        ),
        ("supervisors.csv", "login,supervisor\nanna,\nbob,nobody\n", ["bob: supervisor: 'nobody'"]),
        ("columns.csv", "login,nickname\nanna,Ann\n", ["line 2: nickname: "]),
        ("broken.json", '[{"login": "anna"}', ["no JSON"]),
        ("object.json", '{"login": "anna"}', ["list of people"]),
        ("people.txt", "login\nanna\n", [".csv nor .json"]),
        ("missing.csv", None, ["cannot be read"]),
    ],
)
def test_import_all_or_nothing(
    notify: Command, connection: Connection, tmp_path: Path, *, name: str, content: str | None, faults: list[str]
) -> None:
    """A file with any fault is not taken at all; every fault is told with its line and field."""
    if content is not None:
        (tmp_path / name).write_text(content)
    status, out, err = notify("people", "import", tmp_path / name)
    assert (status, out) == (1, "")
    for fault in faults:
        assert fault in err
    assert people.find(connection, ["anna", "bob", "eve"]) == {}


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.fixture
def number(connection: Connection, hand_over_settings: HandOverSettings) -> int:
    """A message in the queue."""
    fields = {"recipient": "anna@example.com; bob@example.com", "one_mail": True, "subject": "Hi", "message": "Hello"}
    handed_over = hand_over(connection, fields, hand_over_settings)
    connection.commit()
    return handed_over.messages[0].id


def test_list_messages(notify: Command, number: int) -> None:
    """The list is found by state and by a recipient's address, however it is written."""
    line = rf" +{number}  queued +\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\dZ  Hi\n"
    assert re.fullmatch(line, notify("messages", "list")[1])
    assert re.fullmatch(line, notify("messages", "list", "--status", "queued", "--address", "BOB@example.com")[1])
    nothing = (0, "There are no such messages.\n", "")
    assert notify("messages", "list", "--status", "sent") == nothing
    assert notify("messages", "list", "--address", "carl@example.com") == nothing


def test_move_messages(notify: Command, number: int) -> None:
    """hold, release, cancel and resend move a message; its history names each step, its reason and who did it."""
    for action, said in (
        ("hold", "held"),
        ("release", "back in the queue"),
        ("cancel", "cancelled"),
        ("resend", "in the queue again"),
    ):
        assert notify("messages", action, number) == (0, f"Message {number} is {said}.\n", "")
    status, out, _ = notify("messages", "show", number)
    assert status == 0
    assert f"Message {number}: queued (put back by a person)" in out
    assert "to   anna@example.com  pending" in out
    assert "No attempt yet" in out
    steps = [line.split("  ") for line in out.partition("History\n")[2].splitlines()]
    assert [(step[2], step[3]) for step in steps] == [
        ("queued → held", "held by a person"),
        ("held → queued", "released by a person"),
        ("queued → cancelled", "cancelled by a person"),
        ("cancelled → queued", "put back by a person"),
    ]
    assert all(step[4].endswith("(command line)]") for step in steps)


def test_move_all_or_none(notify: Command, number: int) -> None:
    """When one of several messages cannot be moved, none is, and the error names it and its state."""
    status, out, err = notify("messages", "hold", number, 999999)
    assert (status, out) == (1, "")
    assert "999999" in err
    assert " queued " in notify("messages", "list")[1]
    status, _, err = notify("messages", "release", number)
    assert status == 1
    assert f"Message {number} is queued" in err
    assert notify("messages", "show", 999999)[0] == 1
