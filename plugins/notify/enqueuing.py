"""``notify.enqueue``: hand-over for Python code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from notify import settings
from notify.exceptions import ConfigurationError
from notify.handover import HandedOver, hand_over
from notify.storage.engine import engine_for, transaction
from notify.storage.outbox import Origin


def enqueue(
    *,
    connection: Connection | Session | Engine | None = None,
    origin: Origin | None = None,
    **fields: Any,
) -> HandedOver:
    """Hand a message over to the outbox; the next run of Notifications sends it.

    >>> notify.enqueue(recipient="anna; bob@example.com", subject="Hello", message="…")  # doctest: +SKIP

    :param connection: a SQLAlchemy connection or session of the outbox database, to hand over inside its open
        transaction: the message is in the outbox if and when you commit. Without it, a transaction of its own on the
        Airflow connection ``notify_db``
    :param origin: the task that hands it over, for the register
    :param fields: ``recipient``, ``subject``, ``message`` and the others of SendMessage (docs/sending.md)
    :returns: the messages, already there under the same ``idempotency_key`` or new
    :raises notify.exceptions.InvalidMessage: something is wrong with it; the error names every fault, nothing is stored
    :raises notify.exceptions.ConfigurationError: the database or a setting is not in order
    """
    return enqueue_fields(fields, connection=connection, origin=origin)


def enqueue_fields(
    fields: Mapping[str, Any],
    *,
    connection: Connection | Session | Engine | None = None,
    origin: Origin | None = None,
) -> HandedOver:
    """Hand a message over whose fields come from outside: whatever they are called, they are taken for fields.

    :param fields: by name; the other parameters and errors are those of :func:`enqueue`
    """
    try:
        with _joined(connection) as joined:
            return hand_over(joined, fields, settings.hand_over_settings(), origin=origin)
    except sa.exc.StatementError as error:
        error.hide_parameters = True  # the caller's engine may show them: texts and addresses, in somebody's log
        raise


def _joined(connection: Connection | Session | Engine | None) -> AbstractContextManager[Connection]:
    if connection is None:
        return transaction(engine_for(settings.database_url()))
    if isinstance(connection, Engine):
        return transaction(connection)
    joined = connection.connection() if isinstance(connection, Session) else connection
    if joined.dialect.name != "postgresql":
        raise ConfigurationError(
            f"The transaction to join is on {joined.dialect.name}; it must be on the outbox's own PostgreSQL database. "
            "Leave connection out to hand over in a transaction of its own."
        )
    return nullcontext(joined)
