"""Requests of the API that may come again: what was answered, so that nothing is done twice.

An answer is stored in the transaction that does what was asked for: there are both, or neither. It tells of no person:
it has numbers alone, and the key is a hash of the user and of what the request brought. Housekeeping removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.storage.models import api_requests

#: For how long an answer is kept at least.
KEPT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered before.

    :param fingerprint: digest of the request, 32 bytes
    :param status: of HTTP
    :param answer: its body in JSON, None where it had none
    """

    fingerprint: bytes
    status: int
    answer: Any


def lock(connection: Connection, key: bytes) -> bool:
    """Keep others with the same key out until the transaction ends.

    :param key: 32 bytes
    :returns: False: somebody else is at it
    """
    number = int.from_bytes(key[:8], "big", signed=True)
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(number))))


def find(connection: Connection, key: bytes) -> Answered | None:
    """What was answered under a key; None where nothing is known of it, or not any more."""
    query = sa.select(api_requests.c.fingerprint, api_requests.c.status, api_requests.c.answer)
    row = connection.execute(query.where(api_requests.c.key == key)).one_or_none()
    return None if row is None else Answered(*row)


def add(connection: Connection, key: bytes, answered: Answered) -> None:
    """Keep an answer; there is none under this key."""
    values = {
        "key": key,
        "fingerprint": answered.fingerprint,
        "status": answered.status,
        "answer": sa.null() if answered.answer is None else answered.answer,
    }
    connection.execute(sa.insert(api_requests).values(values))
