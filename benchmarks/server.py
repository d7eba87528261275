"""The database that everything is measured on: an embedded PostgreSQL as `make up` has it, fsync on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import psutil  # type: ignore[import-untyped]
import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.serverlog import ServerLog
from dev.postgres import Postgres
from notify.storage import identity, schema
from notify.storage.engine import engine_for

#: Settings that the figures depend on.
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "default_toast_compression")


class Server:
    """A server for the run of the benchmarks.

    :param postgres: the running server
    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database; without a template, one with our schema and nothing else.

        :param template: a database to copy; nobody may be connected to it. A copy is sent from as if it were none
        :returns: its address
        """
        self.copy(template, name)
        engine = engine_for(self.url(name))
        if template == "template0":
            schema.upgrade(engine)
        else:
            with engine.begin() as connection:
                identity.confirm(connection, None, hold=False)
        engine.dispose()
        self._run("checkpoint")
        return self.url(name)

    def create_empty(self, name: str) -> None:
        """Make a database for a program that brings its own schema."""
        self._postgres.create_database(name)

    def copy(self, template: str, name: str) -> None:
        """Copy a database; nobody may be connected to it."""
        # file_copy: a large one would else go through the log, block by block.
        self._run("create database {} template {} strategy file_copy", name, template)

    def url(self, name: str) -> str:
        """The address of a database."""
        return self._postgres.uri(name)

    def for_django(self, name: str) -> dict[str, str]:
        """The address of a database as Django has it."""
        return {"HOST": str(self._postgres.socket_dir), "NAME": name, "USER": "postgres"}

    def execute(self, name: str, statement: LiteralString, values: Sequence[object] = ()) -> None:
        """Run a statement in a database, whoever's it is."""
        with psycopg.connect(self._postgres.conninfo(name), autocommit=True) as connection:
            connection.execute(statement, values)

    def drop(self, name: str) -> None:
        """Remove a database."""
        engine_for(self.url(name)).dispose()
        self._run("drop database {} with (force)", name)

    @contextmanager
    def database(self, name: str, template: str = "template0") -> Iterator[str]:
        """A database for as long as it is needed; see :meth:`create`."""
        yield self.create(name, template)
        self.drop(name)

    @contextmanager
    def telling(self, name: str) -> Iterator[dict[str, Any]]:
        """Have the server tell how long each statement of a database takes, see :class:`ServerLog`."""
        self._run("alter database {} set log_min_duration_statement = 0", name)
        with ServerLog(self._postgres.log).read() as found:
            yield found

    def cpu_seconds(self) -> float:
        """What all its processes have computed, those that have ended included."""
        main = psutil.Process(int((self._postgres.data / "postmaster.pid").read_text().splitlines()[0]))
        with suppress(psutil.NoSuchProcess):  # one that ends meanwhile is counted by the next look
            alive = sum(sum(one.cpu_times()[:2]) for one in main.children())
            return float(sum(main.cpu_times()[:4]) + alive)
        return self.cpu_seconds()

    def facts(self) -> dict[str, str]:
        """The server's version, and the settings that the figures depend on."""
        with self._connect() as connection:
            found = connection.execute(
                "select name, current_setting(name) from pg_settings where name = any(%s)", [list(SETTINGS)]
            ).fetchall()
            return {"postgresql": connection.execute("show server_version").fetchone()[0], **dict(found)}  # type: ignore[index]  # it answers with one row

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._postgres.conninfo("postgres"), autocommit=True)

    def _run(self, statement: str, *names: str) -> None:
        with self._connect() as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def embedded() -> Iterator[Server]:
    """A server with a data directory of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="notify-bench-") as folder:
        postgres = Postgres(Path(folder) / "data")
        postgres.start()
        try:
            yield Server(postgres)
        finally:
            postgres.stop()


def vacuum(url: str) -> None:
    """Bring a filled database into the state that autovacuum would bring it into."""
    with engine_for(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze"))
        connection.execute(sa.text("checkpoint"))
