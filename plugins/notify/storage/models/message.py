"""The tables of messages: the outbox and the register, with texts, files, recipients and history."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)

from notify.storage.models.base import created_by, metadata, moment, now

#: The MIME body of messages; one for all that say the same.
contents = Table(
    "contents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    now("created_at"),
)

#: Attached files, each stored once, in the row or in object storage.
attachments = Table(
    "attachments",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Column("uri", Text),
    now("created_at"),
    # Set: no message needs it, and its file may be gone from object storage already.
    moment("doomed_at"),
    CheckConstraint("num_nonnulls(content, uri) = 1", name="one_place"),
    CheckConstraint("octet_length(sha256) = 32", name="sha256"),
)

#: The outbox, and the register: a row stays when its message has been sent.
messages = Table(
    "messages",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("message_id", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("status_reason", Text),
    Column("sender", Text, nullable=False),
    Column("channel", Text, nullable=False, server_default="email"),
    Column("kind", Text, nullable=False),
    Column("priority", Text, nullable=False, server_default="normal"),
    Column("guarantee", Text, nullable=False, server_default="at_least_once"),
    Column("language", Text),
    Column("subject", Text, nullable=False),
    Column("case_id", Text),
    # The branch that it was handed over for, whichever sender sends it.
    Column("site", Text),
    Column("headers", LargeBinary, nullable=False),
    Column("boundary", Text),
    Column("reply_to", Text),
    Column("content_id", BigInteger, ForeignKey("notify.contents.id")),
    Column("size", BigInteger, nullable=False),
    Column("idempotency_key", Text),
    Column("idempotency_index", Integer),
    Column("origin_dag_id", Text),
    Column("origin_run_id", Text),
    Column("origin_task_id", Text),
    Column("origin_map_index", Integer),
    now("created_at"),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=func.now()),
    moment("expires_at"),
    moment("first_tried_at"),
    moment("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("refusals", Integer, nullable=False, server_default="0"),
    # What it counts against the limit: of an SMS its parts.
    Column("parts", SmallInteger, nullable=False, server_default="1"),
    # Of a digest: how many of its notifications Housekeeping has removed.
    Column("notifications_removed", Integer),
    # Of any: how many of its recipients were erased; a report about one of them must not be taken for another's.
    Column("recipients_erased", Integer),
    # The campaign that it was made for; and whether that holds it, which a person's own hold is not.
    Column("campaign_id", BigInteger, ForeignKey("notify.campaigns.id")),
    Column("parked", Boolean, nullable=False, server_default=text("false")),
    created_by(),
    CheckConstraint(
        "status in ('queued','sending','sent','delivered','undelivered','failed','uncertain','held','cancelled',"
        "'suppressed','expired')",
        name="status",
    ),
    CheckConstraint("priority in ('urgent','normal','bulk')", name="priority"),
    CheckConstraint("guarantee in ('at_least_once','at_most_once')", name="guarantee"),
    CheckConstraint("status not in ('sent','delivered','undelivered') or sent_at is not null", name="sent_at"),
    CheckConstraint("status <> 'uncertain' or guarantee = 'at_most_once'", name="uncertain"),
    CheckConstraint("(idempotency_key is null) = (idempotency_index is null)", name="idempotency"),
    CheckConstraint("not parked or (campaign_id is not null and status = 'held')", name="parked"),
    CheckConstraint("size >= 0 and attempts >= 0 and refusals >= 0 and parts > 0", name="counts"),
    Index(
        "messages_idempotency_idx",
        "idempotency_key",
        "idempotency_index",
        unique=True,
        postgresql_where=text("idempotency_key is not null"),
    ),
    Index(
        "messages_due_idx",
        "sender",
        "priority",
        "not_before",
        "id",
        postgresql_include=["parts"],
        postgresql_where=text("status = 'queued'"),
    ),
    Index(
        "messages_expiring_idx",
        "expires_at",
        postgresql_where=text("status = 'queued' and expires_at is not null"),
    ),
    # Without the states that every message passes through: each index costs the hand-over and the drain.
    Index(
        "messages_open_idx",
        "status",
        "id",
        postgresql_where=text("status not in ('queued','sending','sent','delivered')"),
    ),
    Index(
        "messages_origin_idx",
        "origin_dag_id",
        "origin_run_id",
        postgresql_where=text("origin_dag_id is not null"),
    ),
    # Costs only what has a case: an entry at hand-over, and one at each change of state.
    Index("messages_case_id_idx", "case_id", "id", postgresql_where=text("case_id is not null")),
    Index("messages_content_id_idx", "content_id"),
    # Costs only what a campaign made; its progress is read from here alone.
    Index(
        "messages_campaign_idx",
        "campaign_id",
        "status",
        "id",
        postgresql_include=["parts", "sent_at", "parked"],
        postgresql_where=text("campaign_id is not null"),
    ),
)

#: Whom a message is for, each with its own outcome.
recipients = Table(
    "recipients",
    metadata,
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("login", Text),
    Column("outcome", Text, nullable=False, server_default="pending"),
    Column("code", SmallInteger),
    Column("response", Text),
    moment("settled_at"),
    CheckConstraint("role in ('to','cc','bcc')", name="role"),
    CheckConstraint(
        "outcome in ('pending','accepted','temporary','permanent','in_doubt')",
        name="outcome",
    ),
    Index("recipients_address_idx", func.lower(text("address")), "message_id"),
)

message_attachments = Table(
    "message_attachments",
    metadata,
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sha256", LargeBinary, ForeignKey("notify.attachments.sha256")),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Index("message_attachments_sha256_idx", "sha256"),
)

#: The history: a row for each change of state, written by a trigger.
message_events = Table(
    "message_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id", ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("from_status", Text, nullable=False),
    Column("to_status", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text),
    Column("actor", Text),
    Index("message_events_message_id_idx", "message_id", "id"),
)
