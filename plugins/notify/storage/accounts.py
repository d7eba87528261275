"""What was left on senders' accounts when their gateways were asked last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from notify.domain.credit import Credit

_KEEP = sa.text("""
    insert into notify.senders (sender, credit, credit_words, credit_warning, credit_at)
    values (:sender, :amount, :words, :warning, now())
    on conflict (sender) do update set credit = excluded.credit, credit_words = excluded.credit_words,
        credit_warning = excluded.credit_warning, credit_at = excluded.credit_at
""")

_FORGET = sa.text("""
    update notify.senders set credit = null, credit_words = null, credit_warning = null, credit_at = null
    where sender = :sender and credit_at is not null
""")

_OF = sa.text("""
    select sender, credit_words, credit, credit_warning, credit_at from notify.senders
    where credit_at is not null and sender = any(cast(:senders as text[])) order by sender
""")


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of a sender's account at its gateway.

    :param at: when the gateway was asked, by the database's clock
    """

    sender: str
    credit: Credit
    at: datetime

    def document(self) -> dict[str, object]:
        """For programs, by API and on the command line."""
        said = self.credit
        return {"credit": said.words, "amount": said.amount, "warning": said.warning, "low": said.low, "at": self.at}


def keep(connection: Connection, sender: str, credit: Credit | None) -> None:
    """Keep what a gateway has told; None forgets what it told before, for it tells nothing any more."""
    if credit is None:
        connection.execute(_FORGET, {"sender": sender})
        return
    values = {"sender": sender, "amount": credit.amount, "words": credit.words, "warning": credit.warning}
    connection.execute(_KEEP, values)


def of(connection: Connection, senders: Iterable[str]) -> list[Account]:
    """What is known of the accounts of these senders, as far as anything is."""
    rows = connection.execute(_OF, {"senders": list(senders)})
    return [Account(row.sender, Credit(*row[1:4]), row.credit_at) for row in rows]
