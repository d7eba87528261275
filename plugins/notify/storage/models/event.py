"""The tables of events: what happened to which case, who is told, and what of it is put aside."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from notify.storage.models.base import created_by, metadata, moment, now

#: What events are about, as the latest of them told it.
cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False, server_default=""),
    Column("url", Text),
    Column("process", Text),
    Column("stage", Text),
    Column("owner", Text),
    Column("site", Text),
    moment("closed_at"),
    moment("seen_at", null=False),
)

#: What happened to cases.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("idempotency_key", Text, unique=True),
    Column("case_id", Text),
    Column("case_title", Text, nullable=False, server_default=""),
    Column("case_url", Text),
    Column("process", Text),
    Column("stage", Text),
    Column("owner", Text),
    Column("site", Text),
    Column("actor", Text),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Column("recipients", Integer, nullable=False),
    moment("occurred_at", null=False),
    now("created_at"),
    Column("origin_dag_id", Text),
    Column("origin_run_id", Text),
    Column("origin_task_id", Text),
    Column("origin_map_index", Integer),
    created_by(),
    CheckConstraint("recipients > 0", name="recipients"),
    Index("events_case_id_idx", "case_id", "id", postgresql_where=text("case_id is not null")),
    Index(
        "events_origin_idx",
        "origin_dag_id",
        "origin_run_id",
        postgresql_where=text("origin_dag_id is not null"),
    ),
)

#: An event for one recipient through one channel, and its one home. What was put aside keeps here what was generated.
notifications = Table(
    "notifications",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    Column("event_id", BigInteger, ForeignKey("notify.events.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("login", Text),
    Column("name", Text, nullable=False, server_default=""),
    Column("address", Text),
    Column("channel", Text, nullable=False, server_default="email"),
    Column("home", Text, nullable=False),
    Column("reason", Text),
    Column("message_id", BigInteger, ForeignKey("notify.messages.id")),
    Column("language", Text),
    Column("subject", Text),
    Column("summary", Text),
    Column("content_id", BigInteger, ForeignKey("notify.contents.id")),
    Column("content_fields", LargeBinary),
    Column("not_by_sms", Text),
    Column("sms_text", Text),
    now("routed_at"),
    moment("moved_at"),
    # The event comes last, and nobody is tempted to look for an address with it: an event may have more recipients
    # than all others together.
    UniqueConstraint("position", "event_id"),
    CheckConstraint("home in ('mail','digest','waiting','refused')", name="home"),
    CheckConstraint("(home in ('mail','digest')) = (message_id is not null)", name="message"),
    CheckConstraint("(home = 'refused') = (reason is not null)", name="reason"),
    CheckConstraint(
        "home <> 'waiting' or num_nulls(login, subject, summary, content_id, content_fields) = 0",
        name="waiting",
    ),
    CheckConstraint("channel in ('email','sms')", name="channel"),
    CheckConstraint("home <> 'waiting' or (channel = 'sms') = (sms_text is not null)", name="sms_text"),
    Index("notifications_event_id_idx", "event_id", func.lower(text("address"))),
    Index(
        "notifications_login_key",
        "event_id",
        "login",
        "channel",
        unique=True,
        postgresql_where=text("login is not null"),
    ),
    Index("notifications_mail_key", "message_id", unique=True, postgresql_where=text("home = 'mail'")),
    Index("notifications_message_id_idx", "message_id", postgresql_where=text("message_id is not null")),
    Index("notifications_content_id_idx", "content_id", postgresql_where=text("content_id is not null")),
    Index("notifications_person_idx", "login", "routed_at"),
)

#: What is put aside, until its person's time; a row for each notification that waits.
deferred = Table(
    "deferred",
    metadata,
    Column(
        "notification_id",
        BigInteger,
        ForeignKey("notify.notifications.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("login", Text, ForeignKey("notify.people.login"), nullable=False),
    Column("kind", Text, nullable=False),
    moment("due_at", null=False),
    moment("look_at", null=False),
    CheckConstraint("look_at <= due_at", name="look_at"),
    Index("deferred_login_idx", "login", "look_at"),
)
