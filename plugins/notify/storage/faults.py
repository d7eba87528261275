"""Why senders' last runs could not send."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_FAULTS = sa.text("""
    select sender, last_fault, coalesce(last_remedy, ''), last_fault_at from notify.senders
    where last_fault is not null and sender = any(cast(:senders as text[])) order by sender
""")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a sender's last run could not send.

    :param at: when that was, by the database's clock
    """

    sender: str
    cause: str
    remedy: str
    at: datetime


def of(connection: Connection, senders: Iterable[str]) -> list[Fault]:
    """The faults of those of these senders whose last run could not send."""
    return [Fault(*row) for row in connection.execute(_FAULTS, {"senders": list(senders)})]
