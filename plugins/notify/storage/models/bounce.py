"""The table of what came back."""

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
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from notify.storage.models.base import metadata, now

#: What reports say became of messages, a row for each report and recipient; ``position`` is null where that is none of
#: the message's own. What ``counts`` is held against the address.
bounces = Table(
    "bounces",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("report", LargeBinary, nullable=False),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("blame", Text),
    Column("counts", Boolean, nullable=False),
    Column("words", Text, nullable=False),
    Column("reporter", Text, nullable=False),
    Column("notice", Text, nullable=False),
    now("received_at"),
    CheckConstraint("octet_length(report) = 32", name="report"),
    CheckConstraint("action in ('failed','delayed','delivered','relayed','expanded')", name="action"),
    CheckConstraint("blame in ('hard','soft','none')", name="blame"),
    CheckConstraint("(action = 'failed') = (blame is not null)", name="failed"),
    CheckConstraint("not counts or (blame in ('hard','soft') and position is not null)", name="counts"),
    CheckConstraint("notice in ('none','due','told')", name="notice"),
    UniqueConstraint("report", "address"),
    Index("bounces_message_id_idx", "message_id", "id"),
    Index("bounces_counting_idx", "address", "received_at", postgresql_where=text("counts")),
    Index("bounces_due_idx", "id", postgresql_where=text("notice = 'due'")),
)
