"""The outbox database, for commands."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from notify import settings
from notify.exceptions import ConfigurationError
from notify.storage import schema
from notify.storage.engine import engine_for, transaction


def connect() -> Engine:
    """An engine whose server has answered.

    :raises ConfigurationError: it does not; the message says where it was looked for
    """
    url = settings.database_url()
    engine = engine_for(url)
    try:
        with engine.connect():
            return engine
    except sa.exc.OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise ConfigurationError(
            f"The outbox database {url.render_as_string(hide_password=True)} cannot be reached: {reason}. "
            "Check that PostgreSQL runs there, and the connection notify_db."
        ) from None


def user() -> str:
    """Who runs the command, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that nobody has
        return f"uid {os.getuid()}"


def actor() -> str:
    """The same for the history, with the door."""
    return f"{user()} (command line)"


@contextmanager
def changing() -> Iterator[Connection]:
    """A transaction of the outbox; the history says who did it.

    :raises ConfigurationError: the database does not answer, or its tables are not those of this version
    """
    with transaction(connect(), actor=actor()) as connection:
        schema.require(connection)
        yield connection
