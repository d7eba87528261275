"""The tables of sending: senders, runs over their queues, and each try."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from notify.storage.models.base import metadata, moment, now

#: What is known of a sender beside its connection and its pool.
senders = Table(
    "senders",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("hourly_limit", Integer),
    moment("limit_seen_at"),
    Column("last_fault", Text),
    Column("last_remedy", Text),
    moment("last_fault_at"),
    # What is left on its account, where its gateway tells: in numbers, in its words, and below what to warn.
    Column("credit", Numeric(14, 4)),
    Column("credit_words", Text),
    Column("credit_warning", Numeric(14, 4)),
    moment("credit_at"),
)

#: One run over one sender's queue.
drains = Table(
    "drains",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("dag_id", Text),
    Column("run_id", Text),
    Column("hourly_limit", Integer, nullable=False),
    now("started_at"),
    moment("lease_until", null=False),
    moment("ended_at"),
    Column("end_reason", Text),
    Index("drains_open_idx", "sender", "lease_until", postgresql_where=text("ended_at is null")),
    Index("drains_run_idx", "dag_id", "run_id"),
    Index("drains_sender_idx", "sender", "started_at"),
)

#: Each try to send; also the token that counts against the limit.
attempts = Table(
    "attempts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("sender", Text, nullable=False),
    Column("bulk", Boolean, nullable=False),
    # What it counts against the limit: of an SMS its parts, but no more than a whole window has.
    Column("slots", SmallInteger, nullable=False, server_default="1"),
    Column("drain_id", Uuid, ForeignKey("notify.drains.id"), nullable=False),
    now("claimed_at"),
    moment("begun_at"),
    moment("ended_at"),
    Column("outcome", Text),
    Column("code", SmallInteger),
    Column("response", Text),
    CheckConstraint("(ended_at is null) = (outcome is null)", name="ended"),
    CheckConstraint("ended_at is null or begun_at is not null", name="begun"),
    CheckConstraint(
        "outcome in ('accepted','temporary','permanent','in_doubt','sender_fault')",
        name="outcome",
    ),
    UniqueConstraint("message_id", "number"),
    Index("attempts_open_idx", "message_id", unique=True, postgresql_where=text("ended_at is null")),
    Index("attempts_window_idx", "sender", "ended_at"),
    Index("attempts_drain_id_idx", "drain_id"),
)
