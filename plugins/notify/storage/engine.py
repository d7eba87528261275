"""Connections to the outbox database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from notify.exceptions import ConfigurationError


def normal_url(url: str | URL) -> URL:
    """The URL with our driver (psycopg 3), whatever spelling the admin or Airflow uses.

    :param url: ``postgres://…``, ``postgresql://…`` or with a driver named
    :raises ConfigurationError: it is no PostgreSQL URL
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # the latter for a port, and it may quote the password
        raise ConfigurationError(
            "The outbox database's address cannot be read. Write it as postgresql://user:password@host:5432/database."
        ) from None
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError(
            f"The outbox needs PostgreSQL, not {parsed.get_backend_name()}. "
            "Point the Airflow connection notify_db (conn type postgres) at a PostgreSQL database."
        )
    return parsed.set(drivername="postgresql+psycopg")


#: A server that is gone without a word is given up within a minute and a half; the system's own patience is two hours.
_KEEPALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}


@lru_cache(maxsize=8)
def engine_for(url: str | URL) -> Engine:
    """An engine for the outbox database, one per URL and process."""
    return sa.create_engine(
        normal_url(url),
        pool_size=2,
        # Whatever the server's default is: who has waited for a lock must see what the other one committed.
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text must not carry addresses and bodies into a log
        connect_args={"application_name": "notify", "connect_timeout": 10, "options": "-c timezone=UTC", **_KEEPALIVE},
    )


@contextmanager
def transaction(engine: Engine, *, actor: str | None = None) -> Iterator[Connection]:
    """A transaction whose changes of state the history ascribes to ``actor``."""
    with engine.begin() as connection:
        if actor:
            set_actor(connection, actor)
        yield connection


def set_actor(connection: Connection, actor: str, *, for_session: bool = False) -> None:
    """Tell the history who acts, until the transaction ends, or the connection."""
    connection.execute(sa.select(sa.func.set_config("notify.actor", actor, not for_session)))


def give_up_idle_transactions(connection: Connection, after: timedelta) -> None:
    """Have the server end this session if a transaction of it stands still for so long; until the connection ends."""
    milliseconds = str(max(1, round(after.total_seconds() * 1000)))
    connection.execute(sa.select(sa.func.set_config("idle_in_transaction_session_timeout", milliseconds, False)))
