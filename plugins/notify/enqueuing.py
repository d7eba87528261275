"""``notify.enqueue``: hand-over for Python code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from notify.handover import HandedOver, hand_over
from notify.joining import Connectable, joined
from notify.settings import HandOverSettings, hand_over_settings
from notify.storage.outbox import Origin


def enqueue(
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    origin: Origin | None = None,
    **fields: Any,
) -> HandedOver:
    """Hand a message over to the outbox; the next run of Notifications sends it.

    >>> notify.enqueue(recipient="anna; bob@example.com", subject="Hello", message="…")  # doctest: +SKIP

    :param connection: a SQLAlchemy connection or session of the outbox database, to hand over inside its open
        transaction: the message is in the outbox if and when you commit. Without it, a transaction of its own on the
        Airflow connection ``notify_db``
    :param settings: for programs without Airflow, which have no Variables; by default these are read
    :param origin: the task that hands it over, for the register
    :param fields: ``recipient``, ``subject``, ``message`` and the others of SendMessage (docs/sending.md)
    :returns: the messages, already there under the same ``idempotency_key`` or new
    :raises notify.exceptions.InvalidMessage: something is wrong with it; the error names every fault, nothing is stored
    :raises notify.exceptions.ConfigurationError: the database or a setting is not in order
    """
    return enqueue_fields(fields, connection=connection, settings=settings, origin=origin)


def enqueue_fields(
    fields: Mapping[str, Any],
    *,
    connection: Connectable | None = None,
    settings: HandOverSettings | None = None,
    origin: Origin | None = None,
) -> HandedOver:
    """Hand a message over whose fields come from outside: whatever they are called, they are taken for fields.

    :param fields: by name; the other parameters and errors are those of :func:`enqueue`
    """
    with joined(connection) as outbox:
        return hand_over(outbox, fields, settings or hand_over_settings(), origin=origin)
