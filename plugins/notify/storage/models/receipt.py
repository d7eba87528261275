"""The tables of SMS: the parts that a gateway took, and what it was asked about them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Numeric,
    SmallInteger,
    Table,
    Text,
    text,
)

from notify.storage.models.base import metadata, moment, now

#: The parts of an SMS that a gateway took, as it calls them, and what became of each.
sms_parts = Table(
    "sms_parts",
    metadata,
    Column("attempt_id", BigInteger, ForeignKey("notify.attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("number", SmallInteger, primary_key=True),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("sender", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("arrival", Text, nullable=False, server_default="underway"),
    Column("words", Text),
    moment("reported_at"),
    Column("price", Numeric(10, 4)),
    Column("carrier", Text),
    now("created_at"),
    moment("asked_at"),
    # When the gateway said by itself that there is a receipt; taken back once it is asked for.
    moment("pushed_at"),
    # Whether the message's state has followed.
    Column("concluded", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("arrival in ('underway','delivered','undelivered')", name="arrival"),
    Index("sms_parts_reference_idx", "sender", "reference", unique=True),
    Index("sms_parts_message_id_idx", "message_id"),
    Index("sms_parts_underway_idx", "sender", "asked_at", postgresql_where=text("arrival = 'underway'")),
    Index(
        "sms_parts_pushed_idx",
        "sender",
        "pushed_at",
        postgresql_where=text("pushed_at is not null and arrival = 'underway'"),
    ),
    Index(
        "sms_parts_unconcluded_idx",
        "message_id",
        postgresql_where=text("arrival <> 'underway' and not concluded"),
    ),
)

#: What was asked of a gateway about changes: stored before it is asked, so that a lost answer is asked for again.
receipt_queries = Table(
    "receipt_queries",
    metadata,
    Column("transaction", Text, primary_key=True),
    Column("sender", Text, nullable=False),
    now("created_at"),
    moment("answered_at"),
    Index("receipt_queries_open_idx", "sender", postgresql_where=text("answered_at is null")),
)
