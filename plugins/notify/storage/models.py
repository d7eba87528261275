"""The tables of the outbox, all in the PostgreSQL schema ``notify``.

The migrations make them; a test holds both together. Two notions carry the promise:

* A message in state ``sending`` has exactly one *open* attempt (``ended_at`` is null). The attempt is the token that
  counts against the hourly limit, from its claim until a window after it ended.
* A *drain* is one run over one sender's queue. It holds a lease; an attempt of a drain that has ended can neither be
  begun nor settled.
"""

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
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)

SCHEMA = "notify"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)


def _moment(name: str, *, null: bool = True) -> Column:  # type: ignore[type-arg]  # its type is the DateTime
    return Column(name, DateTime(timezone=True), nullable=null)


def _now(name: str) -> Column:  # type: ignore[type-arg]  # as above
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


#: Recipients known by login.
people = Table(
    "people",
    metadata,
    Column("login", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("phone", Text),
    Column("language", Text),
    Column("timezone", Text),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("supervisor", Text, ForeignKey("notify.people.login", deferrable=True, initially="DEFERRED")),
    _now("updated_at"),
    CheckConstraint("login <> '' and position('@' in login) = 0 and login !~ '[;,]'", name="login"),
)
Index("people_email_idx", func.lower(people.c.email))

#: Named sets of people.
groups = Table("groups", metadata, Column("name", Text, primary_key=True), _now("updated_at"))

memberships = Table(
    "memberships",
    metadata,
    Column("group_name", Text, ForeignKey("notify.groups.name", ondelete="CASCADE"), primary_key=True),
    Column("login", Text, ForeignKey("notify.people.login", ondelete="CASCADE"), primary_key=True),
    Index("memberships_login_idx", "login"),
)

#: What is known of a sender beside its connection and its pool.
senders = Table(
    "senders",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("hourly_limit", Integer),
    _moment("limit_seen_at"),
    Column("last_fault", Text),
    Column("last_remedy", Text),
    _moment("last_fault_at"),
)

#: The MIME body of messages; one for all that say the same.
contents = Table(
    "contents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    _now("created_at"),
)

#: Attached files, each stored once, in the row or in object storage.
attachments = Table(
    "attachments",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),
    Column("uri", Text),
    _now("created_at"),
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
    _now("created_at"),
    Column("not_before", DateTime(timezone=True), nullable=False, server_default=func.now()),
    _moment("expires_at"),
    _moment("first_tried_at"),
    _moment("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("refusals", Integer, nullable=False, server_default="0"),
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
    CheckConstraint("size >= 0 and attempts >= 0 and refusals >= 0", name="counts"),
    UniqueConstraint("idempotency_key", "idempotency_index"),
    Index(
        "messages_due_idx",
        "sender",
        "priority",
        "not_before",
        "id",
        postgresql_where=text("status = 'queued'"),
    ),
    Index(
        "messages_expiring_idx",
        "expires_at",
        postgresql_where=text("status = 'queued' and expires_at is not null"),
    ),
    Index("messages_open_idx", "status", "id", postgresql_where=text("status not in ('sent','delivered')")),
    Index(
        "messages_origin_idx",
        "origin_dag_id",
        "origin_run_id",
        postgresql_where=text("origin_dag_id is not null"),
    ),
    Index("messages_content_id_idx", "content_id"),
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
    _moment("settled_at"),
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
    Column("sha256", LargeBinary, ForeignKey("notify.attachments.sha256"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Index("message_attachments_sha256_idx", "sha256"),
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
    _now("started_at"),
    _moment("lease_until", null=False),
    _moment("ended_at"),
    Column("end_reason", Text),
    Index("drains_open_idx", "sender", "lease_until", postgresql_where=text("ended_at is null")),
    Index("drains_run_idx", "dag_id", "run_id"),
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
    Column("drain_id", Uuid, ForeignKey("notify.drains.id"), nullable=False),
    _now("claimed_at"),
    _moment("begun_at"),
    _moment("ended_at"),
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
