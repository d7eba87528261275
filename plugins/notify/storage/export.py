"""The register as it leaves for a file: message by message, with its recipients."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from notify.storage.models import messages, recipients

#: What is told of a message, in the order of a file's columns; and of each of its recipients.
OF_MESSAGE = (
    "id", "message_id", "status", "status_reason", "channel", "sender", "site", "kind", "priority", "guarantee",
    "language", "subject", "case_id", "campaign_id", "origin_dag_id", "origin_run_id", "origin_task_id",
    "created_by", "created_at", "not_before", "expires_at", "sent_at", "attempts", "parts", "size",
)  # fmt: skip
OF_RECIPIENT = ("role", "address", "name", "login", "outcome", "code", "response")

#: Under this name, the recipients of a message.
RECIPIENTS = "recipients"


def entries(connection: Connection, numbers: Collection[int]) -> list[dict[str, object]]:
    """Messages, newest first, each with its recipients; without those that there are not."""
    heads = (
        sa.select(*(messages.c[name] for name in OF_MESSAGE))
        .where(messages.c.id == _any(numbers))
        .order_by(messages.c.id.desc())
    )
    whom = _recipients(connection, numbers)
    return [{**row, RECIPIENTS: whom.get(row["id"], [])} for row in connection.execute(heads).mappings()]


def _any(numbers: Collection[int]) -> sa.CollectionAggregate[Any]:
    """One of them; as one parameter, for a thousand of them take longer than the query."""
    return sa.any_(sa.literal(list(numbers), ARRAY(sa.BigInteger)))


def _recipients(connection: Connection, numbers: Collection[int]) -> Mapping[int, list[dict[str, Any]]]:
    query = (
        sa.select(recipients.c.message_id, *(recipients.c[name] for name in OF_RECIPIENT))
        .where(recipients.c.message_id == _any(numbers))
        .order_by(recipients.c.message_id, recipients.c.position)
    )
    found: dict[int, list[dict[str, Any]]] = {}
    for number, *values in connection.execute(query):
        found.setdefault(number, []).append(dict(zip(OF_RECIPIENT, values, strict=True)))
    return found
