"""The tables of mass mailing: campaigns, whom they are for, and what became of each of these."""

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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from notify.storage.models.base import created_by, metadata, moment, now

#: What an author mails to many.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="draft"),
    Column("channel", Text, nullable=False),
    Column("sender", Text),
    Column("site", Text),
    Column("subject", Text),
    Column("message", Text),
    Column("html", Boolean, nullable=False, server_default=text("false")),
    Column("template", Text),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Column("add_template", Boolean, nullable=False, server_default=text("true")),
    Column("language", Text),
    Column("transliterate", Boolean, nullable=False, server_default=text("false")),
    Column("guarantee", Text),
    Column("reply_to", Text),
    Column("groups", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("query_connection", Text),
    Column("query", Text),
    Column("note", Text),
    Column("classification", Text),
    # What it says has changed since its messages were made: those are to be thrown away.
    Column("stale", Boolean, nullable=False, server_default=text("false")),
    # The pass over its recipients that is under way, or the last one: whoever works at an earlier one stops.
    Column("pass", Integer, nullable=False, server_default="0"),
    Column("rows_read", BigInteger, nullable=False, server_default="0"),
    Column("doubled", BigInteger, nullable=False, server_default="0"),
    # When that pass was last heard of; null while it waits for somebody to begin it.
    moment("generating_at"),
    # Why it could not be made; null where it could.
    Column("fault", Text),
    # To be sent as soon as it is made.
    Column("send_when_generated", Boolean, nullable=False, server_default=text("false")),
    moment("send_after"),
    # Its messages are not yet in the state that its own asks for.
    Column("unsettled", Boolean, nullable=False, server_default=text("false")),
    moment("generated_at"),
    moment("started_at"),
    moment("ended_at"),
    now("created_at"),
    now("changed_at"),
    created_by(),
    Column("idempotency_key", Text, unique=True),
    CheckConstraint(
        "status in ('draft','generating','generated','sending','paused','done','cancelled')", name="status"
    ),
    CheckConstraint("channel in ('email','sms')", name="channel"),
    CheckConstraint("guarantee in ('at_least_once','at_most_once')", name="guarantee"),
    CheckConstraint("(query is null) = (query_connection is null)", name="query"),
    CheckConstraint("(status in ('done','cancelled')) = (ended_at is not null)", name="ended_at"),
    Index(
        "campaigns_open_idx",
        "status",
        "id",
        postgresql_where=text("unsettled or status in ('generating','sending','paused')"),
    ),
)

#: The recipients that were typed by hand, or came in a file, each with what belongs to them.
campaign_rows = Table(
    "campaign_rows",
    metadata,
    Column("campaign_id", BigInteger, ForeignKey("notify.campaigns.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    # Where it stood: row 17 of the file; null for what was typed.
    Column("place", Integer),
    Column("recipient", Text, nullable=False),
    Column("fields", JSONB),
)

#: What became of each recipient. The address stands here as its hash alone.
campaign_recipients = Table(
    "campaign_recipients",
    metadata,
    Column("campaign_id", BigInteger, ForeignKey("notify.campaigns.id", ondelete="CASCADE"), primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("pass", Integer, nullable=False),
    Column("fate", Text, nullable=False),
    # Where its source names it, to find it there: row 17.
    Column("place", Text, nullable=False),
    # No foreign key: Housekeeping removes messages by themselves.
    Column("message_id", BigInteger),
    CheckConstraint(
        "fate in ('created','suppressed','unsubscribed','invalid','unreachable','incomplete','left')", name="fate"
    ),
    CheckConstraint("octet_length(key) = 32", name="key"),
    CheckConstraint("(fate in ('created','left')) = (message_id is not null)", name="message_id"),
)

#: The files that its messages carry.
campaign_attachments = Table(
    "campaign_attachments",
    metadata,
    Column("campaign_id", BigInteger, ForeignKey("notify.campaigns.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("sha256", LargeBinary, ForeignKey("notify.attachments.sha256"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    # Where it was fetched, to fetch it anew.
    Column("uri", Text),
    Index("campaign_attachments_sha256_idx", "sha256"),
)
